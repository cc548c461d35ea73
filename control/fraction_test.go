package control

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestABackendThatCameUpGetsItsShareStepByStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, "    slow_start: 32s\n"+withCheck, 1, 2)
		defer n.stop()
		if b := n.backend("web/10.0.0.1"); b.Live != 1 {
			t.Errorf("when the service starts it takes %v", b.Live)
		}
		before := n.plane.owners(0)
		n.health(false, "web/10.0.0.1")
		n.health(true, "web/10.0.0.1")
		last, steps := 0.0, 0
		for range 40 {
			b := n.backend("web/10.0.0.1")
			if b.Live < last || b.Live <= 0 {
				t.Fatalf("its share went from %v to %v", last, b.Live)
			}
			if b.Live > last {
				last = b.Live
				steps++
			}
			sleep(time.Second, n)
		}
		if last != 1 || steps < 15 || steps > 16 {
			t.Errorf("%d steps to %v", steps, last)
		}
		if !slices.Equal(n.plane.owners(0), before) {
			t.Error("not the former table at the end")
		}
	})
}

func TestAWarmBackendComesBackAtOnce(t *testing.T) {
	n := upNode(t, "    slow_start: 1m\n"+withCheck, 1, 2)
	ctx := t.Context()
	if _, err := n.Drain(ctx, edit(), "web", "10.0.0.1", DrainOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Undrain(ctx, edit(), "web", "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	n.tell(errNoAnswer, "10.0.0.2")
	n.tell(nil, "10.0.0.2")
	for _, h := range hosts(1, 2) {
		if b := n.backend("web/" + h); b.Live != 1 {
			t.Errorf("%s takes %v", h, b.Live)
		}
	}
}

func TestAGrowingBackendGrowsOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, "    slow_start: 64s\n"+withCheck, 1, 2)
		n.health(false, "web/10.0.0.1")
		n.health(true, "web/10.0.0.1")
		sleep(33*time.Second, n)
		share := n.backend("web/10.0.0.1").Live
		n.again()
		defer n.stop()
		n.up(1, 2)
		if now := n.backend("web/10.0.0.1").Live; now != share {
			t.Errorf("its share was %v, now it is %v", share, now)
		}
		sleep(35*time.Second, n)
		if now := n.backend("web/10.0.0.1").Live; now != 1 {
			t.Errorf("then it is %v", now)
		}
	})
}

func TestWithTooFewHealthyBackendsAllAreUsed(t *testing.T) {
	n := upNode(t, "    panic: 50\n"+withCheck, 1, 2, 3, 4)
	before := n.plane.owners(0)
	n.health(false, "web/10.0.0.1", "web/10.0.0.2")
	if s := n.status().Services[0]; s.Panic || s.Up != 2 {
		t.Errorf("half are healthy: panic %v, %d up", s.Panic, s.Up)
	}
	n.health(false, "web/10.0.0.3")
	s := n.status().Services[0]
	if !s.Panic || !slices.Equal(n.plane.owners(0), before) || s.Backends[0].State != StateDown || s.Backends[0].Live != 1 {
		t.Errorf("a quarter is healthy: %+v", s)
	}
	n.health(true, "web/10.0.0.3")
	if s := n.status().Services[0]; s.Panic || s.Up != 2 {
		t.Errorf("half are healthy again: panic %v, %d up", s.Panic, s.Up)
	}
	if _, err := n.Disable(t.Context(), edit(), "web", "10.0.0.1", false); err != nil {
		t.Fatal(err)
	}
	if s := n.status().Services[0]; s.Panic {
		t.Error("one that an operator took out counts as ill")
	}
}

func TestWhenEveryNextHopIsLostTheSlotsWaitForThem(t *testing.T) {
	n := upNode(t, withCheck, 1, 2, 3)
	before := n.plane.owners(0)
	n.tell(errNoAnswer, hosts(1, 2, 3)...)
	if !slices.Equal(n.plane.owners(0), before) || n.status().Services[0].Up != 0 {
		t.Error("slots moved although nobody could take them")
	}
	n.tell(nil, hosts(3, 2, 1)...)
	if !slices.Equal(n.plane.owners(0), before) || n.plane.transitions(0) != 0 || n.status().Services[0].Up != 3 {
		t.Errorf("%d slots are in transition after an interface was down", n.plane.transitions(0))
	}
}

func TestAHealthyBackendWithoutNextHopKeepsItsFlows(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	first := n.plane.idOf("web/10.0.0.1")
	owned := n.backend("web/10.0.0.1").Slots
	n.tell(errNoAnswer, "10.0.0.1")
	if !n.plane.rows[first].Up || n.plane.transitions(0) != owned {
		t.Errorf("its row is %+v, %d of its %d slots are in transition", n.plane.rows[first], n.plane.transitions(0), owned)
	}
	n.health(false, "web/10.0.0.1")
	if n.plane.rows[first].Up || slices.ContainsFunc(n.plane.slots[0], func(s mapsSlot) bool { return s.Previous == first }) {
		t.Error("it has flows after its check failed as well")
	}
}
