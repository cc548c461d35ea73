package maps

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// contender is a backend and its cutoff.
type contender struct {
	id     BackendID
	cutoff uint32 // in 64ths of what scores may be
}

// byScores gives each of 4,099 slots to the one with the highest score of those who
// reach their cutoffs; one of these is 0.
func byScores(contenders ...contender) []Slot {
	slots := make([]Slot, 4099)
	for i := range slots {
		best := uint32(0)
		for _, c := range contenders {
			if score := SlotScore(i, seedOf(c.id)); score >= c.cutoff<<26 && score >= best {
				best, slots[i].Current = score, c.id
			}
		}
	}
	return slots
}

func addressOf(id BackendID) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 1, byte(id >> 8), byte(id)})
}

func seedOf(id BackendID) uint8 { return Seed(addressOf(id).String()) }

// newNamedTables are tables in which backends have names, all but the last.
func newNamedTables(t *testing.T, backends int) *Tables {
	t.Helper()
	tables := newTables(t, Limits{Services: 2, Backends: backends, Slots: 5000})
	name(t, tables, backends-1)
	return tables
}

func name(t *testing.T, tables *Tables, backends int) {
	t.Helper()
	for i := range backends {
		addr := addressOf(BackendID(1 + i))
		check(t, tables.NameBackend(BackendEntry{ID: BackendID(1 + i), Name: addr.String(), Address: addr}))
	}
}

// form says how a service's slots are kept.
func (t *Tables) form(id ServiceID) string {
	switch table := slotTableOf(t.services.rows[id].Table); {
	case table.computed != 0:
		return "computed"
	case table.width > 0:
		return fmt.Sprintf("packed in %d bits", 1<<table.width)
	}
	return "wide"
}

func checkTable(t *testing.T, tables *Tables, form string, want []Slot) {
	t.Helper()
	if got := tables.form(0); got != form {
		t.Errorf("the table is %s, want %s", got, form)
	}
	if !slices.Equal(tables.SlotTable(0), want) {
		t.Error("the slots are not those that were written")
	}
}

func TestTablesByScoresAreComputed(t *testing.T) {
	const backends = 300
	tables := newNamedTables(t, backends)
	rapid.Check(t, func(r *rapid.T) {
		first, whole := rapid.IntRange(1, backends-3).Draw(r, "first"), rapid.IntRange(0, 2).Draw(r, "whole")
		var contenders []contender
		seeds := map[uint8]bool{}
		for i := range 3 {
			c := contender{BackendID(first + i), uint32(rapid.IntRange(0, 63).Draw(r, "cutoff"))}
			if i == whole {
				c.cutoff = 0
			} else if rapid.Bool().Draw(r, "absent") {
				continue
			}
			contenders = append(contenders, c)
			seeds[seedOf(c.id)] = true
		}
		slots := byScores(contenders...)
		if err := tables.SetSlotTable(0, slots); err != nil {
			r.Fatal(err)
		}
		if len(seeds) == len(contenders) && tables.form(0) != "computed" {
			r.Errorf("the table of %v is %s", contenders, tables.form(0))
		}
		if !slices.Equal(tables.SlotTable(0), slots) {
			r.Errorf("the slots of %v are not those that were written", contenders)
		}
	})
}

// twins returns the first of two backends with one seed, whose numbers follow each other.
func twins() BackendID {
	for id := BackendID(1); ; id++ {
		if seedOf(id) == seedOf(id+1) {
			return id
		}
	}
}

func TestOtherTablesAreNotComputed(t *testing.T) {
	two, twin := byScores(contender{1, 0}, contender{2, 8}), twins()
	backends := int(twin) + 3
	nameless := BackendID(backends)
	last := func(slot Slot) []Slot { return append(slices.Clone(two[:4098]), slot) }
	alternate := slices.Repeat([]Slot{{Current: twin}, {Current: twin + 1}}, 2050)[:4099]
	for title, c := range map[string]struct {
		slots []Slot
		form  string
	}{
		"a slot is another's":      {last(Slot{Current: 3 - two[4098].Current}), "packed in 2 bits"},
		"a slot is nobody's":       {last(Slot{}), "packed in 2 bits"},
		"a slot is in transition":  {last(Slot{Current: 1, Previous: 2, Transition: true}), "wide"},
		"a slot less":              {two[:4098], "packed in 2 bits"},
		"a slot more":              {append(slices.Clip(two), Slot{Current: 1}), "packed in 2 bits"},
		"four backends":            {byScores(contender{1, 0}, contender{2, 0}, contender{3, 0}, contender{4, 0}), "packed in 4 bits"},
		"numbers lie apart":        {byScores(contender{1, 0}, contender{4, 0}), "packed in 4 bits"},
		"a backend has no name":    {byScores(contender{nameless - 1, 0}, contender{nameless, 0}), "packed in 2 bits"},
		"two backends share seeds": {alternate, "packed in 2 bits"},
	} {
		t.Run(title, func(t *testing.T) {
			tables := newNamedTables(t, backends)
			check(t, tables.SetSlotTable(0, c.slots))
			checkTable(t, tables, c.form, c.slots)
		})
	}
}

