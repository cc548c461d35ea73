package maps

import (
	"slices"
	"testing"
)

func TestSlotsMoveInPlace(t *testing.T) {
	tables := newTables(t, Limits{Services: 2, Backends: 4, Slots: 12}) // no room for a second copy
	if err := tables.SetSlotTable(0, Steady([]BackendID{9, 9})); err != nil {
		t.Fatal(err)
	}
	if err := tables.SetSlotTable(1, Steady([]BackendID{1, 2, 3, 1, 2, 3, 1, 2, 3, 1})); err != nil {
		t.Fatal(err)
	}
	place := tables.services.rows[1].Table
	if err := tables.MoveSlots(1, []Move{{Slot: 0, To: Slot{Current: 4}}, {Slot: 9, To: Slot{Current: 0}}}); err != nil {
		t.Fatal(err)
	}
	want := []BackendID{4, 2, 3, 1, 2, 3, 1, 2, 3, 0}
	if got := tables.SlotTable(1); !slices.Equal(got, Steady(want)) {
		t.Errorf("slots %v, want %v", got, want)
	}
	if got := tables.SlotTable(0); !slices.Equal(got, Steady([]BackendID{9, 9})) {
		t.Errorf("another service's slots became %v", got)
	}
	if tables.services.rows[1].Table != place {
		t.Error("the table moved")
	}
	for _, row := range tables.slots.rows[:12] {
		if row.Current != row.Previous {
			t.Errorf("a slot has the owners %d and %d, one packet in transition", row.Current, row.Previous)
		}
	}
}

func TestMovesPastATableChangeNothing(t *testing.T) {
	tables := newTables(t, Limits{Services: 2, Backends: 4, Slots: 12})
	if err := tables.SetSlotTable(0, Steady([]BackendID{1, 2, 3})); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"a slot past the table":   tables.MoveSlots(0, []Move{{Slot: 0, To: Slot{Current: 3}}, {Slot: 3, To: Slot{Current: 1}}}),
		"a negative slot":         tables.MoveSlots(0, []Move{{Slot: 0, To: Slot{Current: 3}}, {Slot: -1, To: Slot{Current: 1}}}),
		"a service without slots": tables.MoveSlots(1, []Move{{Slot: 0, To: Slot{Current: 3}}}),
		"a service past the end":  tables.MoveSlots(2, nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if got := tables.SlotTable(0); !slices.Equal(got, Steady([]BackendID{1, 2, 3})) {
		t.Errorf("slots %v after moves that were refused", got)
	}
}

func TestSlotsInTransitionAreReadAsTheyWereWritten(t *testing.T) {
	tables := newTables(t, Limits{Services: 1, Backends: 4, Slots: 12})
	want := []Slot{{Current: 1}, {Current: 2, Previous: 1, Transition: true}, {Previous: 3, Transition: true, Learned: true}, {}}
	if err := tables.SetSlotTable(0, want); err != nil {
		t.Fatal(err)
	}
	if got := tables.SlotTable(0); !slices.Equal(got, want) {
		t.Errorf("slots %+v, want %+v", got, want)
	}
	want[0] = Slot{Current: 4, Previous: 1, Transition: true}
	want[1] = Slot{Current: 2}
	if err := tables.MoveSlots(0, []Move{{0, want[0]}, {1, want[1]}}); err != nil {
		t.Fatal(err)
	}
	if got := tables.SlotTable(0); !slices.Equal(got, want) {
		t.Errorf("slots %+v, want %+v", got, want)
	}
}
