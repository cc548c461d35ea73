package maps

import (
	"errors"
	"fmt"

	"github.com/xlb-project/xlb/bpf"
)

// hopTable is `hops`: what backends need to be reached by, each row shared by all
// that need the same. A row stays as it is until the last of them has left it and a
// grace period is over, which is waited for only when no other row is free. Row 0 is
// of those that are unresolved.
type hopTable struct {
	view[bpf.XlbHop]
	known   map[bpf.XlbHop]int // rows in use, by what they say
	users   []int              // of each row
	free    []int
	retired []int
	grace   func() error
}

// hopRows is room for as many backends that share nothing, and for so many changes
// of them that grace periods are few.
func (l Limits) hopRows() int { return l.Backends + l.Backends/8 + 64 }

// scan takes stock of which rows are in use.
func (h *hopTable) scan(backends []bpf.XlbBackend, grace func() error) error {
	h.known, h.users, h.free, h.retired, h.grace = map[bpf.XlbHop]int{}, make([]int, len(h.rows)), nil, nil, grace
	for id := range backends {
		hop := hopOf(&backends[id])
		if hop >= len(h.rows) {
			return fmt.Errorf("backend %d names row %d of hops, which has %d: %w", id, hop, len(h.rows), ErrDamaged)
		}
		h.users[hop]++
	}
	for i := len(h.rows) - 1; i >= 0; i-- {
		resolved := Forward(h.rows[i].Forward) != Unresolved
		switch {
		case i == 0 && resolved, i > 0 && h.users[i] > 0 && (!resolved || Forward(h.rows[i].Forward) > GUE):
			return fmt.Errorf("row %d of hops, which %d backends name, has forwarding mode %d: %w", i, h.users[i], h.rows[i].Forward, ErrDamaged)
		case i > 0 && h.users[i] > 0:
			h.known[h.rows[i]] = i
		case i > 0:
			h.free = append(h.free, i)
		}
	}
	return nil
}

// take returns the row that says what hop does, for one more backend.
func (h *hopTable) take(hop bpf.XlbHop) (int, error) {
	if Forward(hop.Forward) == Unresolved {
		return 0, nil
	}
	i, ok := h.known[hop]
	if !ok {
		var err error
		if i, err = h.allocate(); err != nil {
			return 0, err
		}
		storeWords(&h.rows[i], &hop)
		h.known[hop] = i
	}
	h.users[i]++
	return i, nil
}

func (h *hopTable) allocate() (int, error) {
	if len(h.free) == 0 && len(h.retired) > 0 {
		if err := h.grace(); err != nil {
			return 0, err
		}
		h.free, h.retired = h.retired, h.free
	}
	last := len(h.free) - 1
	if last < 0 {
		return 0, errors.New("no room for its headers; raise limits.backends")
	}
	i := h.free[last]
	h.free = h.free[:last]
	return i, nil
}

// leave says that a backend does not name a row any more.
func (h *hopTable) leave(i int) {
	if i == 0 {
		return
	}
	if h.users[i]--; h.users[i] > 0 {
		return
	}
	if h.known[h.rows[i]] == i {
		delete(h.known, h.rows[i])
	}
	h.retired = append(h.retired, i)
}
