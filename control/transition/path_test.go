package transition

import (
	"time"

	"github.com/xlb-project/xlb/control/balance/sim"
	"github.com/xlb-project/xlb/maps"
)

// path is the part of the data path that keeps connections: docs/DATAPATH.md section 12, Tracking, with room for all. As in
// the model of package sim, flows whose backend died begin anew with Current.
type path struct {
	slots   []maps.Slot
	records map[uint64]record // by tuple hash
	phases  []sim.Phase
	moves   int
}

type record struct {
	backend maps.BackendID
	seen    time.Duration
}

func newPath(t *Table) *path { return &path{slots: t.Slots(), records: map[uint64]record{}} }

// store does what MoveSlots does. A move that changes nothing, or two of one slot, would be needless.
func (p *path) store(moves []maps.Move) {
	last := -1
	for _, m := range moves {
		if m.Slot <= last || p.slots[m.Slot] == m.To {
			panic("a needless move")
		}
		p.slots[m.Slot], last = m.To, m.Slot
		p.moves++
	}
}

// route returns the backend of a packet whose slot the flow hash picks; p.Hash is the tuple hash.
func (p *path) route(now time.Duration, flowHash uint64, packet sim.Packet) maps.BackendID {
	slot := p.slots[maps.SlotOf(flowHash, len(p.slots))]
	if !slot.Transition {
		return slot.Current
	}
	r, known := p.records[packet.Hash]
	if !known || now-r.seen > idle || !p.follows(r.backend, packet.SYN) {
		r.backend = slot.Previous
		if p.phases[slot.Previous] == sim.Down {
			r.backend = slot.Current
		}
		if packet.SYN || packet.UDP && slot.Learned || known && now-r.seen <= idle {
			r.backend = slot.Current
		}
	}
	r.seen = now
	p.records[packet.Hash] = r
	return r.backend
}

func (p *path) follows(b maps.BackendID, syn bool) bool {
	if syn {
		return p.phases[b] == sim.Up
	}
	return p.phases[b] != sim.Down
}

func (p *path) flow(now time.Duration, tuple uint64, r record) maps.Flow {
	return maps.Flow{Backend: r.backend, State: maps.FlowKnown, Age: now - r.seen, Hash: tuple}
}

// hashOf spreads flows over slots, such that what a record knows of a hash picks one slot.
func hashOf(flow int) uint64 { return uint64(flow+1) * 0x9e3779b97f4a7c15 &^ (1<<36 - 1) }
