package control

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/maps"
)

const twoServices = `
interfaces: [eth0]
services:
  - {name: a, vip: 192.0.2.1, port: 80, forward: l2, backends: [{address: 10.0.0.1}, {address: 10.0.0.2}, {address: 10.0.0.3}]}
  - {name: b, vip: 192.0.2.2, port: 80, forward: l2, backends: [{address: 10.0.0.1}, {address: 10.0.0.2}, {address: 10.0.0.3}]}
`

// startEngine runs an engine until the test ends. tell has it act on next hops
// and returns when it has.
func startEngine(t *testing.T, text string, p *plane) (e *Engine, tell func(err error, addrs ...string)) {
	t.Helper()
	n := newNode(t, text)
	n.plane = p
	n.start()
	n.status()
	p.log = nil
	return n.Engine, n.tell
}

func TestNothingIsServedBeforeEveryBackendHasAVerdict(t *testing.T) {
	p := newPlane(t)
	_, tell := startEngine(t, twoServices, p)
	tell(nil, "10.0.0.1", "10.0.0.2")
	if len(p.slots) > 0 || len(p.listeners) > 0 {
		t.Errorf("%d slot tables and %d listeners are written while a backend is not known", len(p.slots), len(p.listeners))
	}
	tell(errors.New("no answer"), "10.0.0.3")
	if len(p.listeners) != 2 || len(p.slots[0]) == 0 || len(p.slots[1]) == 0 {
		t.Errorf("%d listeners, tables of %d and %d slots after all verdicts", len(p.listeners), len(p.slots[0]), len(p.slots[1]))
	}
}

func TestAFlipMovesSlotsOfTheBackendAloneInEveryServiceThatHasIt(t *testing.T) {
	p := newPlane(t)
	_, tell := startEngine(t, twoServices, p)
	tell(nil, "10.0.0.1", "10.0.0.2", "10.0.0.3")
	before := map[maps.ServiceID][]maps.BackendID{0: p.owners(0), 1: p.owners(1)}
	tell(errors.New("no answer"), "10.0.0.2")
	for id, dead := range map[maps.ServiceID]maps.BackendID{0: 2, 1: 5} {
		for slot, owner := range p.owners(id) {
			was := before[id][slot]
			if owner == dead || was != dead && owner != was {
				t.Fatalf("service %d: slot %d went from %d to %d when %d died", id, slot, was, owner, dead)
			}
		}
	}
	tell(nil, "10.0.0.2")
	for id := range before {
		if !slices.Equal(p.owners(id), before[id]) {
			t.Errorf("service %d: not the former table when the backend was back", id)
		}
		if p.whole[id] != 1 {
			t.Errorf("service %d: %d tables written as a whole, want the first alone", id, p.whole[id])
		}
	}
}

func TestSlotsNeverNameABackendWithoutNextHop(t *testing.T) {
	p := newPlane(t)
	_, tell := startEngine(t, twoServices, p)
	tell(nil, "10.0.0.1", "10.0.0.2", "10.0.0.3")
	p.log = nil
	tell(errors.New("no answer"), "10.0.0.2")
	tell(nil, "10.0.0.2")
	want := "state of backend 2, moves of 0, backend 2 unresolved, state of backend 5, moves of 1, backend 5 unresolved, " +
		"backend 2 l2, moves of 0, backend 5 l2, moves of 1"
	if got := strings.Join(slices.DeleteFunc(p.log, func(w string) bool { return strings.HasPrefix(w, "name") }), ", "); got != want {
		t.Errorf("written in the order\n%s, want\n%s", got, want)
	}
}

func TestServicesWithTheSameBackendsShareOneTable(t *testing.T) {
	p := newPlane(t)
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
	p := newPlane(t)
	e, tell := startEngine(t, text, p)
	tell(nil, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
	first := p.owners(0)
	tell(errors.New("no answer"), "10.0.0.1", "10.0.0.2")
	for slot, owner := range p.owners(0) {
		if owner != 3 {
			t.Fatalf("slot %d has owner %d while only backend 3 lives", slot, owner)
		}
	}
	tell(nil, "10.0.0.1", "10.0.0.2")
	if !slices.Equal(p.owners(0), first) {
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
