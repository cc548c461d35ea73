package maps

import (
	"iter"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/xlb-project/xlb/bpf"
)

// Slot is a slot of a service in transition: who takes new flows, and who has all
// flows without a record.
type Slot struct {
	Current    BackendID
	Previous   BackendID
	Transition bool // Previous and the records count; otherwise Current alone
	Learned    bool // UDP flows without a record are new ones
}

// Flags of bpf/lib/types.h.
const (
	slotTransition = 1 << 31
	slotLearned    = 1 << 30
)

func (s Slot) row() bpf.XlbSlot {
	if !s.Transition {
		return bpf.XlbSlot{Current: uint32(s.Current), Previous: uint32(s.Current)}
	}
	row := bpf.XlbSlot{Current: uint32(s.Current), Previous: uint32(s.Previous) | slotTransition}
	if s.Learned {
		row.Previous |= slotLearned
	}
	return row
}

// SetTransition gives a service a slot table as SetSlots does, with slots that may
// be in transition.
func (t *Tables) SetTransition(id ServiceID, slots []Slot) error {
	return t.setSlots(id, len(slots), func(i int) bpf.XlbSlot { return slots[i].row() })
}

// FlowState is what has been seen of a recorded flow.
type FlowState uint8

// States of flows, enum flow_state of bpf/lib/types.h.
const (
	FlowNew     FlowState = 1 // one packet
	FlowKnown   FlowState = 2
	FlowClosing FlowState = 3 // a FIN or RST
)

// Flow is a recorded flow. Its address is not known, only the backend that has
// it, and near which slot it lies.
type Flow struct {
	Backend BackendID
	State   FlowState
	Age     time.Duration // since its last packet, in whole seconds

	// Hash is what the record knows of the flow's tuple hash: the highest 28 bits,
	// and as many of the lowest as number the buckets. Those in between are 0.
	Hash uint64
}

// Fields of a record, as in bpf/lib/types.h.
const (
	flowTagShift    = 36
	flowTickShift   = 24
	flowTickMask    = 0xfff
	flowStateShift  = 21
	flowStateMask   = 0x7
	flowBackendMask = 0x1fffff
)

// Slots returns the slots of a table of the given size that the flow may be in:
// mostly one, two where the record's bits leave it open.
func (f Flow) Slots(size int) (first, last int) {
	const unknown = 1<<flowTagShift - 1
	return SlotOf(f.Hash&^unknown, size), SlotOf(f.Hash|unknown, size)
}

// Flows goes through the recorded flows. Packets go on changing them meanwhile.
func (t *Tables) Flows() iter.Seq[Flow] {
	return func(yield func(Flow) bool) {
		tick, words := atomic.LoadUint64(&t.state.rows[0].Tick), t.flowWords()
		for i := range words {
			if f, ok := flowOf(i, atomic.LoadUint64(&words[i]), tick); ok && !yield(f) {
				return
			}
		}
	}
}

// ForgetFlows removes the recorded flows that match and returns how many.
func (t *Tables) ForgetFlows(match func(Flow) bool) int {
	tick, words, n := atomic.LoadUint64(&t.state.rows[0].Tick), t.flowWords(), 0
	for i := range words {
		word := atomic.LoadUint64(&words[i])
		if f, ok := flowOf(i, word, tick); ok && match(f) && atomic.CompareAndSwapUint64(&words[i], word, 0) {
			n++
		}
	}
	return n
}

// SetTick sets the clock of flow records, in whole seconds. It is to be called
// about every second; while nobody does, records do not age.
func (t *Tables) SetTick(seconds uint64) { atomic.StoreUint64(&t.state.rows[0].Tick, seconds) }

// flowOf reads the record in a place of the table.
func flowOf(place int, word, tick uint64) (Flow, bool) {
	state := FlowState(word >> flowStateShift & flowStateMask)
	if state == 0 {
		return Flow{}, false
	}
	return Flow{
		Backend: BackendID(word & flowBackendMask),
		State:   state,
		Age:     time.Duration((tick-word>>flowTickShift)&flowTickMask) * time.Second,
		Hash:    word>>flowTagShift<<flowTagShift | uint64(place/bucketFlows),
	}, true
}

func (t *Tables) flowWords() []uint64 {
	if len(t.flows.rows) == 0 {
		return nil
	}
	return unsafe.Slice(&t.flows.rows[0].Flows[0], len(t.flows.rows)*bucketFlows)
}
