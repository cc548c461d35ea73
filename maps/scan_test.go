package maps

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/bpf"
)

func TestTablesThatAreInUseAreTakenStockOf(t *testing.T) {
	maps, _ := newMaps(t, Limits{Services: 3, Backends: 4, Slots: 30, Rules: 4, ServerIDs: 8})
	former := openTables(t, maps)
	lengths := ServerIDLengths{2}
	ids := []ServerID{{ID: []byte{1, 2}, Backend: 1}}
	rules := []Rule{{Source: netip.MustParsePrefix("198.51.100.0/24")}, {Source: netip.MustParsePrefix("2001:db8::/32"), Allow: true}}
	check(t, former.SetSlotTable(0, make([]Slot, 10)), former.SetSlotTable(2, Steady(slices.Repeat([]BackendID{3}, 10))), former.SetSlotTable(0, nil),
		former.SetServerIDs(2, lengths, ids), former.SetRules(2, rules), former.SetRules(NodeRules, rules[:1]))
	block := slices.Clone(former.serverIDs.rows)

	tables := openTables(t, maps)
	check(t, tables.SetSlotTable(0, Steady(slices.Repeat([]BackendID{1}, 10))), tables.SetSlotTable(1, Steady(slices.Repeat([]BackendID{2}, 10))))
	for id, want := range []BackendID{1, 2, 3} {
		if slots := tables.SlotTable(ServiceID(id)); len(slots) != 10 || slots[0].Current != want || slots[9].Current != want {
			t.Errorf("service %d has slots %v, want 10 of backend %d", id, slots, want)
		}
	}
	if err := tables.SetSlotTable(0, make([]Slot, 11)); err == nil {
		t.Error("more slots than there are rows were given out")
	}
	check(t, tables.SetServerIDs(0, lengths, ids))
	for i, row := range block {
		if row.Used != 0 && tables.serverIDs.rows[i] != row {
			t.Errorf("row %d of server IDs is %+v, was %+v", i, tables.serverIDs.rows[i], row)
		}
	}
	check(t, tables.SetRules(2, rules[1:]), tables.SetRules(NodeRules, nil))
	n := 0
	var key bpf.XlbRuleKey
	var value uint32
	for it := maps[bpf.XlbMapRules].Iterate(); it.Next(&key, &value); n++ {
		if service, source := ruleOf(key); service != 2 || source != rules[1].Source || value != ruleAllow {
			t.Errorf("rule %s of service %d is left, value %d", source, service, value)
		}
	}
	if n != 1 {
		t.Errorf("%d rules are left, want one", n)
	}
}

func TestTablesThatContradictThemselvesAreRefused(t *testing.T) {
	for name, damage := range map[string]func(*Tables){
		"slots of two services":      func(t *Tables) { t.services.rows[0].Table = word(5, 10) },
		"slots past the end":         func(t *Tables) { t.services.rows[0].Table = word(25, 10) },
		"server IDs past the end":    func(t *Tables) { t.services.rows[0].Ids, t.services.rows[0].IdMask = 1, 1<<20 },
		"server IDs of two services": func(t *Tables) { t.services.rows[0].Ids = t.services.rows[1].Ids + 1 },
		"a service past the end":     func(t *Tables) { t.heads[1][0].Number = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			maps, _ := newMaps(t, Limits{Services: 3, Backends: 4, Slots: 30, Rules: 4, ServerIDs: 8})
			tables := openTables(t, maps)
			check(t, tables.SetSlotTable(1, make([]Slot, 10)), tables.SetServerIDs(1, ServerIDLengths{2}, nil),
				tables.SetListeners([]Listener{{netip.MustParsePrefix("192.0.2.10/32"), 80, 80, TCP, 1}, {netip.MustParsePrefix("192.0.2.11/32"), 80, 80, TCP, 1}}))
			damage(tables)
			_, err := Open(maps)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "service") {
				t.Errorf("error %v, want ErrDamaged and the service", err)
			}
		})
	}
}

func TestTrialsSayWhatTheTablesSay(t *testing.T) {
	maps, _ := newMaps(t, smallLimits)
	tables := openTables(t, maps)
	settings, features := Settings{}, AllFeatures()
	mac := MAC{2, 0, 0, 0, 0, 3}
	services := []struct {
		name    string
		vip     string
		set     Service
		slots   []Slot
		reason  Reason
		backend BackendID
	}{
		{"served", "192.0.2.10/32", Service{}, Steady([]BackendID{1}), Forwarded, 1},
		{"without a next hop", "192.0.2.11/32", Service{}, Steady([]BackendID{2}), bpf.ReasonNoNextHop, 0},
		{"without slots", "192.0.2.12/32", Service{}, nil, bpf.ReasonNoBackend, 0},
		{"with rates", "192.0.2.13/32", Service{Packets: Rate{Interval: 1}}, Steady([]BackendID{1}), 0, 0},
	}
	var listeners []Listener
	for i, s := range services {
		check(t, tables.SetService(ServiceID(i), s.set), tables.SetSlotTable(ServiceID(i), s.slots))
		listeners = append(listeners, Listener{netip.MustParsePrefix(s.vip), 80, 90, TCP, ServiceID(i)})
	}
	check(t, tables.SetBackend(1, Backend{Forward: L2, Up: true, DestMAC: mac, MTU: 1500}), tables.SetListeners(listeners))
	trials := map[string]Trial{}
	for _, trial := range tables.Trials(settings, features) {
		trials[trial.Name] = trial
	}
	if len(trials) != 2+3 {
		t.Errorf("%d trials, want those of an ARP request, of nobody's packet, and of three services", len(trials))
	}
	for i, s := range services {
		trial, ok := trials["a packet to "+listeners[i].String()]
		if ok != (s.reason != 0) || trial.Reason != s.reason || trial.Backend != s.backend {
			t.Errorf("service %s: trial %+v", s.name, trial)
		}
		if s.backend != 0 && MAC(trial.Link[:6]) != mac {
			t.Errorf("service %s: leaves for %x", s.name, trial.Link)
		}
	}
}
