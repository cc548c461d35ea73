package balance

// turn says when the next turn of all backends of one weight is. Times are compared as fractions: half is at most 2^26, so
// the products fit.
type turn struct {
	half, weight uint32 // 2k+1 for turn k; time is half/(2*weight)
	first, end   int    // the backends, as positions in canonical order
}

func (a *turn) before(b *turn) bool {
	at, bt := uint64(a.half)*uint64(b.weight), uint64(b.half)*uint64(a.weight)
	return at < bt || at == bt && a.first < b.first
}

// permutation is how far a backend has walked through its permutation of the slots.
type permutation struct{ slot, skip uint }

// fillByMaglev gives every slot to a backend, in the order of turns.
func (h *Home) fillByMaglev() {
	size := len(h.slots)
	var queue []turn // a binary heap, the earliest turn first; in order from the start, as heavier weights come first
	walks := make([]permutation, len(h.order))
	for rank, b := range h.order {
		hash, weight := h.hashes[b], h.weights[b]
		walks[rank] = permutation{
			slot: uint(below(mix(hash+slotStep), size)),
			skip: uint(1 + below(mix(hash+walkStep), size-1)),
		}
		if rank == 0 || weight != queue[len(queue)-1].weight {
			queue = append(queue, turn{half: 1, weight: weight, first: rank})
		}
		queue[len(queue)-1].end = rank + 1
	}
	taken := make([]uint64, (size+63)/64) // a bit per slot: it stays in the cache where the table does not
	for left := size; left > 0; {
		t := &queue[0]
		for rank := t.first; rank < t.end && left > 0; rank++ {
			h.slots[walks[rank].take(taken, uint(size))] = h.order[rank]
			left--
		}
		t.half += 2
		sink(queue, 0)
	}
}

// take walks to the next slot that is free and marks it as taken. Some slot must be free.
func (p *permutation) take(taken []uint64, size uint) uint {
	slot := p.slot
	for taken[slot/64]&(1<<(slot%64)) != 0 {
		if slot += p.skip; slot >= size {
			slot -= size
		}
	}
	taken[slot/64] |= 1 << (slot % 64)
	p.slot = slot
	return slot
}

// sink restores the heap after queue[i] became later.
func sink(queue []turn, i int) {
	moved := queue[i]
	for {
		child := 2*i + 1
		if child >= len(queue) {
			break
		}
		if child+1 < len(queue) && queue[child+1].before(&queue[child]) {
			child++
		}
		if !queue[child].before(&moved) {
			break
		}
		queue[i] = queue[child]
		i = child
	}
	queue[i] = moved
}
