package sim

import (
	"math/rand/v2"
	"time"
)

// Class is a kind of connection. Lifetimes and the gaps between packets are exponentially distributed.
type Class struct {
	Name    string
	Share   float64       // of all connections
	Life    time.Duration // mean
	Gap     time.Duration // mean
	Longest time.Duration // no gap is longer: heartbeats, or timeouts of the application; 0: unlimited
	UDP     bool
}

// tick is the resolution of time: packets of one tick come in no particular order.
const tick = 10 * time.Millisecond

// flow is one connection.
type flow struct {
	hash       uint64
	start, end int32 // ticks
	last       int32 // tick of the latest packet, -1 before the first
	class      uint8
}

// traffic plays the packets of all flows in order of time. A flow has one packet ahead of it at a time, so a list per
// tick is all the queue there is.
type traffic struct {
	rng     *rand.Rand
	classes []Class
	flows   []flow
	first   []int32 // by tick: the first flow with a packet then, -1 if none
	next    []int32 // by flow: the next one of the same tick
}

// newTraffic draws n flows that start at random before the end.
func newTraffic(rng *rand.Rand, classes []Class, n int, end time.Duration) *traffic {
	t := &traffic{
		rng: rng, classes: classes,
		flows: make([]flow, n), first: make([]int32, end/tick), next: make([]int32, n),
	}
	for i := range t.first {
		t.first[i] = -1
	}
	for i := range t.flows {
		class, draw := 0, rng.Float64()
		for class < len(classes)-1 && draw >= classes[class].Share {
			draw -= classes[class].Share
			class++
		}
		start := int32(rng.IntN(len(t.first)))
		t.flows[i] = flow{
			hash: rng.Uint64(), class: uint8(class), last: -1,
			start: start, end: int32(min(int64(start)+t.exponential(classes[class].Life), int64(len(t.first)))),
		}
		t.push(int32(i), start)
	}
	return t
}

// play calls packet for every packet of the tick.
func (t *traffic) play(now int32, packet func(i int32, f *flow)) {
	for i := t.first[now]; i >= 0; {
		f, next := &t.flows[i], t.next[i]
		packet(i, f)
		f.last = now
		if at := now + t.gap(f.class); at < f.end {
			t.push(i, at)
		}
		i = next
	}
}

func (t *traffic) gap(class uint8) int32 {
	c := &t.classes[class]
	gap := t.exponential(c.Gap)
	if c.Longest > 0 {
		gap = min(gap, int64(c.Longest/tick))
	}
	return int32(min(gap, int64(len(t.first))))
}

// exponential draws ticks, at least 1.
func (t *traffic) exponential(mean time.Duration) int64 {
	return 1 + int64(t.rng.ExpFloat64()*float64(mean/tick))
}

func (t *traffic) push(i, at int32) { t.next[i], t.first[at] = t.first[at], i }
