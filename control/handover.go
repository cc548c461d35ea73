package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/xlb-project/xlb/control/handover"
	"github.com/xlb-project/xlb/control/transition"
	"github.com/xlb-project/xlb/maps"
)

// flowsAtOnce is how many places of the flow table SendFlows looks at before the
// engine does something else: about 10 ms where 350,000 slots are in transition.
const flowsAtOnce = 1 << 16

// SendFlows writes the recorded flows that a peer with the same secret needs, and
// returns how many there were; TakeFlows is what the peer does with them. None of
// the engine's time is spent on w. The end of ctx is noticed between writes: one
// that hangs is the caller's to end.
func (e *Engine) SendFlows(ctx context.Context, w io.Writer, secret handover.Secret) (int, error) {
	var node handover.Node
	if err := e.do(ctx, func() { node = e.handoverNode() }); err != nil {
		return 0, fmt.Errorf("hand over flows: %w", err)
	}
	out, err := handover.NewWriter(w, secret, node)
	if err != nil {
		return 0, err
	}
	sent := 0
	for first, more := 0, true; more; first += flowsAtOnce {
		var batches []handover.Batch
		ended := e.do(ctx, func() { batches, more, err = e.strays(first, node) })
		if err := cmp.Or(ctx.Err(), ended, err); err != nil {
			return sent, fmt.Errorf("hand over flows: %w", err)
		}
		for _, b := range batches {
			if err := out.Write(b); err != nil {
				return sent, err
			}
			sent += len(b.Records)
		}
	}
	return sent, out.Close()
}

// TakeFlows takes over the flows that a peer sends, and keeps the transitions open
// that they need, for as long as they live. It leaves alone what is recorded here.
// It returns io.ErrUnexpectedEOF if the stream was cut short; what came before
// counts all the same, and may come again.
func (e *Engine) TakeFlows(ctx context.Context, r io.Reader, secret handover.Secret, guard *handover.Guard) (handover.Taken, error) {
	var node handover.Node
	if err := e.do(ctx, func() { node = e.handoverNode() }); err != nil {
		return handover.Taken{}, fmt.Errorf("take over flows: %w", err)
	}
	in, err := handover.NewReader(r, secret, node, guard)
	if err != nil {
		return handover.Taken{}, err
	}
	return handover.Receive(in, func(f func()) error { return e.do(ctx, f) }, e.handoverService)
}

// PeerLost is to be called when another node with the same VIPs is gone: its flows
// come here, and not the records that kept transitions open for them. All that are
// open stay so for another idle timeout, so that each such flow can show itself.
func (e *Engine) PeerLost(ctx context.Context) error {
	err := e.do(ctx, func() {
		held := 0
		for _, s := range e.services {
			if s.slots != nil {
				s.slots.Hold(e.now())
				held += s.slots.Open()
			}
		}
		e.tell(EventTransition, nil, nil, "a peer is lost: %d slots stay in transition for %s more, as its flows may come here", held, e.cfg.Flows.Idle)
	})
	if err != nil {
		return fmt.Errorf("hold transitions for a lost peer's flows: %w", err)
	}
	return nil
}

func (e *Engine) handoverNode() handover.Node {
	return handover.Node{HashKey: e.cfg.HashKey, Bits: e.Dataplane.FlowBits()}
}

var errFlowsMoved = errors.New("the flow table was replaced by one of another size meanwhile: hand them over again")

// strays are the flows in some places of the flow table that a peer needs, and
// whether there are more places.
func (e *Engine) strays(first int, node handover.Node) (batches []handover.Batch, more bool, err error) {
	if e.handoverNode() != node {
		return nil, false, errFlowsMoved
	}
	if !slices.ContainsFunc(e.services, func(s *service) bool { return s.slots != nil && s.slots.Tracks() }) {
		return nil, false, nil
	}
	rows := make([]transition.Backend, len(e.numbers.backends))
	for _, s := range e.services { // not those that are gone: another one may have the name
		for _, b := range s.all() {
			if s.slots != nil {
				rows[b.id] = transition.Backend{Table: s.slots, Lives: b.lives}
			}
		}
	}
	who := func(id maps.BackendID) (handover.Identity, bool) {
		b := e.numbers.backend(id)
		return handover.Identity{Service: b.service.cfg.Name, Slots: b.service.size(), Address: b.cfg.Address}, true
	}
	flows := e.Dataplane.FlowsIn(first, first+flowsAtOnce)
	batches = handover.Strays(e.wall(), flows, transition.NewScan(e.now(), rows), who)
	return batches, first+flowsAtOnce < e.Dataplane.FlowCapacity(), nil
}

// handoverService is what a peer's flows have to do with a service.
func (e *Engine) handoverService(name string) (handover.Service, bool) {
	i := slices.IndexFunc(e.services, func(s *service) bool { return s.cfg.Name == name && s.slots != nil })
	if i < 0 {
		return handover.Service{}, false
	}
	s := e.services[i]
	servers := map[netip.Addr]maps.BackendID{}
	for _, b := range s.all() {
		servers[b.cfg.Address] = b.id
	}
	return handover.Service{
		Slots: s.slots.Size(), Backends: servers,
		Counts: func(f maps.Flow) bool { return e.lives(f.Backend) && s.slots.Counts(f) },
		Add:    func(flows []maps.Flow, bits int) int { return e.takeFlows(s, flows, bits) },
	}, true
}

// takeFlows takes in records of a peer's, and returns how many were new.
func (e *Engine) takeFlows(s *service, flows []maps.Flow, bits int) int {
	for _, f := range flows {
		b := e.numbers.backend(f.Backend)
		b.flows = max(b.flows, 1) // until the next sweep counts them: no drain ends before
	}
	s.slots.HoldFor(e.now(), flows)
	return e.Dataplane.AddFlows(flows, bits)
}
