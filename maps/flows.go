package maps

import (
	"iter"
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"
)

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
func (t *Tables) Flows() iter.Seq[Flow] { return t.FlowsIn(0, t.FlowCapacity()) }

// FlowsIn goes through those in the table's places from first to before end, of
// FlowCapacity in all: who has no time for a whole table takes it part by part.
func (t *Tables) FlowsIn(first, end int) iter.Seq[Flow] {
	return func(yield func(Flow) bool) {
		tick, words := atomic.LoadUint64(&t.state.rows[0].Tick), t.flowWords()
		for i := first; i < min(end, len(words)); i++ {
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

// AddFlows takes in flows recorded elsewhere, whose tables number their buckets
// by the given count of low bits of the hash. A flow that is recorded already
// stays where it is (with the same backend, it counts as seen when it was seen
// last anywhere), and none is removed for room: it returns how many were added.
// Where this table has more buckets than the flow's hash tells apart, it goes to
// each that it may belong to.
func (t *Tables) AddFlows(flows []Flow, lowBits int) int {
	words, n := t.flowWords(), 0
	if len(words) == 0 {
		return 0
	}
	tick, buckets := atomic.LoadUint64(&t.state.rows[0].Tick), uint64(len(t.flows.rows))
	for _, f := range flows {
		word, known, added := f.word(tick), false, false
		if word == 0 {
			continue
		}
		step := min(buckets, uint64(1)<<lowBits)
		first := f.Hash & (step - 1)
		for bucket := first; bucket < buckets; bucket += step {
			known = refreshFlow(words[bucket*bucketFlows:][:bucketFlows], word, tick) || known
		}
		for bucket := first; bucket < buckets && !known; bucket += step {
			added = putFlow(words[bucket*bucketFlows:][:bucketFlows], word, tick, false) || added
		}
		if added {
			n++
		}
	}
	return n
}

// FlowBits returns how many of the lowest bits of a flow's hash its record knows.
func (t *Tables) FlowBits() int { return bits.Len(uint(max(len(t.flows.rows), 1) - 1)) }

// refreshFlow says whether a bucket has a record of a flow. With the same backend
// it becomes as young as the other record of the flow is.
func refreshFlow(bucket []uint64, word, tick uint64) bool {
	for i := range bucket {
		old := atomic.LoadUint64(&bucket[i])
		if flowEnded(old, tick) || old>>flowTagShift != word>>flowTagShift {
			continue
		}
		if (old^word)&flowBackendMask == 0 && flowAge(word, tick) < flowAge(old, tick) {
			seen := uint64(flowTickMask) << flowTickShift
			atomic.CompareAndSwapUint64(&bucket[i], old, old&^seen|word&seen)
		}
		return true
	}
	return false
}

// putFlow puts a record into a bucket in place of one that has ended. With update
// it takes the place of the flow's own, or of one that is less worth keeping.
func putFlow(bucket []uint64, word, tick uint64, update bool) bool {
	place, least := -1, uint64(3*(flowTickMask+1)-1)
	if update {
		least = flowEvictable(word, tick)
	}
	for i := range bucket {
		old := atomic.LoadUint64(&bucket[i])
		if old>>flowTagShift == word>>flowTagShift && !flowEnded(old, tick) {
			if update {
				atomic.StoreUint64(&bucket[i], word)
			}
			return update
		}
		if e := flowEvictable(old, tick); e > least {
			place, least = i, e
		}
	}
	if place < 0 {
		return false
	}
	old := atomic.LoadUint64(&bucket[place])
	return flowEvictable(old, tick) >= least && atomic.CompareAndSwapUint64(&bucket[place], old, word)
}

// flowEvictable is flow_evictable of bpf/lib/track.h.
func flowEvictable(word, tick uint64) uint64 {
	age := flowAge(word, tick)
	switch state := FlowState(word >> flowStateShift & flowStateMask); {
	case flowEnded(word, tick):
		return 3 * (flowTickMask + 1)
	case state == FlowClosing:
		return 2*(flowTickMask+1) + age
	case state == FlowNew:
		return 1 + age
	}
	return 0
}

// flowIdle is MaxFlowIdle in ticks: a record that is no older may live, whatever
// the settings are.
const flowIdle = 3600

// flowEnded tells whether the data path takes a record for none, as it does
// perhaps earlier.
func flowEnded(word, tick uint64) bool {
	return word>>flowStateShift&flowStateMask == 0 || flowAge(word, tick) > flowIdle
}

// flowAge is how long ago a flow was seen, in seconds.
func flowAge(word, tick uint64) uint64 { return (tick - word>>flowTickShift) & flowTickMask }

// word is the record of a flow, 0 if there is nothing to record.
func (f Flow) word(tick uint64) uint64 {
	age := uint64(f.Age / time.Second)
	if f.State == 0 || age > flowIdle || f.Backend > flowBackendMask {
		return 0
	}
	return f.Hash>>flowTagShift<<flowTagShift | (tick-age)&flowTickMask<<flowTickShift | uint64(f.State)&flowStateMask<<flowStateShift | uint64(f.Backend)
}

func (t *Tables) flowWords() []uint64 {
	if len(t.flows.rows) == 0 {
		return nil
	}
	return unsafe.Slice(&t.flows.rows[0].Flows[0], len(t.flows.rows)*bucketFlows)
}
