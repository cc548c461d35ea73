package sim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// script draws a schedule of random changes: short stories of one to a few steps, each about backends that no other
// story is about at that time.
type script struct {
	rng   *rand.Rand
	begun int             // how many backends there were in the beginning
	busy  []time.Duration // by backend: until when a story is about it
	gone  int             // how many backends were removed
	steps []step
}

const (
	forever  = time.Duration(1<<63 - 1)
	linger   = 5 * time.Minute  // how long the server of a removed backend still runs
	replaced = 2 * time.Minute  // how long a replaced backend drains
	rolling  = 20 * time.Second // between two replacements
	rollout  = 10               // replacements in one rollout
)

var (
	up       = state{configured: true, phase: Up, fraction: 1}
	half     = state{configured: true, phase: Up, fraction: 0.5}
	draining = state{configured: true, phase: Draining, fraction: 1}
	dead     = state{configured: true, phase: Down, fraction: 1}
	leaving  = state{phase: Draining}
	removed  = state{}
)

// draw returns the steps of stories that begin between from and to, every so often on average, in order of time, and how
// many backends they name. At most half of the backends take part in a story at a time.
func draw(rng *rand.Rand, backends int, from, to, every time.Duration) ([]step, int) {
	d := &script{rng: rng, begun: backends, busy: make([]time.Duration, backends)}
	for at := from; at < to; at += time.Duration(rng.ExpFloat64() * float64(every)) {
		d.story(at)
	}
	slices.SortStableFunc(d.steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	return d.steps, len(d.busy)
}

func (d *script) story(at time.Duration) {
	long := d.between(time.Minute, 10*time.Minute)
	switch d.rng.IntN(12) {
	case 0, 1, 2:
		back := d.between(20*time.Second, 5*time.Minute)
		if b, ok := d.cast(at, back); ok {
			d.step(at, ServerDied, b, dead)
			d.step(at+back, ServerReturned, b, up)
		}
	case 3, 4:
		if b, ok := d.cast(at, long); ok {
			d.step(at, Drained, b, draining)
			d.step(at+long, Undrained, b, up)
		}
	case 5, 6:
		if b, ok := d.cast(at, long); ok {
			d.step(at, Reweighted, b, half)
			d.step(at+long, Reweighted, b, up)
		}
	case 7, 8, 9, 10:
		d.resize(at, long)
	default:
		for i := range min(rollout, max(1, d.begun/4)) {
			d.replace(at + time.Duration(i)*rolling)
		}
	}
}

// resize adds a backend if there are fewer than in the beginning, else it removes one, with or without draining it first.
func (d *script) resize(at, long time.Duration) {
	if len(d.busy)-d.gone <= d.begun-max(1, d.begun/20) {
		d.step(at, Added, d.newcomer(at), up)
		return
	}
	b, ok := d.cast(at, forever-at)
	if !ok {
		return
	}
	d.gone++
	if d.rng.IntN(2) == 0 {
		d.step(at, Drained, b, draining)
		d.step(at+long, Removed, b, removed)
	} else {
		d.step(at, Removed, b, leaving)
		d.step(at+linger, Removed, b, removed)
	}
}

// replace puts a new backend in the place of an old one, which is removed later.
func (d *script) replace(at time.Duration) {
	if old, ok := d.cast(at, forever-at); ok {
		d.gone++
		d.step(at, Replaced, old, draining)
		d.steps[len(d.steps)-1].edits[d.newcomer(at)] = up
		d.step(at+replaced, Replaced, old, removed)
	}
}

func (d *script) step(at time.Duration, kind Kind, b Backend, to state) {
	d.steps = append(d.steps, step{at: at, kind: kind, edits: map[Backend]state{b: to}})
}

func (d *script) newcomer(at time.Duration) Backend {
	d.busy = append(d.busy, at)
	return Backend(len(d.busy) - 1)
}

// cast picks a backend for a story that takes so long.
func (d *script) cast(at, long time.Duration) (Backend, bool) {
	var free []Backend
	for b, until := range d.busy {
		if until < at {
			free = append(free, Backend(b))
		}
	}
	if len(free) <= d.begun/2 {
		return 0, false
	}
	b := free[d.rng.IntN(len(free))]
	d.busy[b] = at + long
	return b, true
}

func (d *script) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.rng.Int64N(int64(most-least)))
}
