package transition

import "github.com/xlb-project/xlb/maps"

// Stray returns whether another node, whose slots are the same, needs a record of this one: without it, it would send the
// flow to another backend, or end the slot's transition. That is so where the record names another backend than Previous
// or another one than Current. Under affinity by source, where it does not tell its slot, any slot in transition will do.
func (s *Scan) Stray(f maps.Flow) bool {
	if int(f.Backend) >= len(s.rows) {
		return false
	}
	n := s.rows[f.Backend].needs
	if n == nil || n.over(f) {
		return false
	}
	always := n.settings.Tracking == Always
	if n.settings.BySource {
		return always || len(n.open) > 0
	}
	first, last := f.Slots(len(n.current))
	for slot := first; slot <= last; slot++ {
		open := len(n.open) > 0 && n.open.has(slot)
		if open && !n.returned.has(slot) || (open || always) && n.current[slot] != f.Backend {
			return true
		}
	}
	return false
}

// Counts returns whether a record of a flow would decide anything: at rest only where every flow is recorded.
func (t *Table) Counts(f maps.Flow) bool {
	if t.settings.Tracking == Always || len(t.open) == 0 || len(t.current) == 0 {
		return t.settings.Tracking == Always
	}
	if t.settings.BySource {
		return true
	}
	first, last := f.Slots(len(t.current))
	for slot := first; slot <= last; slot++ {
		if _, open := t.find(slot); open {
			return true
		}
	}
	return false
}
