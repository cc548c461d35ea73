package balance

import (
	"cmp"
	"fmt"
	"slices"
)

// sizes are the primes that Size chooses from. They are part of the frozen algorithm.
var sizes = [...]int{4_099, 10_007, 65_537, 262_147, 1_048_583, 4_194_319, 16_777_259}

// slotsPerBackend is the least average number of slots of a backend that Size allows.
const slotsPerBackend = 100

// Size returns the table size for n backends: the smallest of a few primes that gives each backend 100 slots on average.
// It returns an error if n is below 1 or above 167,772.
func Size(n int) (int, error) {
	if n < 1 {
		return 0, fmt.Errorf("choose table size for %d backends: need at least one", n)
	}
	for _, size := range sizes {
		if n <= size/slotsPerBackend {
			return size, nil
		}
	}
	return 0, fmt.Errorf("choose table size for %d backends: at most %d fit into one service: split it",
		n, sizes[len(sizes)-1]/slotsPerBackend)
}

// Backend is one configured backend as the table sees it.
type Backend struct {
	Key    string // stable identity, the same on every node, for example the address
	Weight uint32 // above 0, relative to the other backends' weights
}

// Home is the table of slots over the configured backends with all of them live. It is immutable: goroutines may share it.
type Home struct {
	slots   []int32  // backend index of each slot
	hashes  []uint64 // key hash of each backend
	weights []uint32 // weight of each backend
	order   []int32  // backend indexes in canonical order: the heavier first, then by key hash
}

// NewHome builds the table of size slots (a prime, see Size) over backends. The package documentation describes the
// algorithm and its source. The backends' order has no influence on which backend owns a slot. NewHome keeps no reference
// to backends.
//
// It returns an error if there is no backend, a weight is 0, a key is empty or occurs twice, or size is not a prime between
// the number of backends and 16,777,259.
func NewHome(size int, backends []Backend) (*Home, error) {
	if err := check(size, backends); err != nil {
		return nil, fmt.Errorf("build home table of %d slots for %d backends: %w", size, len(backends), err)
	}
	h := &Home{
		slots:   make([]int32, size),
		hashes:  make([]uint64, len(backends)),
		weights: make([]uint32, len(backends)),
		order:   make([]int32, len(backends)),
	}
	for i, b := range backends {
		h.hashes[i], h.weights[i], h.order[i] = keyHash(b.Key), b.Weight, int32(i)
	}
	slices.SortFunc(h.order, func(a, b int32) int {
		return cmp.Or(
			cmp.Compare(h.weights[b], h.weights[a]),
			cmp.Compare(h.hashes[a], h.hashes[b]),
			cmp.Compare(backends[a].Key, backends[b].Key),
		)
	})
	if size <= fewSlots {
		h.fillByRendezvous(backends)
	} else {
		h.fillByMaglev()
	}
	return h, nil
}

// Size returns the number of slots.
func (h *Home) Size() int { return len(h.slots) }

// Owner returns the owner of slot, in [0, Size), while all backends are live: its index in the slice given to NewHome.
func (h *Home) Owner(slot int) int32 { return h.slots[slot] }

func check(size int, backends []Backend) error {
	if len(backends) == 0 {
		return fmt.Errorf("no backend: configure at least one")
	}
	if size < len(backends) || size > sizes[len(sizes)-1] || !prime(size) {
		return fmt.Errorf("the size must be a prime from the number of backends to %d: take it from Size", sizes[len(sizes)-1])
	}
	seen := make(map[string]struct{}, len(backends))
	for _, b := range backends {
		if b.Key == "" {
			return fmt.Errorf("a backend has no key: name every backend")
		}
		if b.Weight == 0 {
			return fmt.Errorf("backend %s has weight 0: give it at least 1 and live fraction 0", b.Key)
		}
		if _, dup := seen[b.Key]; dup {
			return fmt.Errorf("backend %s occurs twice: merge its weights", b.Key)
		}
		seen[b.Key] = struct{}{}
	}
	return nil
}

func prime(n int) bool {
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return n >= 2
}
