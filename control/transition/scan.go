package transition

import (
	"time"

	"github.com/xlb-project/xlb/maps"
)

// Backend is what a scan must know of a backend.
type Backend struct {
	Table *Table // its service's; nil if the number is nobody's
	Lives bool
}

// Scan is one pass over the recorded flows of all services. A table must not change between [NewScan] and its
// [Table.Sweep], or the transitions that changed stay open until the next one.
type Scan struct {
	at     time.Duration
	rows   []row
	tables map[*Table]*needs
}

// row is what a scan finds out about a backend.
type row struct {
	needs *needs // its service's; nil if its records are nobody's
	flows int
	named bool // by a record, if only an expired one
}

// needs is what a scan finds out about a service's slots.
type needs struct {
	current  []maps.BackendID
	settings *Settings
	open     bitset // empty if nothing is open
	needed   bitset
	returned bitset // Previous is Current again
	recorded int    // affinity by source: how many backends records name
}

type bitset []uint64

func newBitset(n int) bitset    { return make(bitset, (n+63)/64) }
func (b bitset) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// closing is how long a flow that said goodbye may be silent. A connection of which one half is closed goes on
// acknowledging what it gets.
const closing = 2 * time.Minute

// NewScan begins a pass. backends has an element for every number, 0 included.
func NewScan(now time.Duration, backends []Backend) *Scan {
	s := &Scan{at: now, rows: make([]row, len(backends)), tables: map[*Table]*needs{}}
	for id, b := range backends {
		if b.Table == nil {
			continue
		}
		n, ok := s.tables[b.Table]
		if !ok {
			n = newNeeds(b.Table)
			s.tables[b.Table] = n
		}
		if b.Lives {
			s.rows[id].needs = n
		}
	}
	return s
}

func newNeeds(t *Table) *needs {
	n := &needs{current: t.current, settings: &t.settings}
	if len(t.open) > 0 {
		n.open, n.needed, n.returned = newBitset(len(t.current)), newBitset(len(t.current)), newBitset(len(t.current))
		for i := range t.open {
			slot := int(t.open[i].slot)
			n.open.set(slot)
			if t.open[i].previous == t.current[slot] {
				n.returned.set(slot)
			}
		}
	}
	return n
}

// See takes a record in and returns whether it may be forgotten: it has expired, its backend is dead or unknown, or
// its slot is at rest, where records do not count. (One that is left there would count again, wrongly, if the flow's
// address is used anew before the slot's next transition.)
func (s *Scan) See(f maps.Flow) (forget bool) {
	if int(f.Backend) >= len(s.rows) {
		return true
	}
	r := &s.rows[f.Backend]
	r.named = true
	n := r.needs
	if n == nil || n.over(f) {
		return true
	}
	switch {
	case n.settings.Tracking == Always: // records count at rest as well: they need no transition
	case len(n.open) == 0:
		return true
	case n.settings.BySource:
		if r.flows == 0 {
			n.recorded++
		}
	case !n.mark(f):
		return true
	}
	r.flows++
	return false
}

// over says whether nothing more is to come of a flow.
func (n *needs) over(f maps.Flow) bool {
	return f.Age > n.settings.Idle || f.State == maps.FlowClosing && f.Age > closing
}

// mark notes which transitions a record needs, and returns whether its slot is in one at all.
func (n *needs) mark(f maps.Flow) (open bool) {
	first, last := f.Slots(len(n.current))
	for slot := first; slot <= last; slot++ {
		if n.open.has(slot) {
			open = true
			if n.current[slot] != f.Backend {
				n.needed.set(slot)
			}
		}
	}
	return open
}

// Flows returns how many flows are recorded with a backend.
func (s *Scan) Flows(b maps.BackendID) int {
	if int(b) >= len(s.rows) {
		return 0
	}
	return s.rows[b].flows
}

// Named returns whether any record names a backend, if only one that may be forgotten.
func (s *Scan) Named(b maps.BackendID) bool { return int(b) < len(s.rows) && s.rows[b].named }

func (s *Scan) needed(t *Table, o *transition) bool {
	n := s.tables[t]
	if n == nil { // no backend of the service is known, let alone a record of it
		return false
	}
	if len(n.needed) > 0 && n.needed.has(int(o.slot)) {
		return true
	}
	if !n.settings.BySource {
		return false
	}
	current := t.current[o.slot]
	if o.found {
		others := n.recorded
		if s.Flows(current) > 0 {
			others--
		}
		return others > 0
	}
	if o.previous != current && s.Flows(o.previous) > 0 {
		return true
	}
	for _, b := range t.between[o.slot] {
		if b != current && s.Flows(b) > 0 {
			return true
		}
	}
	return false
}
