package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-project/xlb/control/handover"
	"github.com/xlb-project/xlb/maps"
)

func (p *plane) FlowsIn(first, end int) iter.Seq[maps.Flow] {
	return slices.Values(p.flows[min(first, len(p.flows)):min(end, len(p.flows))])
}

func (p *plane) FlowBits() int { return p.flowBits }

// AddFlows knows flows by their whole hash.
func (p *plane) AddFlows(flows []maps.Flow, _ int) int {
	n := 0
	for _, f := range flows {
		if !p.full && !slices.ContainsFunc(p.flows, func(known maps.Flow) bool { return known.Hash == f.Hash }) {
			p.flows = append(p.flows, f)
			n++
		}
	}
	return n
}

var clusterSecret = handover.Secret{1, 2, 3}

// send returns what a node sends to its peers, and how many flows that is.
func (n *node) send() ([]byte, int) {
	n.t.Helper()
	var wire bytes.Buffer
	sent, err := n.SendFlows(context.Background(), &wire, clusterSecret)
	if err != nil {
		n.t.Fatal(err)
	}
	return wire.Bytes(), sent
}

func (n *node) take(wire []byte) handover.Taken {
	n.t.Helper()
	taken, err := n.TakeFlows(context.Background(), bytes.NewReader(wire), clusterSecret, handover.NewGuard(time.Minute))
	if err != nil {
		n.t.Fatal(err)
	}
	return taken
}

// flowsOf returns the hashes of the flows recorded with a backend.
func (n *node) flowsOf(backend string) (hashes []uint64) {
	for _, f := range n.plane.flows {
		if f.Backend == n.plane.idOf(backend) {
			hashes = append(hashes, f.Hash)
		}
	}
	return hashes
}

// peers are two nodes with the same backends, to which both have added a third one: a
// third of the slots are in transition. They number them in another order.
func peers(t *testing.T) (a, b *node) {
	a, b = newNode(t, withBackends("", 1, 2)), newNode(t, withBackends("", 2, 1))
	for _, n := range []*node{a, b} {
		n.start()
		n.tell(nil, hosts(1, 2)...)
		n.mustApply(withBackends("", 1, 2, 3))
		n.tell(nil, hosts(3)...)
		if n.plane.transitions(0) == 0 {
			t.Fatal("nothing is in transition")
		}
	}
	if a.plane.idOf("web/10.0.0.1") == b.plane.idOf("web/10.0.0.1") {
		t.Fatal("the nodes number backends in the same way: this test shows little")
	}
	return a, b
}

// withPeers runs a test of two nodes.
func withPeers(t *testing.T, test func(t *testing.T, a, b *node)) {
	synctest.Test(t, func(t *testing.T) {
		a, b := peers(t)
		defer b.stop()
		defer a.stop()
		test(t, a, b)
	})
}

func TestAPeerGetsTheFlowsOfOpenTransitions(t *testing.T) {
	withPeers(t, func(t *testing.T, a, b *node) {
		a.plane.record(0, 300)
		wire, sent := a.send()
		if taken := b.take(wire); taken != (handover.Taken{Added: sent}) {
			t.Errorf("%d flows are sent, %+v taken", sent, taken)
		}
		if few := len(a.plane.flows) / 2; sent > few {
			t.Errorf("%d of %d flows are sent, and two thirds of the slots are at rest", sent, len(a.plane.flows))
		}
		if has, had := b.flowsOf("web/10.0.0.3"), a.flowsOf("web/10.0.0.3"); !slices.Equal(has, had) || len(had) == 0 {
			t.Errorf("the third backend has the flows %v, at the peer %v", had, has)
		}
		wire, _ = a.send()
		if taken := b.take(wire); taken != (handover.Taken{Left: sent}) {
			t.Errorf("once more: %+v taken, want the %d left alone", taken, sent)
		}
	})
}

func TestNodesAtRestSendNothingAndTakeNothing(t *testing.T) {
	withPeers(t, func(t *testing.T, a, b *node) {
		a.plane.record(0, 300)
		wire, sent := a.send()
		sleep(b.cfg.Flows.Idle+time.Minute, a, b)
		a.plane.record(0, 300) // younger ones, at rest
		if b.plane.transitions(0) != 0 {
			t.Fatal("the peer is not at rest")
		}
		late := handover.NewGuard(time.Hour)
		taken, err := b.TakeFlows(t.Context(), bytes.NewReader(wire), clusterSecret, late)
		if err != nil || taken != (handover.Taken{Idle: sent}) || len(b.plane.flows) != 0 {
			t.Errorf("%+v taken of %d, and %d recorded (error: %v)", taken, sent, len(b.plane.flows), err)
		}
		sleep(a.cfg.Flows.Idle, a, b) // what is recorded does not speak, and goes
		if _, sent := b.send(); sent != 0 {
			t.Errorf("%d flows are sent at rest", sent)
		}
	})
}

