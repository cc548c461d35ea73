package balance

import (
	"cmp"
	"math"
	"slices"

	"github.com/xlb-project/xlb/maps"
)

// fewSlots is the size up to which tables are filled by rendezvous. It is part of the frozen algorithm, as is all of this file.
const fewSlots = 4_099

// Tables of fewSlots slots and up to computed backends may be computed by the data path. Their cutoffs have cutoffBits bits.
const (
	computed   = 3
	cutoffBits = 6
)

// tieStep is the step of a slot's hashes that decides between equal scores; Resolve uses the ones before.
const tieStep = candidates + 1

// contest is who gets which slot. Backends are positions in canonical order. A bid is what a slot offers to a backend: its
// score in the upper half, then the slot's number plus 1. So a backend gets no two equal bids, and none is 0.
type contest struct {
	seeds   []uint64  // per backend: its part of the scores
	hashes  []uint64  // key hashes
	weights []float64 // nil if all are equal
	quotas  []int     // how many slots it shall have
	cutoffs []uint64  // the lowest bid that it takes; 0 as long as it has refused none
}

const (
	scoreMask   = uint64(math.MaxUint32) << 32
	wholeScores = 1 << 32 // scores are below
)

// bidFor has maps.SlotScore in its upper half.
func bidFor(slotHash, seedHash uint64, slot int) uint64 {
	return uint64(maps.Score(slotHash, seedHash))<<32 | uint64(slot+1)
}

// fillByRendezvous gives every slot to the backend that it prefers among those that take it.
func (h *Home) fillByRendezvous(backends []Backend) {
	if len(backends) == 1 {
		return // it has the index 0, as all slots say
	}
	c := h.newContest(backends)
	c.settle(h.slots)
	if c.isComputed(len(h.slots)) {
		c.round(h.slots)
	}
	for slot, rank := range h.slots {
		h.slots[slot] = h.order[rank]
	}
}

func (h *Home) newContest(backends []Backend) *contest {
	n := len(backends)
	c := &contest{
		seeds: make([]uint64, n), hashes: make([]uint64, n), weights: make([]float64, n),
		quotas: h.quotas(), cutoffs: make([]uint64, n),
	}
	var divisor uint32 // only ratios matter: without it rounding could tell weights apart from ten times those
	for _, w := range h.weights {
		divisor = gcd(divisor, w)
	}
	for rank, b := range h.order {
		c.seeds[rank] = maps.SeedHash(maps.Seed(backends[b].Key))
		c.hashes[rank] = h.hashes[b]
		c.weights[rank] = float64(h.weights[b] / divisor)
		if c.quotas[rank] == 0 {
			c.cutoffs[rank] = math.MaxUint64
		}
	}
	if c.weights[0] == c.weights[n-1] { // the heaviest and the lightest
		c.weights = nil
	}
	return c
}

// quotas returns how many slots each backend shall have, in canonical order: its share rounded down, and one more for those
// with the largest remainders, so that none is left.
func (h *Home) quotas() []int {
	n, size, total := len(h.order), uint64(len(h.slots)), uint64(0)
	for _, w := range h.weights {
		total += uint64(w)
	}
	quotas, remainders, byRemainder, left := make([]int, n), make([]uint64, n), make([]int, n), len(h.slots)
	for rank, b := range h.order {
		share := size * uint64(h.weights[b]) // below 2^45
		quotas[rank], remainders[rank], byRemainder[rank] = int(share/total), share%total, rank
		left -= quotas[rank]
	}
	slices.SortStableFunc(byRemainder, func(i, j int) int { return cmp.Compare(remainders[j], remainders[i]) })
	for _, rank := range byRemainder[:left] {
		quotas[rank]++
	}
	return quotas
}

// prefers returns the backend that a slot prefers among those whose cutoff it reaches, and its bid there.
func (c *contest) prefers(slot int) (winner int, bid uint64) {
	if c.weights != nil {
		return c.prefersWeighted(slot)
	}
	hash := maps.SlotHash(slot)
	cutoffs := c.cutoffs[:len(c.seeds)]
	for rank, seed := range c.seeds { // written so that the compiler needs no branches for what is random
		b := bidFor(hash, seed, slot)
		if b < cutoffs[rank] {
			b = 0
		}
		if b == bid && b > 0 && c.winsTie(slot, rank, winner) {
			winner = rank
		}
		if b > bid {
			winner = rank
		}
		bid = max(b, bid)
	}
	return winner, bid
}

