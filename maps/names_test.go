package maps

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var smallLimits = Limits{Services: 4, Backends: 8, Slots: 64, Rules: 8, Fragments: 8, Sources: 8, ServerIDs: 8, Flows: 64}

func TestNumbersKeepTheNamesThatTheyWereGiven(t *testing.T) {
	tables := newTables(t, smallLimits)
	services := []ServiceEntry{{0, "web"}, {3, strings.Repeat("a", nameBytes)}}
	backends := []BackendEntry{
		{ID: 1, Service: 3, Name: "b1", Address: netip.MustParseAddr("10.1.0.1"), Weight: 100, Live: 0.25, Admin: 2},
		{ID: 8, Service: 0, Name: "2001:db8::1", Address: netip.MustParseAddr("2001:db8::1"), Weight: 1, Live: 1},
	}
	for _, e := range services {
		if err := tables.NameService(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range backends {
		if err := tables.NameBackend(e); err != nil {
			t.Fatal(err)
		}
	}
	backends[0].Live, backends[0].Name = 1, "renamed"
	if err := tables.NameBackend(backends[0]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(services, tables.ServiceEntries()); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(backends, tables.BackendEntries(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("backends (-want +got):\n%s", diff)
	}

	if err := tables.NameService(ServiceEntry{ID: 0}); err != nil {
		t.Fatal(err)
	}
	if err := tables.NameBackend(BackendEntry{ID: 8}); err != nil {
		t.Fatal(err)
	}
	if s, b := tables.ServiceEntries(), tables.BackendEntries(); len(s) != 1 || s[0].ID != 3 || len(b) != 1 || b[0].ID != 1 {
		t.Errorf("after freeing one of each: %v, %v", s, b)
	}
}

func TestNamesThatHaveNoPlaceAreRefused(t *testing.T) {
	tables := newTables(t, smallLimits)
	for what, err := range map[string]error{
		"limits.services": tables.NameService(ServiceEntry{ID: 4, Name: "web"}),
		"limits.backends": tables.NameBackend(BackendEntry{ID: 9, Name: "b"}),
		"more than 64":    tables.NameService(ServiceEntry{ID: 0, Name: strings.Repeat("a", nameBytes+1)}),
		"past":            tables.NameBackend(BackendEntry{ID: 0, Name: "nobody"}),
	} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want one about %s", err, what)
		}
	}
}

func TestServiceThatIsRemovedLeavesNothing(t *testing.T) {
	tables := newTables(t, smallLimits)
	lengths := ServerIDLengths{2}
	for range 20 { // what is removed is free again
		for _, err := range []error{
			tables.SetRules(1, []Rule{{Source: netip.MustParsePrefix("198.51.100.0/24")}}),
			tables.SetServerIDs(1, lengths, []ServerID{{ID: []byte{1, 2}, Backend: 1}}),
			tables.SetService(1, Service{QUIC: lengths, Filter: DenyOthers, Packets: Rate{Interval: 1}}),
			tables.SetSlotTable(1, Steady(make([]BackendID, 40))),
			tables.NameService(ServiceEntry{1, "web"}),
			tables.RemoveService(1),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	row := tables.services.rows[1]
	if row.Table != 0 || row.Ids != 0 || row.Flags != 0 || len(tables.rulesKnown[1]) != 0 || len(tables.ServiceEntries()) != 0 {
		t.Errorf("left: %+v, rules %v, names %v", row, tables.rulesKnown[1], tables.ServiceEntries())
	}
}
