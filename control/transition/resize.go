package transition

import (
	"slices"
	"time"

	"github.com/xlb-project/xlb/maps"
)

// Record begins to record all flows, in preparation of another size: every slot is in transition until Stop or Resize.
// After the idle timeout every flow that is not over has a record. It returns nothing where records are not kept.
func (t *Table) Record(now time.Duration) []maps.Move {
	if t.settings.Tracking == Never {
		return nil
	}
	t.records = true
	return t.openAll(now)
}

// Stop ends what Record began; the next sweeps end transitions that are not needed.
func (t *Table) Stop() { t.records = false }

// Resize returns a table of another size, which takes this one's place with all slots in transition: flows with a record
// stay where they are, those without go to the former owner of most of their new slot. Boundaries of old slots lie within
// new ones, which is why flows ought to have been recorded before.
func (t *Table) Resize(now time.Duration, owners []maps.BackendID, lives func(maps.BackendID) bool) *Table {
	to := New(t.settings, owners)
	if t.settings.Tracking == Never || len(t.current) == 0 {
		return to
	}
	for s, owner := range owners {
		previous := t.unrecorded(formerSlot(s, len(owners), len(t.current)))
		if previous == 0 || !lives(previous) {
			previous = owner
		}
		o := to.opening(now, s, previous)
		o.learned, o.found = t.records, true
		to.open = append(to.open, o)
	}
	return to
}

// unrecorded returns who has the flows of a slot that have no record.
func (t *Table) unrecorded(s int) maps.BackendID {
	if i, ok := t.find(s); ok {
		return t.open[i].previous
	}
	return t.current[s]
}

// formerSlot returns the slot of a table of former slots in which the middle of a slot of another table lies.
func formerSlot(s, size, former int) int {
	middle := uint64(2*s+1) << 31 / uint64(size) // of the hash's upper half
	return maps.SlotOf(middle<<32, former)
}

// Set changes the table's settings. Those of tracking may end transitions, or open some: see Track.
func (t *Table) Set(now time.Duration, settings Settings) []maps.Move {
	if settings.BySource != t.settings.BySource {
		for i := range t.open {
			t.open[i].found = true // who owned its slot was not noted, or is not the same question
		}
	}
	tracking := t.settings.Tracking
	t.settings = settings
	t.settings.Tracking = tracking
	return t.Track(now, settings.Tracking)
}

// Tracks returns whether records of the table's flows decide anything: a transition is open, or all are recorded.
func (t *Table) Tracks() bool { return len(t.open) > 0 || t.settings.Tracking == Always }

// Names returns whether a slot names a backend, as its owner or as the one that has the flows without a record.
func (t *Table) Names(b maps.BackendID) bool {
	return slices.Contains(t.current, b) || slices.ContainsFunc(t.open, func(o transition) bool { return o.previous == b })
}