func TestFlowsOfABackendThatIsDeadHereAreNotTaken(t *testing.T) {
	withPeers(t, func(t *testing.T, a, b *node) {
		a.plane.record(0, 300)
		b.tell(errNoAnswer, hosts(3)...)
		wire, _ := a.send()
		if taken := b.take(wire); taken.Idle != len(a.flowsOf("web/10.0.0.3")) || taken.Idle == 0 || len(b.flowsOf("web/10.0.0.3")) != 0 {
			t.Errorf("%+v taken, the dead backend has %d flows", taken, len(b.flowsOf("web/10.0.0.3")))
		}
	})
}

func TestTransitionsLastAsLongAsAPeersFlowNeedsThem(t *testing.T) {
	for name, full := range map[string]bool{"recorded here": false, "without room here": true} {
		t.Run(name, func(t *testing.T) {
			withPeers(t, func(t *testing.T, a, b *node) {
				b.plane.full = full
				idle := b.cfg.Flows.Idle
				sleep(idle-time.Minute, a, b)
				first := a.plane.slots[0]
				slot := slices.IndexFunc(first, func(s maps.Slot) bool { return s.Transition })
				a.plane.flows = append(a.plane.flows, maps.Flow{ // an old one, of the former owner
					Backend: first[slot].Previous, State: maps.FlowKnown, Hash: uint64(slot)<<32/uint64(len(first))<<32 + 1<<40,
				})
				wire, sent := a.send()
				if taken := b.take(wire); sent != 1 || taken.Added+taken.Left != 1 || (taken.Added == 0) != full {
					t.Fatalf("%d sent, %+v taken", sent, taken)
				}
				sleep(idle-time.Minute, a, b)
				if n := b.plane.transitions(0); n == 0 || n > 2 {
					t.Errorf("%d slots are in transition while a peer's flow needs one", n)
				}
				b.plane.flows = nil
				sleep(2*time.Minute, a, b)
				if n := b.plane.transitions(0); n != 0 {
					t.Errorf("%d slots are in transition when the flow is over", n)
				}
			})
		})
	}
}

func TestABackendIsNotOutWhileAPeersFlowsAreNews(t *testing.T) {
	withPeers(t, func(t *testing.T, a, b *node) {
		a.plane.record(0, 300)
		if b.backend("web/10.0.0.3").Flows != 0 {
			t.Fatal("it has flows already")
		}
		wire, _ := a.send()
		b.take(wire)
		if b.backend("web/10.0.0.3").Flows == 0 {
			t.Error("until the next sweep the backend counts as one without flows")
		}
	})
}

func TestTheLossOfAPeerHoldsOpenTransitions(t *testing.T) {
	withPeers(t, func(t *testing.T, a, b *node) {
		idle := b.cfg.Flows.Idle
		sleep(idle-time.Minute, a, b)
		if err := b.PeerLost(t.Context()); err != nil {
			t.Fatal(err)
		}
		sleep(idle-time.Second, a, b)
		if a.plane.transitions(0) != 0 || b.plane.transitions(0) == 0 {
			t.Errorf("%d slots are in transition at a node that lost no peer, %d at the one that did", a.plane.transitions(0), b.plane.transitions(0))
		}
		sleep(time.Minute, a, b)
		if n := b.plane.transitions(0); n != 0 {
			t.Errorf("%d slots are in transition for ever", n)
		}
	})
}

// meddler does something at the first write.
type meddler struct{ do func() }

func (m *meddler) Write(p []byte) (int, error) {
	if m.do != nil {
		m.do()
		m.do = nil
	}
	return len(p), nil
}

func TestHandOverSaysWhyItCannotGoOn(t *testing.T) {
	withPeers(t, func(t *testing.T, a, b *node) {
		if _, err := a.SendFlows(t.Context(), &meddler{func() { a.plane.flowBits++ }}, clusterSecret); !errors.Is(err, errFlowsMoved) {
			t.Errorf("a flow table of another size: error %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		if _, err := a.SendFlows(ctx, &meddler{stop}, clusterSecret); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller gave up: error %v", err)
		}
		b.plane.flowBits++
		a.plane.record(0, 300)
		wire, _ := a.send()
		guard := handover.NewGuard(time.Minute)
		if _, err := b.TakeFlows(t.Context(), bytes.NewReader(wire), handover.Secret{9}, guard); !errors.Is(err, handover.ErrForged) {
			t.Errorf("another secret: error %v", err)
		}
		if _, err := b.TakeFlows(t.Context(), bytes.NewReader(wire[:len(wire)-1]), clusterSecret, guard); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a stream that is cut short: error %v", err)
		}
		b.stop()
		for what, err := range map[string]error{
			"send": func() error { _, err := b.SendFlows(t.Context(), io.Discard, clusterSecret); return err }(),
			"take": func() error {
				_, err := b.TakeFlows(t.Context(), bytes.NewReader(wire), clusterSecret, guard)
				return err
			}(),
			"hold": b.PeerLost(t.Context()),
		} {
			if !errors.Is(err, ErrEnded) {
				t.Errorf("%s after the end: error %v", what, err)
			}
		}
	})
}
