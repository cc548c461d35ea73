package maps

import (
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"
)

// slotTable says where a service's slots lie. Its word is `table` of the service's
// row; see bpf/lib/types.h.
type slotTable struct {
	first, size int
	width       uint          // log2 of the bits of a packed slot, 0: the slots are rows of their own
	computed    computedTable // of a table without rows
}

const (
	packedShift = 29 // PACKED_SHIFT of bpf/lib/types.h
	packedSlots = 1<<packedShift - 1

	packedLeast = 64 // slots that a table has at least for packing to be worth it
	widest      = 2  // 4 bits a slot. Larger services move more slots at once than they would gain by being packed.
)

func slotTableOf(w uint64) slotTable {
	if w&computedFlag != 0 {
		return slotTable{size: computedSlots, computed: computedTable(w)}
	}
	first, shape := split(w)
	return slotTable{first: first, size: shape & packedSlots, width: uint(shape) >> packedShift}
}

func (s slotTable) word() uint64 {
	if s.computed != 0 {
		return uint64(s.computed)
	}
	return word(s.first, s.size|int(s.width)<<packedShift)
}

// rows are those that the table takes.
func (s slotTable) rows() int {
	switch {
	case s.computed != 0 || s.size == 0:
		return 0
	case s.width == 0:
		return s.size
	}
	return 1 + (s.size<<s.width+63)/64
}

// packedRows is room for as many slots, however they are spread over services.
func (l Limits) packedRows() int { return (l.Slots<<widest)/64 + 2*l.Services }

// place is where a packed slot lies, its shift and its mask.
func (s slotTable) place(slot int) (row int, shift uint, mask uint64) {
	bit := slot << s.width
	return s.first + 1 + bit/64, uint(bit % 64), 1<<(1<<s.width) - 1
}

// packing returns how steady slots of few backends can be packed, and the number
// before that of the first backend.
func packing(size int, slot func(int) Slot) (width uint, before BackendID, ok bool) {
	if size < packedLeast || size > packedSlots {
		return 0, 0, false
	}
	least, most := ^BackendID(0), BackendID(0)
	for i := range size {
		s := slot(i)
		if s.Transition {
			return 0, 0, false
		}
		if s.Current != 0 {
			least, most = min(least, s.Current), max(most, s.Current)
		}
		if least < most && most-least > 1<<(1<<widest)-2 {
			return 0, 0, false
		}
	}
	if most == 0 {
		return 1, 0, true
	}
	before = least - 1
	for width = 1; most-before > 1<<(1<<width)-1; width++ {
	}
	return width, before, true
}

// packedTables are the rows of `packed`.
type packedTables struct {
	view[uint64]
	slab *slab
}

// free tells whether rows are to be had without waiting.
func (p *packedTables) free(rows int) bool {
	return slices.ContainsFunc(p.slab.free, func(r region) bool { return r.size >= rows })
}

func (t *Tables) slabOf(s slotTable) *slab {
	if s.width > 0 {
		return t.packed.slab
	}
	return t.slab
}

// writeSlots writes a table that no service names yet, in the smallest form that
// holds it: computed, packed, or in rows of its own.
func (t *Tables) writeSlots(slots []Slot) (slotTable, error) {
	table := slotTable{size: len(slots)}
	if table.size == 0 {
		return table, nil
	}
	slot := func(i int) Slot { return slots[i] }
	if computed, ok := t.computing(table.size, slot); ok {
		return slotTableOf(uint64(computed)), nil
	}
	if width, before, ok := packing(table.size, slot); ok {
		packed := slotTable{size: table.size, width: width}
		if first, err := t.packed.slab.allocate(packed.rows()); err == nil {
			packed.first = first
			t.pack(packed, before, slots)
			return packed, nil
		}
	}
	first, err := t.slab.allocate(table.size)
	if err != nil {
		return table, err
	}
	table.first = first
	for i := range slots {
		t.slots.rows[first+i] = slots[i].row()
	}
	return table, nil
}

func (t *Tables) pack(table slotTable, before BackendID, slots []Slot) {
	rows := t.packed.rows[table.first:][:table.rows()]
	clear(rows)
	rows[0] = uint64(before)
	for i, s := range slots {
		if s.Current != 0 {
			row, shift, _ := table.place(i)
			t.packed.rows[row] |= uint64(s.Current-before) << shift
		}
	}
}

// slot reads one slot of a table.
func (t *Tables) slot(table slotTable, i int) Slot {
	switch {
	case table.computed != 0:
		return Slot{Current: table.computed.owner(i)}
	case table.width == 0:
		return slotOf(t.slots.rows[table.first+i])
	}
	row, shift, mask := table.place(i)
	if index := t.packed.rows[row] >> shift & mask; index != 0 {
		return Slot{Current: BackendID(t.packed.rows[table.first] + index)}
	}
	return Slot{}
}

// rewriteSlots changes slots of a table by writing it anew.
func (t *Tables) rewriteSlots(id ServiceID, moves []Move) error {
	slots := t.SlotTable(id)
	for _, m := range moves {
		slots[m.Slot] = m.To
	}
	return t.SetSlotTable(id, slots)
}

// holds tells whether all slots may be moved in place.
func (t *Tables) holds(table slotTable, moves []Move) bool {
	switch {
	case table.computed != 0:
		return len(moves) == 0
	case table.width == 0:
		return true
	}
	before := BackendID(t.packed.rows[table.first])
	_, _, most := table.place(0)
	return !slices.ContainsFunc(moves, func(m Move) bool {
		return m.To.Transition || m.To.Current != 0 && (m.To.Current <= before || uint64(m.To.Current-before) > most)
	})
}

// move changes one slot of a table that holds it, with one store.
func (t *Tables) move(table slotTable, m Move) {
	if table.width == 0 {
		row := m.To.row()
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&t.slots.rows[table.first+m.Slot])), *(*uint64)(unsafe.Pointer(&row)))
		return
	}
	row, shift, mask := table.place(m.Slot)
	index := uint64(0)
	if m.To.Current != 0 {
		index = uint64(m.To.Current) - t.packed.rows[table.first]
	}
	was := atomic.LoadUint64(&t.packed.rows[row])
	atomic.StoreUint64(&t.packed.rows[row], was&^(mask<<shift)|index<<shift)
}

// shrink keeps a service's table in a smaller form if that holds it by now.
func (t *Tables) shrink(id ServiceID, table slotTable) error {
	if table.computed != 0 {
		return nil
	}
	slot := func(i int) Slot { return t.slot(table, i) }
	if computed, ok := t.computing(table.size, slot); ok {
		t.switchTable(id, slotTableOf(uint64(computed)))
		return nil
	}
	if table.width > 0 {
		return nil
	}
	width, _, ok := packing(table.size, slot)
	if !ok || !t.packed.free(slotTable{size: table.size, width: width}.rows()) {
		return nil
	}
	return t.rewriteSlots(id, nil)
}

// reserveSlots takes the rows of a table that is in use.
func (t *Tables) reserveSlots(id int, table slotTable) error {
	if table.rows() > 0 && !t.slabOf(table).reserve(region{table.first, table.rows()}) {
		return fmt.Errorf("slots %d to %d of service %d are not its alone: %w", table.first, table.first+table.rows()-1, id, ErrDamaged)
	}
	return nil
}
