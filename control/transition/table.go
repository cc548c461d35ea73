package transition

import (
	"cmp"
	"slices"
	"time"

	"github.com/xlb-project/xlb/maps"
)

// Tracking says which flows of a service are recorded.
type Tracking uint8

//go:generate go tool stringer -type=Tracking -linecomment -output=tracking_string.go
const (
	Change Tracking = iota // change
	Always                 // always
	Never                  // never
)

// Settings of a service's table.
type Settings struct {
	Tracking Tracking
	BySource bool          // affinity by source: records do not tell their slot
	Idle     time.Duration // a record expires when its flow was silent for longer
	Learn    time.Duration // how long after the opening a UDP flow without a record belongs to Previous
	Limit    time.Duration // a transition ends so long after its latest change at the latest; 0: no limit
}

// Table is a service's slots and their transitions. At rest it takes four bytes a slot. It is not safe for use by several
// goroutines.
type Table struct {
	settings Settings
	current  []maps.BackendID
	open     []transition // in the order of their slots
	between  map[int32][]maps.BackendID
	records  bool // every slot stays open, see Record
}

// transition is an open one. Who owned its slot besides Previous and Current is in Table.between, for services that need
// to know.
type transition struct {
	slot     int32
	previous maps.BackendID
	learned  bool
	found    bool          // not seen from its beginning: who else owned the slot is not known
	opened   time.Duration // UDP is learnt from here
	changed  time.Duration // when Current changed last
	holds    time.Duration // it does not end before, unless its time is up
}

// New returns a table with all slots at rest at owners, 0 for nobody.
func New(settings Settings, owners []maps.BackendID) *Table {
	return &Table{settings: settings, current: slices.Clone(owners)}
}

// Adopt returns a table with slots as they were found. The clock of open transitions begins anew.
func Adopt(now time.Duration, settings Settings, slots []maps.Slot) *Table {
	t := &Table{settings: settings, current: make([]maps.BackendID, len(slots))}
	for s, slot := range slots {
		t.current[s] = slot.Current
		if slot.Transition {
			t.open = append(t.open, t.opening(now, s, slot.Previous))
			o := &t.open[len(t.open)-1]
			o.learned, o.found = slot.Learned, true
		}
	}
	return t
}

func (t *Table) opening(now time.Duration, slot int, previous maps.BackendID) transition {
	return transition{slot: int32(slot), previous: previous, opened: now, changed: now, holds: now + t.settings.Idle}
}

// Size returns how many slots there are.
func (t *Table) Size() int { return len(t.current) }

// Open returns how many of them are in transition.
func (t *Table) Open() int { return len(t.open) }

// Slots returns all slots.
func (t *Table) Slots() []maps.Slot {
	slots := make([]maps.Slot, len(t.current))
	for s, owner := range t.current {
		slots[s] = rest(owner)
	}
	for i := range t.open {
		slots[t.open[i].slot] = t.slot(&t.open[i])
	}
	return slots
}

// Slot returns one of them.
func (t *Table) Slot(s int) maps.Slot {
	if i, ok := t.find(s); ok {
		return t.slot(&t.open[i])
	}
	return rest(t.current[s])
}

func (t *Table) find(s int) (int, bool) {
	return slices.BinarySearchFunc(t.open, int32(s), func(o transition, s int32) int { return cmp.Compare(o.slot, s) })
}

// Previous counts the transitions in which flows without a record are a backend's, by backend.
func (t *Table) Previous() map[maps.BackendID]int {
	n := map[maps.BackendID]int{}
	for i := range t.open {
		n[t.open[i].previous]++
	}
	return n
}

func rest(owner maps.BackendID) maps.Slot { return maps.Slot{Current: owner, Previous: owner} }

func (t *Table) slot(o *transition) maps.Slot {
	return maps.Slot{Current: t.current[o.slot], Previous: o.previous, Transition: true, Learned: o.learned}
}

// Change brings in new owners, as many as there are slots, and what lives now. It is also to be called when a backend dies
// or comes back and no owner changes: in transitions whose Previous is dead, Current has taken its place by the time
// that it comes back without its connections.
func (t *Table) Change(now time.Duration, owners []maps.BackendID, lives func(maps.BackendID) bool) []maps.Move {
	var moves []maps.Move
	var opened []transition
	next := 0 // of those that were open
	for s, owner := range owners {
		if next < len(t.open) && int(t.open[next].slot) == s {
			o := &t.open[next]
			next++
			if t.changeOpen(now, o, owner, lives) {
				moves = append(moves, maps.Move{Slot: s, To: t.slot(o)})
			}
			continue
		}
		if owner != t.current[s] {
			moves = append(moves, t.changeResting(now, s, owner, lives, &opened))
		}
	}
	t.insert(opened)
	return moves
}

// ChangeSlots is Change for a caller who knows which slots may have another owner than before: owners are those of slots,
// which are in order. died says whether any backend has died since the table was changed last: only then are transitions
// of other slots looked at.
func (t *Table) ChangeSlots(now time.Duration, slots []int32, owners []maps.BackendID, died bool, lives func(maps.BackendID) bool) []maps.Move {
	var moves []maps.Move
	var opened []transition
	next := 0 // of those that were open
	settle := func(before int32) {
		for ; next < len(t.open) && t.open[next].slot < before; next++ {
			if o := &t.open[next]; died && t.changeOpen(now, o, t.current[o.slot], lives) {
				moves = append(moves, maps.Move{Slot: int(o.slot), To: t.slot(o)})
			}
		}
	}
	for i, s := range slots {
		settle(s)
		if next < len(t.open) && t.open[next].slot == s {
			o := &t.open[next]
			next++
			if t.changeOpen(now, o, owners[i], lives) {
				moves = append(moves, maps.Move{Slot: int(s), To: t.slot(o)})
			}
		} else if owners[i] != t.current[s] {
			moves = append(moves, t.changeResting(now, int(s), owners[i], lives, &opened))
		}
	}
	settle(int32(len(t.current)))
	t.insert(opened)
	return moves
}

