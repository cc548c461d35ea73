package control

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/xlb-project/xlb/control/neighbour"
)

// The end of a drain does not move when somebody sets the wall clock, neither in the daemon that began it nor in the next.
func TestADrainEndsByAClockThatNobodySets(t *testing.T) {
	n := newNode(t, withBackends("", 1, 2))
	deadline := func() (at time.Time) {
		t.Helper()
		if err := n.do(t.Context(), func() { at = n.services[0].backends[0].admin.deadline }); err != nil {
			t.Fatal(err)
		}
		return at
	}
	n.start()
	n.tell(nil, hosts(1, 2)...)
	if _, err := n.Drain(context.Background(), Edit{Actor: "root"}, "web", "10.0.0.1", DrainOptions{Timeout: time.Hour, Force: true}); err != nil {
		t.Fatal(err)
	}
	first := deadline()
	n.stop()
	n.start()
	second := deadline()
	for name, at := range map[string]time.Time{"of the daemon that began it": first, "of the next one": second} {
		if at == at.Round(0) { // which takes the reading of the monotonic clock away
			t.Errorf("the deadline %s, %s, goes by the wall clock", name, at)
		}
	}
	if moved := second.Sub(first).Abs(); moved > time.Minute {
		t.Errorf("the deadline moved by %s with the restart", moved)
	}
}

// overrun is a watcher whose news got lost.
type overrun struct{ *news }

func (overrun) Stats() neighbour.Stats { return neighbour.Stats{Overruns: 1, Resyncs: 2} }

func TestLostNewsOfTheKernelAreTold(t *testing.T) {
	n := newNode(t, withBackends("", 1))
	n.start(func(p *Parts) { p.Neighbours = overrun{n.news} })
	events, err := n.Events(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for e := range events { // ends with the test's time if it does not come
		if e.Kind == EventOverrun {
			if !strings.Contains(e.Text, "1 times") {
				t.Errorf("it says %q", e.Text)
			}
			return
		}
	}
}
