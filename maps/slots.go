package maps

import (
	"fmt"
	"sync/atomic"

	"github.com/xlb-project/xlb/bpf"
)

// Slot is an entry of a service's slot table: who takes new flows and, in a
// transition, who has all flows without a record.
type Slot struct {
	Current    BackendID // 0 is nobody
	Previous   BackendID
	Transition bool // Previous and the records count; otherwise Current alone
	Learned    bool // UDP flows without a record are new ones
}

// Flags of bpf/lib/types.h.
const (
	slotTransition = 1 << 31
	slotLearned    = 1 << 30
	slotOwner      = 1<<30 - 1
)

func (s Slot) row() bpf.XlbSlot {
	if !s.Transition {
		return bpf.XlbSlot{Current: uint32(s.Current), Previous: uint32(s.Current)}
	}
	row := bpf.XlbSlot{Current: uint32(s.Current), Previous: uint32(s.Previous) | slotTransition}
	if s.Learned {
		row.Previous |= slotLearned
	}
	return row
}

func slotOf(row bpf.XlbSlot) Slot {
	s := Slot{Current: BackendID(row.Current)}
	if row.Previous&slotTransition != 0 {
		s.Previous, s.Transition, s.Learned = BackendID(row.Previous&slotOwner), true, row.Previous&slotLearned != 0
	}
	return s
}

// Steady returns the slots of owners that nobody takes over from.
func Steady(owners []BackendID) []Slot {
	slots := make([]Slot, len(owners))
	for i, owner := range owners {
		slots[i].Current = owner
	}
	return slots
}

// SetSlotTable gives a service a new slot table. It is written beside the old one
// and switched in one store, and one for each VIP whose row names the service. No slots take the table away. On an error the old
// table stays.
func (t *Tables) SetSlotTable(id ServiceID, slots []Slot) error {
	if int(id) >= len(t.services.rows) {
		return fmt.Errorf("write slots of service %d: past limits.services (%d)", id, len(t.services.rows))
	}
	table, err := t.writeSlots(slots)
	if err != nil {
		return fmt.Errorf("write slots of service %d: %w", id, err)
	}
	t.switchTable(id, table)
	return nil
}

// switchTable puts a table that is written to work, and retires the one before.
func (t *Tables) switchTable(id ServiceID, table slotTable) {
	old := slotTableOf(atomic.SwapUint64(&t.services.rows[id].Table, table.word()))
	t.copyHead(id)
	t.slabOf(old).retire(old.first, old.rows())
}

// SlotTable reads a service's slots.
func (t *Tables) SlotTable(id ServiceID) []Slot {
	if int(id) >= len(t.services.rows) {
		return nil
	}
	table := slotTableOf(t.services.rows[id].Table)
	slots := make([]Slot, table.size)
	for i := range slots {
		slots[i] = t.slot(table, i)
	}
	return slots
}

// Move changes one slot.
type Move struct {
	Slot int
	To   Slot
}

// MoveSlots changes single slots of a service's table in place, each with one
// store. A packet reads one slot, so that it finds the old owner or the new one,
// as it would on either side of a switch of tables. A table is written anew if its
// form cannot hold slots that move, or if a smaller one holds them all. On an error
// nothing changes.
func (t *Tables) MoveSlots(id ServiceID, moves []Move) error {
	if int(id) >= len(t.services.rows) {
		return fmt.Errorf("move slots of service %d: past limits.services (%d)", id, len(t.services.rows))
	}
	table := slotTableOf(t.services.rows[id].Table)
	for _, m := range moves {
		if m.Slot < 0 || m.Slot >= table.size {
			return fmt.Errorf("move slot %d of service %d: its table has %d slots", m.Slot, id, table.size)
		}
	}
	if !t.holds(table, moves) {
		return t.rewriteSlots(id, moves)
	}
	for _, m := range moves {
		t.move(table, m)
	}
	return t.shrink(id, table)
}