func (c *contest) prefersWeighted(slot int) (winner int, bid uint64) {
	hash, best := maps.SlotHash(slot), math.Inf(1)
	for rank, seed := range c.seeds {
		b := bidFor(hash, seed, slot)
		weight := c.weights[rank]
		// -ln u > 1-u: most logarithms can be done without.
		if b < c.cutoffs[rank] || float64(wholeScores-b>>32) > best*weight*wholeScores {
			continue
		}
		value := exponential(b&scoreMask) / weight
		if value < best || value == best && c.winsTie(slot, rank, winner) {
			winner, bid, best = rank, b, value
		}
	}
	return winner, bid
}

// winsTie tells whether a slot prefers a backend to the winner among those before it, which has the same score.
func (c *contest) winsTie(slot, rank, winner int) bool {
	hash := stepHash(slot, tieStep)
	return mix(hash^c.hashes[rank]) > mix(hash^c.hashes[winner])
}

// settle has all slots bid where they prefer to be. A backend whose quota is used up refuses its lowest bid from then on,
// and the slot bids elsewhere. The outcome does not depend on the order in which slots bid.
func (c *contest) settle(owners []int32) {
	bids := make([]uint64, len(owners)) // that are taken: a part for each backend, which is a heap once it has refused one
	starts, ends := make([]int, len(c.quotas)), make([]int, len(c.quotas))
	for rank := range starts[1:] {
		starts[rank+1] = starts[rank] + c.quotas[rank]
	}
	copy(ends, starts)
	for slot := range owners {
		for {
			rank, bid := c.prefers(slot)
			owners[slot] = int32(rank)
			end := ends[rank]
			if end < starts[rank]+c.quotas[rank] {
				bids[end] = bid
				ends[rank] = end + 1
				break
			}
			held := bids[starts[rank]:end]
			if c.cutoffs[rank] == 0 {
				for i := len(held)/2 - 1; i >= 0; i-- {
					sinkBid(held, i)
				}
			}
			if bid > held[0] {
				slot = int(uint32(held[0])) - 1
				held[0] = bid
				sinkBid(held, 0)
			}
			c.cutoffs[rank] = held[0]
		}
	}
}

// sinkBid restores the heap after bids[i] grew.
func sinkBid(bids []uint64, i int) {
	moved := bids[i]
	for {
		child := 2*i + 1
		if child >= len(bids) {
			break
		}
		if child+1 < len(bids) && bids[child+1] < bids[child] {
			child++
		}
		if bids[child] >= moved {
			break
		}
		bids[i] = bids[child]
		i = child
	}
	bids[i] = moved
}

// isComputed tells whether the data path may compute the owners of a table of that size.
func (c *contest) isComputed(size int) bool {
	if size != fewSlots || len(c.seeds) > computed || c.weights != nil {
		return false
	}
	for rank, seed := range c.seeds {
		if slices.Contains(c.seeds[:rank], seed) {
			return false
		}
	}
	return true
}

// round gives each cutoff the multiple of 2^-cutoffBits below or above it: the choice that leaves the fullest backend the
// fewest slots, the lower multiples if in doubt.
func (c *contest) round(owners []int32) {
	const unit = 1 << (64 - cutoffBits)
	n := len(c.cutoffs)
	below, above := make([]uint64, n), make([]uint64, n)
	for rank, cutoff := range c.cutoffs {
		below[rank] = cutoff / unit * unit
		above[rank] = below[rank]
		if below[rank] < cutoff && below[rank]+unit != 0 { // 0: beyond all scores
			above[rank] += unit
		}
	}
	copy(c.cutoffs, below)
	fixed := make([]int, n) // slots of each backend that have the same owner whatever is chosen
	var open []int          // the others
	for slot := range owners {
		rank, bid := c.prefers(slot)
		owners[slot] = int32(rank)
		if bid >= above[rank] {
			fixed[rank]++
		} else {
			open = append(open, slot)
		}
	}
	best, fewest := 0, len(owners)+1
	for choice := range 1 << n {
		c.choose(choice, below, above)
		counts := slices.Clone(fixed)
		for _, slot := range open {
			rank, _ := c.prefers(slot)
			counts[rank]++
		}
		if fullest := slices.Max(counts); fullest < fewest {
			best, fewest = choice, fullest
		}
	}
	c.choose(best, below, above)
	for _, slot := range open {
		rank, _ := c.prefers(slot)
		owners[slot] = int32(rank)
	}
}

// choose sets each cutoff to the multiple above it where the choice has the backend's bit.
func (c *contest) choose(choice int, below, above []uint64) {
	for rank := range c.cutoffs {
		c.cutoffs[rank] = below[rank]
		if choice>>rank&1 == 1 {
			c.cutoffs[rank] = above[rank]
		}
	}
}

func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
