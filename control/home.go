package control

import (
	"maps"
	"slices"
	"strconv"

	"github.com/xlb-project/xlb/control/balance"
)

// home is a home table with the slot table that was last resolved from it. Services
// with the same backends share one: what befalls a machine that serves a thousand
// of them is computed once.
type home struct {
	*balance.Home
	users int // services; a home table that no service has is forgotten

	last  *table
	from  *table  // what last was made from, nil if from nothing
	moved []int32 // slots that differ between the two
}

// table is a slot table. It never changes while services share its home.
type table struct {
	live   []float64 // live fractions that owners were computed for
	owners []int32   // index of each slot's backend, -1 for nobody
}

// homes are the home tables by size and backends.
type homes map[string]*home

// get returns the home table of size slots over backends.
func (h homes) get(size int, backends []balance.Backend) (*home, error) {
	key := strconv.AppendInt(nil, int64(size), 10)
	for _, b := range backends {
		key = strconv.AppendUint(append(append(append(key, ' '), b.Key...), ' '), uint64(b.Weight), 10)
	}
	if known, ok := h[string(key)]; ok {
		return known, nil
	}
	table, err := balance.NewHome(size, backends)
	if err != nil {
		return nil, err
	}
	h[string(key)] = &home{Home: table}
	return h[string(key)], nil
}

// keep counts who uses which home table, and forgets those that nobody uses.
func (h homes) keep(services []*service) {
	for _, known := range h {
		known.users = 0
	}
	for _, s := range services {
		if s.home != nil {
			s.home.users++
		}
	}
	maps.DeleteFunc(h, func(_ string, known *home) bool { return known.users == 0 })
}

// resolve returns the slot table under the live fractions, and the slots in which
// it differs from another, none if that is nil. The caller keeps live as it is.
func (h *home) resolve(from *table, live []float64) (*table, []int32, error) {
	known := h.last != nil && slices.Equal(live, h.last.live)
	switch {
	case known && from == h.from:
	case known && from != nil:
		return h.last, from.differs(h.last), nil
	case from == nil:
		to := &table{live, make([]int32, h.Size())}
		if err := h.Resolve(live, to.owners); err != nil {
			return nil, nil, err
		}
		h.last, h.from, h.moved = to, nil, nil
	case h.users == 1:
		moved, err := h.Update(from.live, live, from.owners)
		if err != nil {
			return nil, nil, err
		}
		from.live = live
		return from, moved, nil
	default:
		to := &table{live, slices.Clone(from.owners)}
		moved, err := h.Update(from.live, live, to.owners)
		if err != nil {
			return nil, nil, err
		}
		h.last, h.from, h.moved = to, from, moved
	}
	return h.last, h.moved, nil
}

func (t *table) differs(other *table) (slots []int32) {
	for slot, owner := range t.owners {
		if other.owners[slot] != owner {
			slots = append(slots, int32(slot))
		}
	}
	return slots
}
