package maps

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// slotTable says where a service's slots lie. Its word is `table` of the service's
// row; see bpf/lib/types.h.
type slotTable struct {
	first, size int
	width       uint // log2 of the bits of a packed slot, 0: the slots are rows of their own
}

const (
	packedShift = 29 // PACKED_SHIFT of bpf/lib/types.h
	packedSlots = 1<<packedShift - 1

	packedLeast = 64 // slots that a table has at least for packing to be worth it
	widest      = 2  // 4 bits a slot. Larger services move more slots at once than they would gain by being packed.
)

func slotTableOf(w uint64) slotTable {
	first, shape := split(w)
	return slotTable{first, shape & packedSlots, uint(shape) >> packedShift}
}

func (s slotTable) word() uint64 { return word(s.first, s.size|int(s.width)<<packedShift) }

// rows are those that the table takes.
func (s slotTable) rows() int {
	if s.width == 0 || s.size == 0 {
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

// writeSlots writes a table that no service names yet, packed if it can be.
func (t *Tables) writeSlots(slots []Slot) (slotTable, error) {
	table := slotTable{size: len(slots)}
	if table.size == 0 {
		return table, nil
	}
	if width, before, ok := packing(table.size, func(i int) Slot { return slots[i] }); ok {
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
	if table.width == 0 {
		return slotOf(t.slots.rows[table.first+i])
	}
	row, shift, mask := table.place(i)
	if index := t.packed.rows[row] >> shift & mask; index != 0 {
		return Slot{Current: BackendID(t.packed.rows[table.first] + index)}
	}
	return Slot{}
}

// movePacked changes slots of a packed table.
func (t *Tables) movePacked(id ServiceID, table slotTable, moves []Move) error {
	before := BackendID(t.packed.rows[table.first])
	_, _, most := table.place(0)
	fits := func(m Move) bool {
		return !m.To.Transition && (m.To.Current == 0 || m.To.Current > before && uint64(m.To.Current-before) <= most)
	}
	if slices.ContainsFunc(moves, func(m Move) bool { return !fits(m) }) {
		slots := t.SlotTable(id)
		for _, m := range moves {
			slots[m.Slot] = m.To
		}
		return t.SetSlotTable(id, slots)
	}
	for _, m := range moves {
		row, shift, mask := table.place(m.Slot)
		index := uint64(0)
		if m.To.Current != 0 {
			index = uint64(m.To.Current - before)
		}
		was := atomic.LoadUint64(&t.packed.rows[row])
		atomic.StoreUint64(&t.packed.rows[row], was&^(mask<<shift)|index<<shift)
	}
	return nil
}

// packingOf returns how a table of single rows could be packed now.
func (t *Tables) packingOf(table slotTable) (slotTable, bool) {
	width, _, ok := packing(table.size, func(i int) Slot { return t.slot(table, i) })
	return slotTable{size: table.size, width: width}, ok
}

// reserveSlots takes the rows of a table that is in use.
func (t *Tables) reserveSlots(id int, table slotTable) error {
	if !t.slabOf(table).reserve(region{table.first, table.rows()}) {
		return fmt.Errorf("slots %d to %d of service %d are not its alone: %w", table.first, table.first+table.rows()-1, id, ErrDamaged)
	}
	return nil
}