// changeResting gives a slot at rest to another owner, and adds its transition to opened if it enters one.
func (t *Table) changeResting(now time.Duration, s int, owner maps.BackendID, lives func(maps.BackendID) bool, opened *[]transition) maps.Move {
	was := t.current[s]
	t.current[s] = owner
	dead := was == 0 || !lives(was)
	if t.settings.Tracking == Never || dead && !t.records {
		return maps.Move{Slot: s, To: rest(owner)}
	}
	o := t.opening(now, s, was)
	if dead {
		o.previous, o.learned, o.found = owner, true, true
	}
	*opened = append(*opened, o)
	return maps.Move{Slot: s, To: t.slot(&o)}
}

// changeOpen gives a slot in transition to an owner and returns whether anything changed.
func (t *Table) changeOpen(now time.Duration, o *transition, owner maps.BackendID, lives func(maps.BackendID) bool) (changed bool) {
	if was := t.current[o.slot]; was != owner {
		t.current[o.slot], o.changed, changed = owner, now, true
		t.remember(o, was)
	}
	if o.previous != owner && (o.previous == 0 || !lives(o.previous)) {
		o.previous, changed = owner, true
	}
	return changed
}

// remember notes who owned a slot since its transition opened.
func (t *Table) remember(o *transition, owner maps.BackendID) {
	if owner == 0 || !t.settings.BySource || o.found || slices.Contains(t.between[o.slot], owner) {
		return
	}
	if t.between == nil {
		t.between = map[int32][]maps.BackendID{}
	}
	t.between[o.slot] = append(t.between[o.slot], owner)
}

// insert adds transitions, which are in the order of their slots as well.
func (t *Table) insert(opened []transition) {
	if len(opened) == 0 {
		return
	}
	if len(t.open) == 0 {
		t.open = opened
		return
	}
	merged := make([]transition, 0, len(t.open)+len(opened))
	for _, o := range opened {
		n, _ := t.find(int(o.slot))
		merged = append(append(merged, t.open[:n]...), o)
		t.open = t.open[n:]
	}
	t.open = append(merged, t.open...)
}

// Learn ends the learning period of UDP flows in transitions that were open for longer: from there on, UDP flows without a
// record are new ones.
func (t *Table) Learn(now time.Duration) []maps.Move {
	var moves []maps.Move
	for i := range t.open {
		if o := &t.open[i]; !o.learned && now-o.opened > t.settings.Learn {
			o.learned = true
			moves = append(moves, maps.Move{Slot: int(o.slot), To: t.slot(o)})
		}
	}
	return moves
}

// Hold keeps open transitions open for another idle timeout: flows that lived by another node's records come here.
func (t *Table) Hold(now time.Duration) {
	for i := range t.open {
		t.open[i].holds = now + t.settings.Idle
	}
}

// Sweep ends the transitions that no record needs according to a scan of the flow table, which may have been a while ago,
// and those whose time is up.
func (t *Table) Sweep(now time.Duration, scan *Scan) []maps.Move {
	if t.records {
		return nil
	}
	return t.end(func(o *transition) bool {
		done := now > o.holds && o.changed <= scan.at && !scan.needed(t, o)
		return done || t.settings.Limit > 0 && now-o.changed > t.settings.Limit
	})
}

func (t *Table) end(which func(*transition) bool) []maps.Move {
	var moves []maps.Move
	keep := t.open[:0]
	for i := range t.open {
		o := &t.open[i]
		if !which(o) {
			keep = append(keep, *o)
			continue
		}
		delete(t.between, o.slot)
		moves = append(moves, maps.Move{Slot: int(o.slot), To: rest(t.current[o.slot])})
	}
	if t.open = keep; len(keep) == 0 {
		t.open, t.between = nil, nil
	}
	return moves
}

// Track changes what is recorded. Without records there are no transitions. Where every flow had one and that does not
// decide at rest any more, every slot enters a transition; the moves are to be stored before the service's settings.
func (t *Table) Track(now time.Duration, tracking Tracking) []maps.Move {
	was := t.settings.Tracking
	t.settings.Tracking = tracking
	if tracking == Never {
		return t.end(func(*transition) bool { return true })
	}
	if was != Always || tracking != Change {
		return nil
	}
	return t.openAll(now)
}

// openAll has every slot at rest enter a transition from its owner to itself: nothing moves, but flows have records.
func (t *Table) openAll(now time.Duration) []maps.Move {
	var moves []maps.Move
	var opened []transition
	for s, owner := range t.current {
		if _, open := t.find(s); open || owner == 0 {
			continue
		}
		o := t.opening(now, s, owner)
		o.learned, o.found = true, true // a flow without a record is the owner's either way
		opened = append(opened, o)
		moves = append(moves, maps.Move{Slot: s, To: t.slot(&o)})
	}
	t.insert(opened)
	return moves
}