// Programs of other releases read the word.
func TestWordOfAComputedTable(t *testing.T) {
	tables := newNamedTables(t, 10)
	for _, c := range []struct {
		contenders []contender
		want       uint64
	}{
		{[]contender{{1, 0}}, 0x8000000000001414},
		{[]contender{{5, 0}, {6, 20}}, 0x80001005000054ee},
		{[]contender{{5, 20}, {7, 0}}, 0x800010051420eeee},
		{[]contender{{5, 10}, {6, 0}, {7, 40}}, 0x800012800a2054ee},
	} {
		check(t, tables.SetSlotTable(0, byScores(c.contenders...)))
		if got := tables.services.rows[0].Table; got != c.want {
			t.Errorf("the word of %v is %#x, want %#x", c.contenders, got, c.want)
		}
	}
}

func TestComputedTableTakesNoRows(t *testing.T) {
	maps, _ := newMaps(t, Limits{Services: 2, Backends: 4, Slots: 5000})
	tables := openTables(t, maps)
	name(t, tables, 4)
	wide, computed := slices.Repeat([]Slot{{Current: 1, Previous: 2, Transition: true}}, 5000), byScores(contender{3, 0}, contender{4, 9})
	check(t, tables.SetSlotTable(1, wide), tables.SetSlotTable(0, computed))
	checkTable(t, tables, "computed", computed)
	tables = openTables(t, maps) // as by another daemon
	checkTable(t, tables, "computed", computed)
	if !slices.Equal(tables.SlotTable(1), wide) {
		t.Error("another service's slots changed")
	}
	check(t, tables.SetSlotTable(0, nil))
	if !slices.Equal(tables.SlotTable(1), wide) {
		t.Error("another service's slots changed when a computed table went")
	}
	if err := tables.SetSlotTable(0, wide[:64]); err == nil {
		t.Error("rows in use were given out")
	}
}

// move moves the slots in which a table differs from another.
func move(from, to []Slot) (moves []Move) {
	for i := range from {
		if from[i] != to[i] {
			moves = append(moves, Move{i, to[i]})
		}
	}
	return moves
}

func TestTablesAreComputedAgainWhenTheyCanBe(t *testing.T) {
	both, one := byScores(contender{1, 0}, contender{2, 12}), byScores(contender{1, 0})
	dying, mixed := slices.Clone(both), slices.Clone(both)
	for i := range dying {
		if both[i] != one[i] {
			dying[i] = Slot{Current: 1, Previous: 2, Transition: true}
		}
	}
	half := slices.Clone(dying)
	for i := range half[:2000] {
		half[i] = one[i]
	}
	mixed[7].Current = 3 - mixed[7].Current
	tables := newNamedTables(t, 5)
	check(t, tables.SetSlotTable(0, both))
	was := both
	for _, step := range []struct {
		name string
		to   []Slot
		form string
	}{
		{"nothing", both, "computed"},
		{"a backend dies, its flows are followed", dying, "wide"},
		{"half of them have ended", half, "wide"},
		{"all have", one, "computed"},
		{"it is back at once", both, "computed"},
		{"a slot moves", mixed, "packed in 2 bits"},
		{"another one", byScores(contender{1, 0}, contender{2, 13}), "computed"},
		{"nobody is left", make([]Slot, 4099), "packed in 2 bits"},
		{"a backend is there", one, "computed"},
		{"another", byScores(contender{3, 0}), "computed"},
	} {
		check(t, tables.MoveSlots(0, move(was, step.to)))
		t.Log(step.name)
		checkTable(t, tables, step.form, step.to)
		was = step.to
	}
}

func TestMovePastAComputedTableChangesNothing(t *testing.T) {
	tables, slots := newNamedTables(t, 5), byScores(contender{1, 0}, contender{2, 0})
	check(t, tables.SetSlotTable(0, slots))
	if err := tables.MoveSlots(0, []Move{{0, Slot{}}, {4099, Slot{Current: 1}}}); err == nil {
		t.Error("a slot past the table moved")
	}
	checkTable(t, tables, "computed", slots)
}

func TestComputedTablesAreCarriedOver(t *testing.T) {
	for title, limits := range otherLimits {
		t.Run(title, func(t *testing.T) {
			maps, _ := newMaps(t, smallLimits)
			old := openTables(t, maps)
			name(t, old, 3)
			slots := byScores(contender{1, 4}, contender{2, 0})
			check(t, old.SetSlotTable(0, slots))
			checkTable(t, old, "computed", slots)
			now := migrate(t, maps, limits, true)
			checkTable(t, now, "computed", slots)
		})
	}
}
