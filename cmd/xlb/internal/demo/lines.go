package demo

import (
	"fmt"
	"io"
)

// Lines tells about a demonstration in one line per phase, for files and pipes.
type Lines struct {
	w     io.Writer
	scene Scene
}

// NewLines returns an Observer that writes to w.
func NewLines(w io.Writer) *Lines { return &Lines{w: w} }

// Begin writes what there is to be seen.
func (l *Lines) Begin(s Scene) {
	l.scene = s
	fmt.Fprint(l.w, introduction(s))
}

// Update writes nothing.
func (l *Lines) Update(Progress) {}

// End writes the phase's outcome.
func (l *Lines) End(p Phase) {
	fmt.Fprintf(l.w, " %s %-*s  %s\n", mark(p, l.scene.Tolerance), nameWidth, p.Name, p.Summary)
}

// Silence is an Observer that keeps what it is told to itself.
type Silence struct{}

// Begin does nothing.
func (Silence) Begin(Scene) {}

// Update does nothing.
func (Silence) Update(Progress) {}

// End does nothing.
func (Silence) End(Phase) {}

// nameWidth is the width of the longest phase's name.
const nameWidth = len(WithoutIt)

func introduction(s Scene) string {
	return fmt.Sprintf("In network namespaces: clients, a router, xlb (native XDP) and %d backends.\n"+
		"%d clients, each with its own address and port, ask http://%s/.\n\n", len(s.Backends), s.Sources, s.VIP)
}

func mark(p Phase, tolerance float64) string {
	if len(broken([]Phase{p}, tolerance)) > 0 {
		return "✗"
	}
	return "✓"
}
