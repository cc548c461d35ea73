package maps

import "net/netip"

// computedTable is the word of a slot table whose owners are computed from it: see
// bpf/lib/types.h. 0 is none.
type computedTable uint64

// COMPUTED_* of bpf/lib/types.h.
const (
	computedFlag     = 1 << 63
	computedSlots    = 4099
	computedBase     = 42
	computedBaseBits = 21
	computedSeedBits = 8
	computedCutoffs  = computedBackends * computedSeedBits
	cutoffBits       = 6
	cutoffShift      = 32 - cutoffBits // of a score, to what cutoffs are in

	computedBackends = 3
)

// candidate is what the word says of the backend at a position.
func candidate(position int, seed uint8, cutoff uint32) computedTable {
	return computedTable(seed)<<(position*computedSeedBits) | computedTable(cutoff)<<(computedCutoffs+position*cutoffBits)
}

func (c computedTable) base() BackendID {
	return BackendID(c >> computedBase & (1<<computedBaseBits - 1))
}

func (c computedTable) seed(position int) uint8 { return uint8(c >> (position * computedSeedBits)) }

func (c computedTable) cutoff(position int) uint32 {
	return uint32(c >> (computedCutoffs + position*cutoffBits) & (1<<cutoffBits - 1))
}

// owner computes what computed_slot of bpf/lib/rendezvous.h does.
func (c computedTable) owner(slot int) BackendID {
	slotHash, best, winner := SlotHash(slot), int64(-1), 0
	for i := range computedBackends {
		score := Score(slotHash, SeedHash(c.seed(i)))
		if c.seed(i) != 0 && score>>cutoffShift >= c.cutoff(i) && int64(score) > best {
			best, winner = int64(score), i
		}
	}
	return c.base() + 1 + BackendID(winner)
}

// computing returns the word that says the same as steady slots, if there is one: a
// slot's owner has the highest score of those that reach their cutoffs.
func (t *Tables) computing(size int, slot func(int) Slot) (computedTable, bool) {
	if size != computedSlots {
		return 0, false
	}
	least, most, owns := ^BackendID(0), BackendID(0), [computedBackends]bool{}
	for i := range size {
		s := slot(i)
		least, most = min(least, s.Current), max(most, s.Current)
		if s.Transition || s.Current == 0 || most-least >= computedBackends {
			return 0, false
		}
		owns[s.Current%computedBackends] = true
	}
	var seeds [computedBackends]uint8
	for i := range seeds {
		id, ok := least+BackendID(i), true
		if !owns[id%computedBackends] {
			continue
		}
		if seeds[i], ok = t.seed(id); !ok {
			return 0, false
		}
	}
	cutoffs, ok := cutoffsOf(seeds, func(i int) int { return int(slot(i).Current - least) })
	if !ok || least > 1<<computedBaseBits {
		return 0, false
	}
	if seeds[1] == 0 {
		seeds[1], cutoffs[1] = seeds[0], cutoffs[0] // of equals the first wins
	}
	word := computedTable(computedFlag | uint64(least-1)<<computedBase)
	for i := range seeds {
		word |= candidate(i, seeds[i], cutoffs[i])
	}
	return word, true
}

// cutoffsOf returns the lowest cutoffs that give every slot to its owner, as a
// position: all who score higher are refused, no owner is. Seed 0 is nobody's.
func cutoffsOf(seeds [computedBackends]uint8, owner func(slot int) int) (cutoffs [computedBackends]uint32, ok bool) {
	var hashes [computedBackends]uint64
	lowest := [computedBackends]uint32{} // of the scores with which a backend owns slots, in 64ths
	for i, seed := range seeds {
		hashes[i], lowest[i] = SeedHash(seed), 1<<cutoffBits
		for _, other := range seeds[:i] {
			if seed != 0 && seed == other {
				return cutoffs, false
			}
		}
	}
	for slot := range computedSlots {
		hash, by := SlotHash(slot), owner(slot)
		score := Score(hash, hashes[by])
		for i := range hashes {
			if higher := Score(hash, hashes[i]); i != by && seeds[i] != 0 && higher >= score {
				cutoffs[i] = max(cutoffs[i], higher>>cutoffShift+1)
			}
		}
		if lowest[by] = min(lowest[by], score>>cutoffShift); lowest[by] < cutoffs[by] {
			return cutoffs, false
		}
	}
	for i := range seeds {
		if lowest[i] < cutoffs[i] {
			return cutoffs, false
		}
	}
	return cutoffs, true
}

// seed is that of a backend's key, the address, by which all nodes know it.
func (t *Tables) seed(id BackendID) (seed uint8, known bool) {
	if int(id) >= len(t.backendNames.rows) || t.backendNames.rows[id].Used == 0 {
		return 0, false
	}
	return Seed(netip.AddrFrom16(t.backendNames.rows[id].Addr).Unmap().String()), true
}
