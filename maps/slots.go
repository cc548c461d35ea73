package maps

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/xlb-project/xlb/bpf"
)

// Move gives a slot to another owner, 0 for nobody.
type Move struct {
	Slot  int
	Owner BackendID
}

// MoveSlots changes single slots of a service's table in place, each with one
// store. A packet reads one slot, so that it finds the old owner or the new one,
// as it would on either side of a switch of tables. On an error nothing changes.
func (t *Tables) MoveSlots(id ServiceID, moves []Move) error {
	if int(id) >= len(t.services.rows) {
		return fmt.Errorf("move slots of service %d: past limits.services (%d)", id, len(t.services.rows))
	}
	offset, size := split(t.services.rows[id].Table)
	rows := t.slots.rows[offset : offset+size]
	for _, m := range moves {
		if m.Slot < 0 || m.Slot >= size {
			return fmt.Errorf("move slot %d of service %d: its table has %d slots", m.Slot, id, size)
		}
	}
	for _, m := range moves {
		row := bpf.XlbSlot{Current: uint32(m.Owner), Previous: uint32(m.Owner)}
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&rows[m.Slot])), *(*uint64)(unsafe.Pointer(&row)))
	}
	return nil
}
