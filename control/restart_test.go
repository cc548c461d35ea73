package control

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-project/xlb/control/state"
	"github.com/xlb-project/xlb/maps"
)

// again ends the daemon and starts another one over the same data path and disk.
func (n *node) again(change ...func(*Parts)) {
	n.t.Helper()
	n.stop()
	n.start(change...)
	n.status()
}

// seen is all that packets may meet.
type seen struct {
	Rows  map[maps.BackendID]maps.Backend
	Slots map[maps.ServiceID][]maps.Slot
	Names map[maps.BackendID]maps.BackendEntry
}

func (p *plane) seen() seen {
	s := seen{map[maps.BackendID]maps.Backend{}, map[maps.ServiceID][]maps.Slot{}, map[maps.BackendID]maps.BackendEntry{}}
	for id, r := range p.rows {
		s.Rows[id] = r
	}
	for id := range p.slots {
		s.Slots[id] = p.SlotTable(id)
	}
	for id, e := range p.names {
		s.Names[id] = e
	}
	return s
}

func (s seen) differs(t *testing.T, other seen) {
	t.Helper()
	if diff := cmp.Diff(s, other, cmp.Comparer(func(a, b maps.Backend) bool { return a == b }), cmp.Comparer(func(a, b netipAddr) bool { return a == b })); diff != "" {
		t.Errorf("the data path changed (- before + after):\n%.2000s", diff)
	}
}

func TestARestartChangesNothingThatPacketsMeet(t *testing.T) {
	n := upNode(t, withCheck, 1, 2, 3, 4)
	n.health(false, "web/10.0.0.2")
	n.tell(errNoAnswer, "10.0.0.3")
	n.plane.counters[n.plane.idOf("web/10.0.0.1")] = maps.Counter{Packets: 5}
	before, whole := n.plane.seen(), n.plane.whole[0]
	n.again()
	n.plane.seen().differs(t, before)
	s := n.status()
	if !s.Serving || !s.Adopted || s.Services[0].Up != 2 {
		t.Errorf("before any verdict: serving %v, adopted %v, %d up", s.Serving, s.Adopted, s.Services[0].Up)
	}
	if one, two := n.news.targets["web/10.0.0.1"], n.news.targets["web/10.0.0.2"]; !one.Trusted || two.Trusted {
		t.Error("those that were well are to be found ill by as many failures as before")
	}
	n.tell(nil, hosts(1, 2, 4)...)
	n.tell(errNoAnswer, "10.0.0.3")
	n.health(true, "web/10.0.0.1", "web/10.0.0.3", "web/10.0.0.4")
	n.health(false, "web/10.0.0.2")
	n.plane.seen().differs(t, before)
	if n.plane.whole[0] != whole || n.backend("web/10.0.0.1").Traffic.Packets != 5 {
		t.Errorf("%d more tables were written; counters say %+v", n.plane.whole[0]-whole, n.backend("web/10.0.0.1").Traffic)
	}
}

func TestWhatChangedWhileNoDaemonRanIsAllThatChanges(t *testing.T) {
	n := upNode(t, withCheck, 1, 2, 3)
	ids := map[string]maps.BackendID{}
	for _, h := range hosts(1, 3) {
		ids[h] = n.plane.idOf("web/" + h)
	}
	n.stop()
	n.file = withBackends(withCheck, 1, 3, 4)
	n.start()
	n.up(1, 3, 4)
	for h, id := range ids {
		if now := n.plane.idOf("web/" + h); now != id {
			t.Errorf("%s had number %d and has %d", h, id, now)
		}
	}
	if n.plane.whole[0] != 1 {
		t.Errorf("%d tables were written as a whole", n.plane.whole[0])
	}
	n.plane.sound()
}

func TestChangesAtRunTimeOutliveTheDaemon(t *testing.T) {
	n := upNode(t, withCheck, 1, 2, 3)
	ctx := t.Context()
	for _, do := range []func() (uint64, error){
		func() (uint64, error) { return n.SetWeight(ctx, edit(), "web", "10.0.0.1", 7) },
		func() (uint64, error) { return n.Disable(ctx, edit(), "web", "10.0.0.2", false) },
		func() (uint64, error) {
			return n.Drain(ctx, edit(), "web", "10.0.0.3", DrainOptions{Timeout: time.Hour, Force: true})
		},
	} {
		if _, err := do(); err != nil {
			t.Fatal(err)
		}
	}
	before := n.plane.seen()
	n.again()
	n.plane.seen().differs(t, before)
	s := n.status()
	b := s.Services[0].Backends
	if s.Revision != 4 || b[0].Weight != 7 || b[1].Admin != AdminDisabled || b[2].Admin != AdminDraining || b[2].Drain.Deadline == nil {
		t.Errorf("revision %d, backends %+v", s.Revision, b)
	}
	n.disk.state = state.State{} // lost
	n.again()
	b = n.status().Services[0].Backends
	if b[1].Admin != AdminDisabled || b[2].Admin != AdminDraining {
		t.Errorf("without a state file: %+v", b)
	}
}

