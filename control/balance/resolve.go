package balance

import (
	"fmt"
	"math"
)

// candidates is how many candidates a slot asks before it falls back to rendezvous.
const candidates = 64

// whole is the limit of a backend that accepts everything. Limits and acceptance hashes have 53 bits, which a float64 holds
// exactly.
const whole = 1 << 53

// nobody owns a slot when no backend is live.
const nobody int32 = -1

// Resolve writes the owner of each slot into dst, an index in the slice given to NewHome, or -1 everywhere if no backend
// is live. live[i], from 0 (down or drained) to 1, is the live fraction of backend i. The package documentation says what
// the table guarantees. The cost is a copy if all backends are live, a few nanoseconds per slot if some are down.
//
// It returns an error, and leaves dst alone, if live or dst has the wrong length or a fraction lies outside [0, 1].
func (h *Home) Resolve(live []float64, dst []int32) error {
	if len(live) != len(h.hashes) || len(dst) != len(h.slots) {
		return fmt.Errorf("resolve %d fractions into %d slots: pass slices for the table's %d backends and %d slots",
			len(live), len(dst), len(h.hashes), len(h.slots))
	}
	r, err := h.newResolution(live)
	if err != nil {
		return err
	}
	switch len(live) {
	case r.full:
		copy(dst, h.slots)
	case r.down:
		for s := range dst {
			dst[s] = nobody
		}
	default:
		for s, b := range h.slots {
			if r.limits[b] != whole {
				b = r.walk(s)
			}
			dst[s] = b
		}
	}
	return nil
}

// Update turns owners, which Resolve or Update computed for the fractions was, into the owners for now, and returns the
// slots whose owner changed, in order. Only slots are looked at whose home backend is below 1 before or after: where one
// of many backends died or returned, that takes a fraction of Resolve's time.
//
// It returns an error as Resolve does, and leaves owners alone then.
func (h *Home) Update(was, now []float64, owners []int32) ([]int32, error) {
	if len(was) != len(h.hashes) || len(now) != len(h.hashes) || len(owners) != len(h.slots) {
		return nil, fmt.Errorf("update from %d to %d fractions in %d slots: pass slices for the table's %d backends and %d slots",
			len(was), len(now), len(owners), len(h.hashes), len(h.slots))
	}
	r, err := h.newResolution(now)
	if err != nil {
		return nil, err
	}
	stays := make([]bool, len(now)) // a whole backend owns its home slots
	for i := range stays {
		stays[i] = was[i] == 1 && now[i] == 1
	}
	var moved []int32
	for s, b := range h.slots {
		if stays[b] {
			continue
		}
		switch {
		case r.down == len(now):
			b = nobody
		case r.limits[b] != whole:
			b = r.walk(s)
		}
		if owners[s] != b {
			owners[s] = b
			moved = append(moved, int32(s))
		}
	}
	return moved, nil
}

// resolution is the state of one Resolve or Update call.
type resolution struct {
	home       *Home
	limits     []uint64 // per backend: it accepts acceptance hashes below; live fraction * whole
	full, down int      // backends with the fractions 1 and 0
	racers     []racer  // the live backends in canonical order, filled by the first race
}

func (h *Home) newResolution(live []float64) (*resolution, error) {
	r := &resolution{home: h, limits: make([]uint64, len(live))}
	for i, f := range live {
		if !(f >= 0 && f <= 1) { // not a number fails as well
			return nil, fmt.Errorf("resolve slots: live fraction %v of backend %d is outside [0, 1]: clamp it", f, i)
		}
		// Rounding up leaves a tiny fraction above 0, so that its backend can be the last resort.
		r.limits[i] = uint64(math.Ceil(f * whole))
		switch r.limits[i] {
		case whole:
			r.full++
		case 0:
			r.down++
		}
	}
	return r, nil
}

// racer is a live backend in the rendezvous.
type racer struct {
	hash    uint64
	slow    float64 // 1 / (weight * limit)
	backend int32
}

// walk returns the first candidate for slot that accepts it, or the winner of the race if none does.
func (r *resolution) walk(slot int) int32 {
	h := r.home
	b := h.slots[slot]
	hash := stepHash(slot, 0)
	for step := 1; ; step++ {
		limit := r.limits[b]
		if limit == whole || limit > 0 && mix(hash^h.hashes[b])>>11 < limit {
			return b
		}
		hash = stepHash(slot, step)
		if step == candidates {
			return r.race(hash)
		}
		b = h.slots[below(hash, len(h.slots))]
	}
}

// race returns the winner of the weighted rendezvous for the slot that hash stands for. A division and a product round
// monotonically, so a greater fraction never makes a backend slower.
func (r *resolution) race(hash uint64) int32 {
	if r.racers == nil {
		for _, b := range r.home.order {
			if r.limits[b] > 0 {
				slow := 1 / (float64(r.home.weights[b]) * float64(r.limits[b]))
				r.racers = append(r.racers, racer{hash: r.home.hashes[b], slow: slow, backend: b})
			}
		}
	}
	winner, best := nobody, math.Inf(1)
	for i := range r.racers {
		c := &r.racers[i]
		if t := exponential(mix(hash^c.hash)) * c.slow; t < best {
			winner, best = c.backend, t
		}
	}
	return winner
}
