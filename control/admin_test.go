package control

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-project/xlb/maps"
)

func TestADrainKeepsTheFlowsAndEndsWhenTheyAreOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, withCheck, 1, 2, 3)
		defer n.stop()
		n.plane.record(0, 90)
		first := n.plane.idOf("web/10.0.0.1")
		owned := n.backend("web/10.0.0.1").Slots
		rev, err := n.Drain(t.Context(), edit(), "web", "10.0.0.1", DrainOptions{})
		if err != nil || rev != 2 {
			t.Fatalf("revision %d, %v", rev, err)
		}
		row := n.plane.rows[first]
		if !row.Up || row.Accepts || slices.Contains(n.plane.owners(0), first) {
			t.Errorf("its row is %+v; it has to keep its flows and take no new ones", row)
		}
		if open := n.plane.transitions(0); open != owned {
			t.Errorf("%d slots are in transition, it owned %d", open, owned)
		}
		sleep(3*time.Second, n)
		b := n.backend("web/10.0.0.1")
		if b.Admin != AdminDraining || b.Drain == nil || b.Drain.Flows == 0 || b.Drain.Flows != b.Flows || b.TransitionSlots != owned {
			t.Errorf("status %+v", b)
		}
		sleep(20*time.Minute, n)
		if b := n.backend("web/10.0.0.1"); b.Admin != AdminDraining {
			t.Errorf("it is %q while it has flows", b.Admin)
		}
		n.plane.flows = slices.DeleteFunc(n.plane.flows, func(f maps.Flow) bool { return f.Backend == first })
		sleep(5*time.Second, n)
		if b := n.backend("web/10.0.0.1"); b.Admin != AdminDrained || n.plane.rows[first].Up || n.plane.transitions(0) != 0 {
			t.Errorf("without flows it is %q, row %+v", b.Admin, n.plane.rows[first])
		}
		n.plane.sound()
	})
}

func TestADrainEndsWhenItsTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, withCheck, 1, 2)
		defer n.stop()
		n.plane.record(0, 50)
		if _, err := n.Drain(t.Context(), edit(), "web", "10.0.0.1", DrainOptions{Timeout: 30 * time.Second}); err != nil {
			t.Fatal(err)
		}
		sleep(28*time.Second, n)
		if b := n.backend("web/10.0.0.1"); b.Admin != AdminDraining {
			t.Errorf("too early it is %q", b.Admin)
		}
		sleep(4*time.Second, n)
		if b := n.backend("web/10.0.0.1"); b.Admin != AdminDrained || b.TransitionSlots != 0 || n.plane.rows[n.plane.idOf("web/10.0.0.1")].Up {
			t.Errorf("it is %q and has the flows of %d slots", b.Admin, b.TransitionSlots)
		}
	})
}

func TestAnUndrainGivesTheFormerSlotsBack(t *testing.T) {
	n := upNode(t, withCheck, 1, 2, 3)
	before := n.plane.owners(0)
	for _, do := range []func() (uint64, error){
		func() (uint64, error) { return n.Drain(t.Context(), edit(), "web", "10.0.0.1", DrainOptions{}) },
		func() (uint64, error) { return n.Undrain(t.Context(), edit(), "web", "10.0.0.1") },
	} {
		if _, err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(n.plane.owners(0), before) || n.backend("web/10.0.0.1").Admin != "" {
		t.Error("not the former table")
	}
	rev, err := n.Undrain(t.Context(), edit(), "web", "10.0.0.1")
	if err != nil || rev != 3 {
		t.Errorf("undraining what is not drained gives revision %d, %v", rev, err)
	}
}

func TestTheLastBackendThatAcceptsGoesOnlyByForce(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	ctx := t.Context()
	n.health(false, "web/10.0.0.2")
	_, err := n.Drain(ctx, edit(), "web", "10.0.0.1", DrainOptions{})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("a drain gives %v", err)
	}
	if _, err := n.Disable(ctx, edit(), "web", "10.0.0.1", false); !errors.Is(err, ErrRefused) {
		t.Errorf("disabling gives %v", err)
	}
	if _, err := n.Disable(ctx, edit(), "web", "10.0.0.2", false); err != nil {
		t.Errorf("disabling the dead one gives %v", err)
	}
	if _, err := n.Disable(ctx, edit(), "web", "10.0.0.1", true); err != nil {
		t.Errorf("force gives %v", err)
	}
	for _, owner := range n.plane.owners(0) {
		if owner != 0 {
			t.Fatal("somebody owns slots")
		}
	}
	if _, err := n.Enable(ctx, edit(), "web", "10.0.0.1"); err != nil || n.backend("web/10.0.0.1").Live != 1 {
		t.Errorf("enabled it takes %v, %v", n.backend("web/10.0.0.1").Live, err)
	}
}

func TestADisabledBackendLosesItsFlowsAtOnce(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	first := n.plane.idOf("web/10.0.0.1")
	if _, err := n.Disable(t.Context(), edit(), "web", "10.0.0.1", false); err != nil {
		t.Fatal(err)
	}
	if n.plane.rows[first].Up || n.plane.transitions(0) != 0 {
		t.Errorf("its row is %+v, %d slots are in transition", n.plane.rows[first], n.plane.transitions(0))
	}
}

func TestWithoutTrackingADrainIsOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, "    tracking: never\n"+withCheck, 1, 2)
		defer n.stop()
		if _, err := n.Drain(t.Context(), edit(), "web", "10.0.0.1", DrainOptions{}); err != nil {
			t.Fatal(err)
		}
		sleep(2*time.Second, n)
		if b := n.backend("web/10.0.0.1"); b.Admin != AdminDrained || n.plane.transitions(0) != 0 {
			t.Errorf("it is %q, %d slots in transition", b.Admin, n.plane.transitions(0))
		}
	})
}

func TestTheLastDrainsTimeoutCanBeChanged(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	for _, timeout := range []time.Duration{time.Hour, time.Minute} {
		if _, err := n.Drain(t.Context(), edit(), "web", "10.0.0.1", DrainOptions{Timeout: timeout}); err != nil {
			t.Fatal(err)
		}
		n.health(false, "web/10.0.0.2") // now nobody else accepts, and the drain takes nothing more away
	}
	if left := time.Until(*n.backend("web/10.0.0.1").Drain.Deadline); left > time.Minute {
		t.Errorf("it is out in %s", left)
	}
}
