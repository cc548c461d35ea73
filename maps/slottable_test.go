package maps

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestTablesAreReadAsTheyWereWrittenPackedOrNot(t *testing.T) {
	tables := newTables(t, Limits{Services: 2, Backends: 64, Slots: 1 << 20})
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.Custom(func(t *rapid.T) Slot {
			first := BackendID(rapid.IntRange(1, 3).Draw(t, "first"))
			return Slot{Current: first * BackendID(rapid.IntRange(0, 5).Draw(t, "owner"))}
		})
		slot := rapid.OneOf(few, few, few, rapid.Custom(func(t *rapid.T) Slot {
			return Slot{Current: BackendID(rapid.IntRange(0, 60).Draw(t, "owner")), Transition: rapid.Bool().Draw(t, "moves")}
		}))
		size := rapid.IntRange(0, 300).Draw(t, "size")
		want := make([]Slot, size)
		for i := range want {
			want[i] = few.Draw(t, "slot")
		}
		if err := tables.SetSlotTable(1, want); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 5).Draw(t, "changes") {
			if got := tables.SlotTable(1); !slices.Equal(got, want) {
				t.Fatalf("slots %v, want %v", got, want)
			}
			_, _, fits := packing(len(want), func(i int) Slot { return want[i] })
			if packed := slotTableOf(tables.services.rows[1].Table).width > 0; packed && !fits {
				t.Fatalf("a table that cannot be packed is: %v", want)
			} else if !packed && fits {
				t.Fatalf("a table that can be packed is not: %v", want)
			}
			var moves []Move
			for range rapid.IntRange(0, min(size, 4)).Draw(t, "moves") {
				m := Move{rapid.IntRange(0, size-1).Draw(t, "at"), slot.Draw(t, "to")}
				moves, want[m.Slot] = append(moves, m), m.To
			}
			if err := tables.MoveSlots(1, moves); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestPackedSlotsMoveInPlace(t *testing.T) {
	tables := newTables(t, Limits{Services: 1, Backends: 64, Slots: 200})
	owners := make([]BackendID, 101)
	for i := range owners {
		owners[i] = BackendID(41 + i%3)
	}
	if err := tables.SetSlotTable(0, Steady(owners)); err != nil {
		t.Fatal(err)
	}
	place := tables.services.rows[0].Table
	if slotTableOf(place).width != 1 {
		t.Fatalf("three backends take %d bits a slot, want 2", 1<<slotTableOf(place).width)
	}
	owners[0], owners[100], owners[50] = 43, 0, 42
	if err := tables.MoveSlots(0, []Move{{0, Slot{Current: 43}}, {100, Slot{}}, {50, Slot{Current: 42}}}); err != nil {
		t.Fatal(err)
	}
	if tables.services.rows[0].Table != place {
		t.Error("the table moved")
	}
	if got := tables.SlotTable(0); !slices.Equal(got, Steady(owners)) {
		t.Errorf("slots %v, want %v", got, owners)
	}
	if err := tables.Rescan(); err != nil {
		t.Fatal(err)
	}
	if region := (region{slotTableOf(place).first, 1}); tables.packed.slab.reserve(region) {
		t.Error("rows in use are free after a restart")
	}
}

func TestPackedTableOpensForATransitionAndClosesAfterIt(t *testing.T) {
	tables := newTables(t, Limits{Services: 1, Backends: 64, Slots: 200})
	slots := make([]Slot, 101)
	for i := range slots {
		slots[i].Current = BackendID(1 + i%2)
	}
	if err := tables.SetSlotTable(0, slots); err != nil {
		t.Fatal(err)
	}
	for _, to := range []Slot{{Current: 2, Previous: 1, Transition: true}, {Current: 2}} {
		slots[0] = to
		if err := tables.MoveSlots(0, []Move{{0, to}}); err != nil {
			t.Fatal(err)
		}
		if got := tables.SlotTable(0); !slices.Equal(got, slots) {
			t.Errorf("slots %v, want %v", got, slots)
		}
		if packed := slotTableOf(tables.services.rows[0].Table).width > 0; packed == to.Transition {
			t.Errorf("slot %+v: packed %v", to, packed)
		}
	}
}
