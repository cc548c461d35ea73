package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/maps"
)

// plane is a data path that keeps what was written to it.
type plane struct {
	slots     map[maps.ServiceID][]maps.BackendID
	whole     map[maps.ServiceID]int // tables written as a whole
	listeners int
	log       []string
}

func newPlane() *plane {
	return &plane{slots: map[maps.ServiceID][]maps.BackendID{}, whole: map[maps.ServiceID]int{}}
}

func (p *plane) SetRules(maps.ServiceID, []maps.Rule) error { return nil }
func (p *plane) SetServerIDs(maps.ServiceID, maps.ServerIDLengths, []maps.ServerID) error {
	return nil
}
func (p *plane) SetService(maps.ServiceID, maps.Service) error { return nil }
func (p *plane) ReasonCounter(maps.Reason) maps.Counter        { return maps.Counter{} }
func (p *plane) BackendCounter(maps.BackendID) maps.Counter    { return maps.Counter{} }
func (p *plane) SetListeners(l []maps.Listener) error          { p.listeners = len(l); return nil }
func (p *plane) SetBackend(id maps.BackendID, b maps.Backend) error {
	p.log = append(p.log, fmt.Sprintf("backend %d %s", id, b.Forward))
	return nil
}

func (p *plane) SetSlotTable(id maps.ServiceID, slots []maps.Slot) error {
	p.slots[id] = nil
	for _, slot := range slots {
		p.slots[id] = append(p.slots[id], slot.Current)
	}
	p.whole[id]++
	p.log = append(p.log, fmt.Sprintf("slots of %d", id))
	return nil
}

func (p *plane) MoveSlots(id maps.ServiceID, moves []maps.Move) error {
	for _, m := range moves {
		p.slots[id][m.Slot] = m.To.Current
	}
	p.log = append(p.log, fmt.Sprintf("moves of %d", id))
	return nil
}

// news is a checker and a watcher that say what they are told to.
type news struct {
	ready   chan struct{}
	changes chan []health.Change
	hops    chan []neighbour.Update
}

func (n *news) Set(health.TargetID, health.Check) error              { return nil }
func (n *news) Ready() <-chan struct{}                               { return n.ready }
func (n *news) Changes() []health.Change                             { return <-n.changes }
func (n *news) Status(health.TargetID) (s health.Status, known bool) { return s, false }
func (n *news) Watch([]netip.Addr)                                   {}
func (n *news) Updates() <-chan []neighbour.Update                   { return n.hops }

const twoServices = `
interfaces: [eth0]
services:
  - {name: a, vip: 192.0.2.1, port: 80, forward: l2, backends: [{address: 10.0.0.1}, {address: 10.0.0.2}, {address: 10.0.0.3}]}
  - {name: b, vip: 192.0.2.2, port: 80, forward: l2, backends: [{address: 10.0.0.1}, {address: 10.0.0.2}, {address: 10.0.0.3}]}
`

