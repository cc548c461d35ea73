package transition

import (
	"time"

	"github.com/xlb-project/xlb/maps"
)

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

// HoldFor keeps those transitions open that records on another node need, for as long as these live, whether there is
// room for them here or not.
func (t *Table) HoldFor(now time.Duration, flows []maps.Flow) {
	if len(t.open) == 0 {
		return
	}
	if t.settings.BySource {
		t.holdForSources(now, flows)
		return
	}
	for _, f := range flows {
		first, last := f.Slots(len(t.current))
		for slot := first; slot <= last; slot++ {
			if i, open := t.find(slot); open {
				t.holdFor(&t.open[i], f.Backend, now+t.left(f))
			}
		}
	}
}

// holdForSources is HoldFor where records do not tell their slot: of each backend the one that lives longest decides.
func (t *Table) holdForSources(now time.Duration, flows []maps.Flow) {
	left := map[maps.BackendID]time.Duration{}
	for _, f := range flows {
		left[f.Backend] = max(left[f.Backend], t.left(f))
	}
	for i := range t.open {
		for b, left := range left {
			t.holdFor(&t.open[i], b, now+left)
		}
	}
}

func (t *Table) holdFor(o *transition, b maps.BackendID, until time.Duration) {
	if t.current[o.slot] != b {
		o.holds = max(o.holds, until)
	}
}

// left is how long a record lives if its flow stays silent.
func (t *Table) left(f maps.Flow) time.Duration {
	lives := t.settings.Idle
	if f.State == maps.FlowClosing {
		lives = min(lives, closing)
	}
	return max(lives-f.Age, 0)
}