// A daemon that dies at any step of a change leaves what the next one repairs.
func TestADaemonThatDiesInAChangeIsFollowedByOneThatFinishesIt(t *testing.T) {
	from, to := withBackends(withCheck, 1, 2, 3), withBackends(withCheck, 1, 2, 4)
	died := errors.New("killed")
	for _, step := range []string{"journal", "names", "backends", "settings", "slots", "slots of web", "listeners", "remove", "done"} {
		t.Run(step, func(t *testing.T) {
			n, fail := newNode(t, from), ""
			n.start(func(p *Parts) {
				p.Failpoint = func(at string) error {
					if at == fail {
						n.disk.err = died // and the rest of this engine's life leaves no trace
						n.plane.fails = func(string) error { return died }
					}
					if n.disk.err != nil {
						return died
					}
					return nil
				}
			})
			n.up(1, 2, 3)
			kept := n.plane.idOf("web/10.0.0.1")
			fail = step
			_, _ = n.apply(to)
			n.stop()
			n.disk.err, n.plane.fails = nil, nil
			n.plane.sound()

			n.start()
			want, revision := []string{"10.0.0.1", "10.0.0.2", "10.0.0.4"}, uint64(2)
			if step == "journal" { // nothing was begun
				want, revision = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, 1
			}
			n.tell(nil, want...)
			for _, h := range want {
				n.health(true, "web/"+h)
			}
			s := n.status()
			var got []string
			for _, b := range s.Services[0].Backends {
				if b.Admin != AdminRemoved {
					got = append(got, b.Address)
				}
			}
			if !slices.Equal(got, want) || s.Revision != revision || s.Services[0].Up != 3 || s.Broken != "" {
				t.Errorf("backends %v, %d up, revision %d, broken %q", got, s.Services[0].Up, s.Revision, s.Broken)
			}
			if n.plane.idOf("web/10.0.0.1") != kept || n.disk.state.Journal != nil {
				t.Errorf("number %d became %d; journal %+v", kept, n.plane.idOf("web/10.0.0.1"), n.disk.state.Journal)
			}
			n.plane.sound()
		})
	}
}

func TestAChangeThatKillsDaemonsIsGivenUp(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	n.stop()
	good := n.disk.state
	n.disk.state.Journal = &state.Journal{Revision: 2, Overlay: []byte(`{"node":{"deny":["198.51.100.0/24"]}}`), Actor: "root", Attempts: mostAttempts}
	n.start()
	if s := n.status(); s.Revision != good.Revision || s.Drift != 0 {
		t.Errorf("revision %d, drift %d", s.Revision, s.Drift)
	}
}

func TestAnOpenTransitionGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, withCheck, 1, 2)
		if _, err := n.Drain(t.Context(), edit(), "web", "10.0.0.1", DrainOptions{}); err != nil {
			t.Fatal(err)
		}
		open := n.plane.transitions(0)
		n.again()
		defer n.stop()
		n.up(1, 2)
		if now := n.plane.transitions(0); open == 0 || now != open {
			t.Errorf("%d slots were in transition, now %d are", open, now)
		}
		sleep(20*time.Minute, n)
		if b := n.backend("web/10.0.0.1"); b.Admin != AdminDrained || n.plane.transitions(0) != 0 {
			t.Errorf("the drain is %q, %d slots in transition", b.Admin, n.plane.transitions(0))
		}
	})
}

func TestTheClockOfRecordsGoesOnWhereItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, withCheck, 1)
		sleep(10*time.Second, n)
		n.stop()
		tick := n.plane.tick
		sleep(time.Hour, n)
		n.start()
		defer n.stop()
		n.status()
		if now := n.plane.tick; now != tick+1 {
			t.Errorf("the clock went from %d to %d: records would age by the time that nobody counted", tick, now)
		}
		sleep(5*time.Second, n)
		n.status()
		if now := n.plane.tick; now < tick+5 || now > tick+6 {
			t.Errorf("after five seconds it is %d, from %d", now, tick)
		}
	})
}
