package maps

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// newTables opens the tables of a program with little room.
func newTables(t *testing.T, limits Limits) *Tables {
	t.Helper()
	maps, _ := newMaps(t, limits)
	return openTables(t, maps)
}

func TestNewSlotTableIsWrittenBesideTheOldOne(t *testing.T) {
	tables := newTables(t, Limits{Services: 2, Backends: 4, Slots: 30})
	old := []BackendID{1, 2, 3, 1, 2, 3, 1, 2, 3, 1}
	if err := tables.SetSlotTable(1, Steady(old)); err != nil {
		t.Fatal(err)
	}
	before, _ := split(tables.services.rows[1].Table)
	if err := tables.SetSlotTable(1, Steady([]BackendID{4, 4, 4, 4, 4, 4, 4, 4, 4, 4})); err != nil {
		t.Fatal(err)
	}
	for i, owner := range old {
		if got := tables.slots.rows[before+i].Current; BackendID(got) != owner {
			t.Errorf("slot %d of the old table became %d while packets may read it", i, got)
		}
	}
	for range 100 { // regions come back after their grace period
		if err := tables.SetSlotTable(1, Steady(old)); err != nil {
			t.Fatal(err)
		}
	}
	if got := tables.SlotTable(1); !slices.Equal(got, Steady(old)) {
		t.Errorf("slots %v, want %v", got, old)
	}
}

func TestSlotTableThatDoesNotFitLeavesTheOldOne(t *testing.T) {
	tables := newTables(t, Limits{Services: 2, Backends: 4, Slots: 30})
	old := []BackendID{1, 2, 3}
	if err := tables.SetSlotTable(0, Steady(old)); err != nil {
		t.Fatal(err)
	}
	err := tables.SetSlotTable(0, Steady(make([]BackendID, 31)))
	if err == nil || !strings.Contains(err.Error(), "raise limits.slots") {
		t.Errorf("error %v, want one that says what to raise", err)
	}
	if got := tables.SlotTable(0); !slices.Equal(got, Steady(old)) {
		t.Errorf("slots %v, want the old ones %v", got, old)
	}
}

func TestNumbersPastTheLimitsAreRefused(t *testing.T) {
	tables := newTables(t, Limits{Services: 2, Backends: 4, Slots: 30})
	for what, err := range map[string]error{
		"limits.services": tables.SetSlotTable(2, Steady([]BackendID{1})),
		"limits.backends": tables.SetBackend(5, Backend{}),
		"past limits.services": tables.SetListeners([]Listener{
			{VIP: netip.MustParsePrefix("192.0.2.10/32"), First: 80, Last: 80, Protocol: TCP, Service: 2},
		}),
	} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want one about %s", err, what)
		}
	}
	if err := tables.SetBackend(0, Backend{}); err == nil {
		t.Error("backend 0, which is nobody, was written")
	}
}

func TestGraceFallsBackToAMapUpdate(t *testing.T) {
	if err := graceByMap(); err != nil {
		t.Fatal(err)
	}
}

func TestServerIDsAreReadAsTheyWereWritten(t *testing.T) {
	tables := newTables(t, Limits{Services: 2, Backends: 4, Slots: 30, ServerIDs: 16})
	lengths := ServerIDLengths{0: 3, 2: 8}
	want := []ServerID{
		{0, []byte{0, 0, 1}, 1}, {0, []byte{0xff, 0, 2}, 2},
		{2, []byte{1, 2, 3, 4, 5, 6, 7, 8}, 1}, {2, []byte{0, 0, 0, 0, 0, 0, 0, 9}, 2},
	}
	if got := tables.ServerIDs(1); got != nil {
		t.Errorf("a service without server IDs has %v", got)
	}
	if err := tables.SetServerIDs(1, lengths, want); err != nil {
		t.Fatal(err)
	}
	if err := tables.SetService(1, Service{QUIC: lengths}); err != nil {
		t.Fatal(err)
	}
	got := tables.ServerIDs(1)
	slices.SortFunc(got, func(a, b ServerID) int {
		return cmp.Or(int(a.Rotation)-int(b.Rotation), int(a.Backend)-int(b.Backend))
	})
	if !slices.EqualFunc(got, want, func(a, b ServerID) bool {
		return a.Rotation == b.Rotation && a.Backend == b.Backend && slices.Equal(a.ID, b.ID)
	}) {
		t.Errorf("server IDs %v, want %v", got, want)
	}
}
