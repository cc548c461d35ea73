package demo

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control"
)

var halfway = Progress{
	Phase: Kill, Doing: "backend2 is killed amid requests", Requests: 2000, Failed: 13,
	PerBackend: []int{1000, 0, 1000}, States: []string{control.StateUp, control.StateDown, control.StateUp},
}

func playHalf(o Observer) {
	o.Begin(scene)
	o.Update(halfway)
	o.End(good()[0])
	o.Update(halfway)
}

func TestScreenKeepsEveryLineWithinTheTerminal(t *testing.T) {
	for _, width := range []int{20, 60, 80, 200} {
		var out strings.Builder
		playHalf(NewScreen(&out, func() int { return width }, true))
		for line := range strings.Lines(out.String()) {
			if n := text.StringWidthWithoutEscSequences(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("%d columns of %d: %q", n, width, line)
			}
		}
	}
}

func TestScreenDrawsOverItsLastDrawing(t *testing.T) {
	var out strings.Builder
	s := NewScreen(&out, func() int { return 80 }, false)
	s.Begin(scene)
	out.Reset()
	s.Update(halfway)
	first := out.String()
	if strings.HasPrefix(first, "\x1b") {
		t.Errorf("the first drawing moves the cursor: %q", first)
	}
	out.Reset()
	s.Update(halfway)
	if want := fmt.Sprintf(cursorUp, strings.Count(first, "\n")); !strings.HasPrefix(out.String(), want) {
		t.Errorf("the second drawing begins with %.10q, want %q", out.String(), want)
	}
}

func TestScreenWithoutColoursHasNone(t *testing.T) {
	for _, colour := range []bool{true, false} {
		var out strings.Builder
		playHalf(NewScreen(&out, func() int { return 80 }, colour))
		if got := strings.Contains(out.String(), "\x1b["+green+"m"); got != colour {
			t.Errorf("coloured %v, want %v", got, colour)
		}
	}
}

func TestScreenMarksAPhaseThatBrokeAPromise(t *testing.T) {
	bad := good()[0]
	bad.Failed = 1
	for name, observer := range map[string]func(*strings.Builder) Observer{
		"screen": func(b *strings.Builder) Observer { return NewScreen(b, func() int { return 80 }, false) },
		"lines":  func(b *strings.Builder) Observer { return NewLines(b) },
	} {
		for mark, p := range map[string]Phase{"✗": bad, "✓": good()[0]} {
			var out strings.Builder
			o := observer(&out)
			o.Begin(scene)
			o.End(p)
			if !strings.Contains(out.String(), mark+" spread") {
				t.Errorf("%s: no %s in %q", name, mark, out.String())
			}
		}
	}
}

func TestBarIsFilledToAnEighthOfAColumn(t *testing.T) {
	for part, want := range map[float64]string{0: "    ", 0.5: "██  ", 0.25 + 1.0/32: "█▏  ", 1: "████", 1.5: "████"} {
		if got := bar(part, 4); got != want {
			t.Errorf("%v of 4 columns: %q, want %q", part, got, want)
		}
	}
}

// terminal opens one that nobody looks at.
func terminal(t *testing.T, width, height uint16) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return tty
}

func TestOnlyATerminalThatCanShowItGetsAScreen(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	usual := terminal(t, 80, 24)
	for name, c := range map[string]struct {
		f              *os.File
		term, noColour string
		screen, colour bool
	}{
		"terminal":       {usual, "xterm", "", true, true},
		"NO_COLOR":       {usual, "xterm", "1", true, false},
		"dumb":           {usual, "dumb", "", false, false},
		"unknown":        {usual, "", "", false, false},
		"narrow":         {terminal(t, 40, 24), "xterm", "", false, false},
		"low":            {terminal(t, 80, 5), "xterm", "", false, false},
		"without a size": {terminal(t, 0, 0), "xterm", "", true, true},
		"regular file":   {file, "xterm", "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", c.term)
			t.Setenv("NO_COLOR", c.noColour)
			screen, ok := NewObserver(c.f, MaxBackends, Silence{}).(*Screen)
			if ok != c.screen || ok && screen.colour != c.colour {
				t.Errorf("screen %v, %+v; want %v, coloured %v", ok, screen, c.screen, c.colour)
			}
		})
	}
}
