package maps

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/xlb-project/xlb/bpf"
)

// headsOf reads from the rows of all VIPs what they say about a service.
func headsOf(t *Tables, id ServiceID) (heads []bpf.XlbServiceHead) {
	vips := t.validVIPs()
	for _, v := range vips {
		if v.FirstKey != 0 && v.First.Number == uint32(id) {
			heads = append(heads, v.First)
		}
	}
	return heads
}

// sayTheSame fails unless so many rows of VIPs name a service, and all agree with its row.
func sayTheSame(t *testing.T, tables *Tables, id ServiceID, vips int, when string) {
	t.Helper()
	row := tables.services.rows[id]
	want := slices.Repeat([]bpf.XlbServiceHead{{Table: row.Table, Flags: row.Flags, Number: uint32(id)}}, vips)
	if got := headsOf(tables, id); !slices.Equal(got, want) {
		t.Errorf("%s: VIPs say %+v of service %d, want %+v", when, got, id, want)
	}
}

func listeners(service ServiceID, vips ...string) (list []Listener) {
	for _, vip := range vips {
		list = append(list, Listener{netip.MustParsePrefix(vip), 80, 80, TCP, service})
	}
	return list
}

func TestVIPsSayWhatTheServiceSays(t *testing.T) {
	maps, _ := newMaps(t, Limits{Services: 3, Backends: 4, Slots: 200, Listeners: 8})
	tables := openTables(t, maps)
	first, second := listeners(1, "192.0.2.10/32", "2001:db8::10/128"), listeners(2, "192.0.2.11/32")
	check(t, tables.SetService(1, Service{BySource: true}), tables.SetSlotTable(1, Steady([]BackendID{1, 2})), tables.SetService(2, Service{}))
	check(t, tables.SetListeners(slices.Concat(first, second)))
	sayTheSame(t, tables, 1, 2, "listed")
	sayTheSame(t, tables, 2, 1, "listed")

	check(t, tables.SetSlotTable(1, Steady([]BackendID{2, 3, 4})))
	sayTheSame(t, tables, 1, 2, "with new slots")
	sayTheSame(t, tables, 2, 1, "with new slots of another")
	check(t, tables.SetSlotTable(2, Steady(slices.Repeat([]BackendID{1}, packedLeast))))
	check(t, tables.MoveSlots(2, []Move{{3, Slot{Current: 2, Previous: 1, Transition: true}}})) // is written anew
	sayTheSame(t, tables, 2, 1, "with a slot in transition")
	check(t, tables.SetService(1, Service{Filter: DenyOthers}))
	sayTheSame(t, tables, 1, 2, "with another setting")

	check(t, tables.SetListeners(first[:1]))
	sayTheSame(t, tables, 1, 1, "listed once")
	sayTheSame(t, tables, 2, 0, "no more listed")
	spare := slices.Clone(tables.vips.rows)
	check(t, tables.SetSlotTable(2, nil), tables.SetSlotTable(1, nil))
	sayTheSame(t, tables, 1, 1, "without slots")
	changed := 0
	for i := range spare {
		if spare[i] != tables.vips.rows[i] {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d rows of VIPs changed with the service of one", changed)
	}
}

// A daemon may die between the store into the service's row and those into the rows of its VIPs.
func TestVIPsAreBroughtUpToDateByWhoOpensTheTables(t *testing.T) {
	maps, _ := newMaps(t, Limits{Services: 3, Backends: 4, Slots: 30, Listeners: 8})
	tables := openTables(t, maps)
	check(t, tables.SetService(1, Service{}), tables.SetSlotTable(1, Steady([]BackendID{1, 2})),
		tables.SetListeners(listeners(1, "192.0.2.10/32", "192.0.2.11/32")))
	old := *tables.heads[1][1]
	check(t, tables.SetSlotTable(1, Steady([]BackendID{3, 4})), tables.SetService(1, Service{TrackAlways: true}))
	*tables.heads[1][1] = old
	sayTheSame(t, openTables(t, maps), 1, 2, "opened")
}
