package demo

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/xlb-project/xlb/control"
)

// Screen shows a demonstration on a terminal: its phases, and a bar for each
// backend, redrawn in place. The cursor stays below and visible, so that
// nothing has to be put right when the demonstration ends early.
type Screen struct {
	w      io.Writer
	width  func() int
	colour bool

	scene Scene
	ended []Phase
	now   Progress
	drawn int // lines of the last drawing
}

// NewScreen returns an Observer for a terminal; width is asked before every drawing.
func NewScreen(w io.Writer, width func() int, colour bool) *Screen {
	return &Screen{w: w, width: width, colour: colour}
}

// Begin shows what there is to be seen.
func (s *Screen) Begin(scene Scene) {
	s.scene = scene
	s.now = Progress{PerBackend: make([]int, len(scene.Backends)), States: make([]string, len(scene.Backends))}
	s.print(strings.Split(strings.TrimSuffix(introduction(scene), "\n"), "\n"), 0)
}

// Update draws anew.
func (s *Screen) Update(p Progress) {
	s.now = p
	s.draw()
}

// End draws the phase's outcome. After the last phase, the bars are gone: a
// summary is to follow.
func (s *Screen) End(p Phase) {
	s.ended = append(s.ended, p)
	s.draw()
}

func (s *Screen) draw() {
	lines := s.phases()
	if len(s.ended) < len(Phases) {
		lines = append(append(lines, ""), s.bars()...)
	}
	s.print(lines, s.drawn)
	s.drawn = len(lines)
}

// Control sequences of ECMA-48.
const (
	cursorUp   = "\x1b[%dF" // so many lines, to the first column
	eraseRight = "\x1b[K"
	eraseBelow = "\x1b[J"
	setColour  = "\x1b[%sm%s\x1b[0m"

	green, red, yellow, dim = "32", "31", "33", "2"
)

// print writes lines over the last ones on the terminal, in one piece lest they flicker.
func (s *Screen) print(lines []string, over int) {
	var b strings.Builder
	if over > 0 {
		fmt.Fprintf(&b, cursorUp, over)
	}
	width := s.width()
	for _, l := range lines {
		// A wrapped line would count as two when the cursor goes up.
		b.WriteString(text.Trim(l, width))
		b.WriteString(eraseRight + "\n")
	}
	b.WriteString(eraseBelow)
	io.WriteString(s.w, b.String())
}

func (s *Screen) paint(colour, what string) string {
	if !s.colour {
		return what
	}
	return fmt.Sprintf(setColour, colour, what)
}

func (s *Screen) phases() []string {
	lines := make([]string, len(Phases))
	for i, name := range Phases {
		padded := fmt.Sprintf("%-*s", nameWidth, name)
		switch {
		case i < len(s.ended):
			m, colour := mark(s.ended[i], s.scene.Tolerance), green
			if m != "✓" {
				colour = red
			}
			lines[i] = fmt.Sprintf(" %s %s  %s", s.paint(colour, m), padded, s.ended[i].Summary)
		case name == s.now.Phase:
			lines[i] = fmt.Sprintf(" %s %s  %s: %d requests, %d failed", s.paint(yellow, "▸"), padded, s.now.Doing, s.now.Requests, s.now.Failed)
		default:
			lines[i] = s.paint(dim, "   "+padded)
		}
	}
	return lines
}

// bars has a line for each backend: name, state, bar, share, requests. A full
// bar is twice the even share.
func (s *Screen) bars() []string {
	const others = 45 // columns of a line besides the bar
	room := max(0, s.width()-others)
	sum := 0
	for _, n := range s.now.PerBackend {
		sum += n
	}
	lines := make([]string, len(s.scene.Backends))
	for i, name := range s.scene.Backends {
		share := 0.0
		if sum > 0 {
			share = float64(s.now.PerBackend[i]) / float64(sum)
		}
		colour := yellow
		switch s.now.States[i] {
		case control.StateUp:
			colour = green
		case control.StateDown:
			colour = red
		}
		lines[i] = fmt.Sprintf("   %-9s  %s  %s  %5.1f %%  %7d", name, s.paint(colour, fmt.Sprintf("%-10s", s.now.States[i])),
			s.paint(colour, bar(share*float64(len(lines))/2, room)), 100*share, s.now.PerBackend[i])
	}
	return lines
}

// bar fills a part of a width, to an eighth of a column.
func bar(part float64, width int) string {
	eighths := int(min(1, part)*float64(width)*8 + 0.5)
	full := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		full += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return full + strings.Repeat(" ", width-text.StringWidthWithoutEscSequences(full))
}
