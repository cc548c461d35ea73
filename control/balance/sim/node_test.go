package sim

import (
	"testing"
	"time"
)

const (
	a Backend = iota
	b
	c
)

const idle = time.Minute

// one returns a node with a single slot, owned by a; UDP is learnt for ten seconds.
func one(settings Settings) *Node {
	settings.Idle, settings.LearnUDP = idle, 10*time.Second
	return NewNode(settings, []Backend{a}, []Phase{Up, Up, Up})
}

func (n *Node) turn(now time.Duration, owner Backend, phases ...Phase) {
	n.Change(now, []Backend{owner}, phases)
}

// end sweeps and ends, as if there were no other node.
func (n *Node) end(now time.Duration) {
	needed := make([]bool, len(n.slots))
	n.Sweep(now, needed)
	n.End(now, needed)
}

var (
	oldTCP    = Packet{Hash: 1}
	newTCP    = Packet{Hash: 2, SYN: true}
	newTCPAck = Packet{Hash: 2}
	udp       = Packet{Hash: 3, UDP: true}
	otherUDP  = Packet{Hash: 4, UDP: true}
)

func expect(t *testing.T, n *Node, now time.Duration, p Packet, want Backend) {
	t.Helper()
	if got := n.Route(now, p); got != want {
		t.Fatalf("at %s %+v went to %d, want %d", now, p, got, want)
	}
}

func TestAtRestNoStateIsWritten(t *testing.T) {
	n := one(Settings{})
	expect(t, n, 0, newTCP, a)
	expect(t, n, 0, udp, a)
	if n.Records() != 0 {
		t.Fatalf("%d records at rest", n.Records())
	}
}

func TestInTransitionNewFlowsGoToCurrentAndOthersToPrevious(t *testing.T) {
	n := one(Settings{})
	n.turn(0, b, Draining, Up, Up)
	expect(t, n, 1, newTCP, b)
	expect(t, n, 2, newTCPAck, b)
	expect(t, n, 2, newTCP, b) // retransmitted
	expect(t, n, 2, oldTCP, a)
	expect(t, n, 3, udp, a)
	expect(t, n, 11*time.Second, otherUDP, b)
	expect(t, n, 12*time.Second, udp, a)
	if n.Records() != 4 {
		t.Fatalf("%d records, want 4", n.Records())
	}
}

func TestRetransmittedSYNLeavesABackendThatAcceptsNoMore(t *testing.T) {
	n := one(Settings{})
	n.turn(0, b, Draining, Up, Up)
	expect(t, n, 1, newTCP, b)
	n.turn(2, c, Draining, Draining, Up)
	expect(t, n, 3, newTCP, c)
}

func TestOverlappingChangesKeepTheFirstPrevious(t *testing.T) {
	n := one(Settings{})
	n.turn(0, b, Draining, Up, Up)
	expect(t, n, 1, newTCP, b)
	n.turn(2, c, Draining, Draining, Up)
	expect(t, n, 3, oldTCP, a)
	expect(t, n, 3, newTCPAck, b)
	expect(t, n, 3, Packet{Hash: 9, SYN: true}, c)
}

func TestReturnOfTheOldOwnerKeepsFlowsOfTheOneBetween(t *testing.T) {
	n := one(Settings{})
	n.turn(0, b, Draining, Up, Up)
	expect(t, n, 1, newTCP, b)
	n.turn(2, a, Up, Up, Up)
	expect(t, n, 3, newTCPAck, b)
	expect(t, n, 3, oldTCP, a)
	n.end(2 * idle)
	if n.slots[0].Transition {
		t.Fatal("the transition outlived the last record that needs it")
	}
}

func TestDeadOwnerLeavesNoTransition(t *testing.T) {
	n := one(Settings{})
	n.turn(0, b, Down, Up, Up)
	if n.slots[0].Transition {
		t.Fatalf("slot %+v", n.slots[0])
	}
	expect(t, n, 1, oldTCP, b)
}

func TestPreviousThatDiesGivesWayToCurrentAndOthersStay(t *testing.T) {
	n := one(Settings{})
	n.turn(0, b, Draining, Up, Up)
	expect(t, n, 1, newTCP, b)
	expect(t, n, 1, oldTCP, a)
	n.turn(2, c, Draining, Draining, Up)
	n.turn(3, c, Down, Draining, Up)
	expect(t, n, 4, oldTCP, c)
	expect(t, n, 4, Packet{Hash: 9}, c)
	expect(t, n, 4, newTCPAck, b)
	n.turn(5, c, Up, Draining, Up) // back, but without its connections
	expect(t, n, 6, Packet{Hash: 10}, c)
}

func TestTransitionEndsOnceNoRecordNeedsItButNotBeforeTheIdleTimeout(t *testing.T) {
	n := one(Settings{})
	n.turn(0, b, Draining, Up, Up)
	n.end(idle) // an older flow may still show itself
	expect(t, n, idle, oldTCP, a)
	n.end(idle + 1)
	expect(t, n, 2*idle, oldTCP, a)
	n.end(3 * idle)
	expect(t, n, 3*idle, oldTCP, a)
	n.end(4*idle + 1)
	if n.slots[0].Transition || n.Records() != 0 {
		t.Fatalf("slot %+v, %d records", n.slots[0], n.Records())
	}
}

func TestTransitionEndsWhenItsTimeIsUp(t *testing.T) {
	n := one(Settings{Limit: 10 * time.Second})
	n.turn(0, b, Draining, Up, Up)
	expect(t, n, 1, oldTCP, a)
	n.turn(5*time.Second, c, Draining, Draining, Up)
	n.end(15 * time.Second)
	expect(t, n, 15*time.Second, oldTCP, a)
	n.end(15*time.Second + 1)
	expect(t, n, 16*time.Second, oldTCP, c)
}

func TestLossOfAPeerHoldsTransitionsOpen(t *testing.T) {
	n := one(Settings{})
	n.turn(0, b, Draining, Up, Up)
	n.PeerLost(idle)
	n.end(2 * idle)
	expect(t, n, 2*idle, oldTCP, a)
	n = one(Settings{})
	n.PeerLost(0)
	if n.slots[0].Transition {
		t.Fatal("a slot at rest entered a transition")
	}
}

func TestStraysAreRecordsThatDisagreeWithTheSlot(t *testing.T) {
	n := one(Settings{})
	n.turn(0, b, Draining, Up, Up)
	expect(t, n, 1, oldTCP, a)
	expect(t, n, 1, newTCP, b)
	expect(t, n, 5, Packet{Hash: 9, SYN: true}, b) // too young
	if got := n.Strays(2); len(got) != 2 || got[oldTCP.Hash].Backend != a || got[newTCP.Hash].Backend != b {
		t.Fatalf("strays are %+v", got)
	}
	n.turn(6, a, Up, Up, Up)
	if got := n.Strays(2); len(got) != 1 || got[newTCP.Hash].Backend != b {
		t.Fatalf("after the return of the old owner strays are %+v", got)
	}
}
