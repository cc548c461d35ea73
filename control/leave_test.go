package control

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-project/xlb/maps"
)

const checkedByHTTP = "    health: {http: {path: /}}\n"

// twoServe is a node whose service has two healthy backends.
func twoServe(t *testing.T) *node {
	n := newNode(t, withBackends(checkedByHTTP, 1, 2))
	n.start()
	n.tell(nil, hosts(1, 2)...)
	n.health(true, "web/10.0.0.1", "web/10.0.0.2")
	return n
}

// aThirdServes is twoServe after another backend has come, whose slots are in transition.
func aThirdServes(t *testing.T) *node {
	n := twoServe(t)
	n.mustApply(withBackends(checkedByHTTP, 1, 2, 3))
	n.tell(nil, hosts(3)...)
	n.health(true, "web/10.0.0.3")
	return n
}

func TestARemovedBackendKeepsItsFlowsUntilTheyAreOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := twoServe(t)
		defer n.stop()
		id := n.plane.idOf("web/10.0.0.1")
		n.mustApply(withBackends(checkedByHTTP, 2))
		if row := n.plane.rows[id]; !row.Up || row.Accepts {
			t.Errorf("the row of the removed backend says up %v, accepts %v; it has flows and takes no new ones", row.Up, row.Accepts)
		}
		if b := n.backend("web/10.0.0.1"); b.Admin != AdminRemoved || b.TransitionSlots == 0 {
			t.Errorf("status says it is %q with %d slots in transition", b.Admin, b.TransitionSlots)
		}
		if slices.Contains(n.plane.owners(0), id) {
			t.Error("it still owns slots")
		}
		if n.news.targets["web/10.0.0.1"].Probe == nil || len(n.news.watched) != 2 {
			t.Error("nobody looks after it any more")
		}
		sleep(n.cfg.Flows.Idle+time.Minute, n)
		if row := n.plane.rows[id]; row.Up {
			t.Error("all its flows are over, and its row is still up")
		}
		if _, checked := n.news.targets["web/10.0.0.1"]; checked || len(n.news.watched) != 1 {
			t.Error("it is still looked after")
		}
	})
}

func TestFlowsThatWereRecordedAMomentAgoKeepTheirBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := aThirdServes(t)
		defer n.stop()
		id := n.plane.idOf("web/10.0.0.3")
		n.plane.record(0, 100) // among them new flows of the third, whose slots are still the others' for those without a record
		n.mustApply(withBackends(checkedByHTTP, 1, 2))
		if slices.ContainsFunc(n.plane.slots[0], func(s maps.Slot) bool { return s.Previous == id }) {
			t.Fatal("slots name the backend: this test shows little")
		}
		if !n.plane.rows[id].Up {
			t.Error("flows that no sweep has seen yet lost their backend")
		}
		sleep(time.Minute, n)
		if !n.plane.rows[id].Up {
			t.Error("its flows are there, and it is not")
		}
	})
}

func TestARemovedBackendIsOutSoonAfterTheTransitionsOfItsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := twoServe(t)
		defer n.stop()
		id := n.plane.idOf("web/10.0.0.1")
		n.plane.record(0, 100) // flows that never end
		n.mustApply(withBackends(checkedByHTTP, 2))
		sleep(n.cfg.Flows.MaxTransition-time.Minute, n)
		if !n.plane.rows[id].Up {
			t.Fatal("it is out while its flows are there")
		}
		sleep(time.Minute+10*time.Second, n)
		if n.plane.rows[id].Up {
			t.Error("its time is up, and nobody looks")
		}
	})
}

func TestRecordsGoWithTheTransitionsThatNeededThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := aThirdServes(t)
		defer n.stop()
		n.plane.record(0, 100) // with their slots' new owners
		open := func() (slots, flows int) {
			if err := n.do(t.Context(), func() { slots, flows = n.plane.transitions(0), len(n.plane.flows) }); err != nil {
				t.Fatal(err)
			}
			return slots, flows
		}
		sleep(n.cfg.Flows.Idle-time.Minute, n)
		if slots, flows := open(); slots == 0 || flows == 0 {
			t.Fatalf("%d slots in transition and %d records: this test shows little", slots, flows)
		}
		sleep(time.Minute+10*time.Second, n)
		if slots, flows := open(); slots > 0 || flows > 0 {
			t.Errorf("%d slots are in transition, and %d records are left", slots, flows)
		}
	})
}

func TestAChangeAfterAQuietTimeEndsAsSoonAsOneAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 10 * time.Second
		settings := func(hosts ...int) string { return "flows: {idle: 10s}\n" + withBackends(checkedByHTTP, hosts...) }
		n := newNode(t, settings(1, 2))
		n.start()
		defer n.stop()
		n.tell(nil, hosts(1, 2)...)
		n.health(true, "web/10.0.0.1", "web/10.0.0.2")
		sleep(idle, n) // the flow table was looked at, and nobody waits for it
		id := n.plane.idOf("web/10.0.0.1")
		n.mustApply(settings(2))
		sleep(2*idle+10*time.Second, n) // the transitions', and the number's after them
		if e, held := n.plane.names[id]; held || n.plane.transitions(0) > 0 {
			t.Errorf("%d slots are in transition, and the number of the removed backend is %+v", n.plane.transitions(0), e)
		}
	})
}

func TestARemovedBackendThatDiesIsGivenUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := twoServe(t)
		defer n.stop()
		id := n.plane.idOf("web/10.0.0.1")
		n.mustApply(withBackends(checkedByHTTP, 2))
		n.health(false, "web/10.0.0.1")
		sleep(2*tickTime, n)
		if n.plane.rows[id].Up {
			t.Error("its row is up")
		}
		if slices.ContainsFunc(n.plane.slots[0], func(s maps.Slot) bool { return s.Previous == id }) {
			t.Error("slots still name it")
		}
	})
}

func TestARemovedBackendLivesOnOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := twoServe(t)
		id := n.plane.idOf("web/10.0.0.1")
		n.file = withBackends(checkedByHTTP, 2)
		n.mustApply(n.file)
		n.stop()
		n.start()
		defer n.stop()
		n.tell(nil, hosts(1, 2)...)
		if row := n.plane.rows[id]; !row.Up || row.Accepts {
			t.Errorf("after a restart its row says up %v, accepts %v", row.Up, row.Accepts)
		}
		if n.plane.transitions(0) == 0 {
			t.Error("its flows are forgotten")
		}
	})
}

func TestARemovedBackendKeepsItsServerIDOverARestart(t *testing.T) {
	const settings = "    protocol: udp\n    quic: {server_id_length: 1}\n"
	all := withBackends(settings) + "      - {address: 10.0.0.1, server_id: \"01\"}\n      - {address: 10.0.0.2, server_id: \"02\"}\n"
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, all)
		n.start()
		n.tell(nil, hosts(1, 2)...)
		id := n.plane.idOf("web/10.0.0.1")
		n.file = withBackends(settings) + "      - {address: 10.0.0.2, server_id: \"02\"}\n"
		n.mustApply(n.file)
		n.stop()
		n.start()
		defer n.stop()
		n.tell(nil, hosts(1, 2)...)
		if !slices.ContainsFunc(n.plane.ids[0], func(s maps.ServerID) bool { return s.Backend == id && slices.Equal(s.ID, []byte{1}) }) {
			t.Errorf("server IDs are %v, want one of backend %d", n.plane.ids[0], id)
		}
	})
}

func TestABackendThatComesBackWhileItLingersIsTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := twoServe(t)
		defer n.stop()
		id, owners := n.plane.idOf("web/10.0.0.1"), n.plane.owners(0)
		n.mustApply(withBackends(checkedByHTTP, 2))
		n.mustApply(withBackends(checkedByHTTP, 1, 2))
		if again := n.plane.idOf("web/10.0.0.1"); again != id {
			t.Errorf("it had number %d and has %d", id, again)
		}
		if !slices.Equal(n.plane.owners(0), owners) {
			t.Error("the former table did not come back")
		}
	})
}

func TestABackendAtAnAddressThatIsKnownHasItsWayAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := twoServe(t)
		defer n.stop()
		n.mustApply(withBackends(checkedByHTTP, 1, 2) + "  - {name: other, vip: 192.0.2.2, port: 80, forward: l2, backends: [{address: 10.0.0.1}]}\n")
		if b := n.backend("other/10.0.0.1"); b.State != StateUp {
			t.Errorf("it is %s: %s", b.State, b.Reason)
		}
	})
}

func TestBackendsThatTakeNothingNewDoNotCountAsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := twoServe(t)
		defer n.stop()
		if up := n.status().Services[0].Up; up != 2 {
			t.Errorf("%d backends are up, want 2", up)
		}
		if _, err := n.Drain(t.Context(), Edit{}, "web", "10.0.0.1", DrainOptions{}); err != nil {
			t.Fatal(err)
		}
		if up := n.status().Services[0].Up; up != 1 {
			t.Errorf("%d backends are up while one is drained, want 1", up)
		}
	})
}

// After a reboot the kernel holds nothing, and what is discovered comes late.
func TestAnOrderForADiscoveredBackendOutlivesAReboot(t *testing.T) {
	discovering(t, withBackends(byDNS, 1), func(t *testing.T, n *node, l *tellers) {
		l.finds(n, 2, 3)
		if _, err := n.Disable(t.Context(), edit(), "web", "10.0.0.3", false); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second daemon ends before the source has spoken
			n.stop()
			n.plane = newPlane(t)
			n.start(l.parts)
			synctest.Wait()
			n.tell(nil, hosts(1)...)
		}
		l.finds(n, 2, 3)
		if b := n.backend("web/10.0.0.3"); b.Admin != AdminDisabled {
			t.Errorf("it was disabled and is %q", b.Admin)
		}
		if b := n.backend("web/10.0.0.2"); b.Admin != AdminNone {
			t.Errorf("its sibling is %q", b.Admin)
		}
	})
}