// startEngine runs an engine over plane until the test ends. tell has it act on
// next hops and returns when it has.
func startEngine(t *testing.T, text string, p *plane) (e *Engine, tell func(err error, addrs ...string)) {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	n := &news{hops: make(chan []neighbour.Update)}
	e, err = New(cfg, Parts{
		Dataplane: p, Checker: n, Neighbours: n, Interfaces: []neighbour.Link{{Name: "eth0", Index: 7}},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return e, func(err error, addrs ...string) {
		t.Helper()
		var updates []neighbour.Update
		for _, a := range addrs {
			u := neighbour.Update{Addr: netip.MustParseAddr(a), Err: err}
			if err == nil {
				u.Hop = neighbour.NextHop{Interface: "eth0", Index: 7, MTU: 1500}
			}
			updates = append(updates, u)
		}
		n.hops <- updates
		// answered only after the engine has acted
		if _, err := e.Status(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNothingIsWrittenBeforeEveryBackendHasAVerdict(t *testing.T) {
	p := newPlane()
	_, tell := startEngine(t, twoServices, p)
	tell(nil, "10.0.0.1", "10.0.0.2")
	if len(p.log) > 0 || p.listeners > 0 {
		t.Errorf("written %v and %d listeners while a backend is not known", p.log, p.listeners)
	}
	tell(errors.New("no answer"), "10.0.0.3")
	if p.listeners != 2 || len(p.slots[0]) == 0 || len(p.slots[1]) == 0 {
		t.Errorf("%d listeners, tables of %d and %d slots after all verdicts", p.listeners, len(p.slots[0]), len(p.slots[1]))
	}
}

func TestAFlipMovesSlotsOfTheBackendAloneInEveryServiceThatHasIt(t *testing.T) {
	p := newPlane()
	_, tell := startEngine(t, twoServices, p)
	tell(nil, "10.0.0.1", "10.0.0.2", "10.0.0.3")
	before := map[maps.ServiceID][]maps.BackendID{0: slices.Clone(p.slots[0]), 1: slices.Clone(p.slots[1])}
	tell(errors.New("no answer"), "10.0.0.2")
	for id, dead := range map[maps.ServiceID]maps.BackendID{0: 2, 1: 5} {
		for slot, owner := range p.slots[id] {
			was := before[id][slot]
			if owner == dead || was != dead && owner != was {
				t.Fatalf("service %d: slot %d went from %d to %d when %d died", id, slot, was, owner, dead)
			}
		}
	}
	tell(nil, "10.0.0.2")
	for id := range before {
		if !slices.Equal(p.slots[id], before[id]) {
			t.Errorf("service %d: not the former table when the backend was back", id)
		}
		if p.whole[id] != 1 {
			t.Errorf("service %d: %d tables written as a whole, want the first alone", id, p.whole[id])
		}
	}
}

func TestSlotsNeverNameABackendWithoutNextHop(t *testing.T) {
	p := newPlane()
	_, tell := startEngine(t, twoServices, p)
	tell(nil, "10.0.0.1", "10.0.0.2", "10.0.0.3")
	p.log = nil
	tell(errors.New("no answer"), "10.0.0.2")
	tell(nil, "10.0.0.2")
	want := "moves of 0, backend 2 unresolved, moves of 1, backend 5 unresolved, backend 2 l2, moves of 0, backend 5 l2, moves of 1"
	if got := strings.Join(p.log, ", "); got != want {
		t.Errorf("written in the order\n%s, want\n%s", got, want)
	}
}

func TestServicesWithTheSameBackendsShareOneTable(t *testing.T) {
	p := newPlane()
	e, tell := startEngine(t, twoServices, p)
	tell(nil, "10.0.0.1", "10.0.0.2", "10.0.0.3")
	tell(errors.New("no answer"), "10.0.0.2")
	var same bool
	if err := e.do(t.Context(), func() {
		a, b := e.services[0], e.services[1]
		same = a.home == b.home && a.table == b.table
	}); err != nil {
		t.Fatal(err)
	}
	if !same {
		t.Error("each has a table of its own")
	}
}

func TestAServiceOfItsOwnFollowsFlipsToo(t *testing.T) {
	const text = `
interfaces: [eth0]
services:
  - {name: a, vip: 192.0.2.1, port: 80, forward: l2, backends: [{address: 10.0.0.1}, {address: 10.0.0.2}, {address: 10.0.0.3}]}
  - {name: b, vip: 192.0.2.2, port: 80, forward: l2, backends: [{address: 10.0.0.1}, {address: 10.0.0.4}]}
`
	p := newPlane()
	e, tell := startEngine(t, text, p)
	tell(nil, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
	first := slices.Clone(p.slots[0])
	tell(errors.New("no answer"), "10.0.0.1", "10.0.0.2")
	for slot, owner := range p.slots[0] {
		if owner != 3 {
			t.Fatalf("slot %d has owner %d while only backend 3 lives", slot, owner)
		}
	}
	tell(nil, "10.0.0.1", "10.0.0.2")
	if !slices.Equal(p.slots[0], first) {
		t.Error("not the former table when the backends were back")
	}
	status, err := e.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, b := range status.Services[0].Backends {
		sum += b.Slots
	}
	if sum != len(first) {
		t.Errorf("the status gives the backends %d of %d slots", sum, len(first))
	}
}
