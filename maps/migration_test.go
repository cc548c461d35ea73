package maps

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xlb-project/xlb/bpf"
)

// newMaps makes the maps of a program without it.
func newMaps(t *testing.T, limits Limits, change ...func(*ebpf.CollectionSpec)) (map[string]*ebpf.Map, *ebpf.CollectionSpec) {
	t.Helper()
	spec, err := bpf.LoadXlb()
	if err != nil {
		t.Fatal(err)
	}
	if err := Specialise(spec, Settings{Limits: limits}, AllFeatures()); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(spec)
	}
	maps := map[string]*ebpf.Map{}
	for name, s := range spec.Maps {
		if name == constantSection {
			continue
		}
		m, err := ebpf.NewMap(s)
		if err != nil {
			t.Fatalf("make map %s (tests of the tables need root): %v", name, err)
		}
		t.Cleanup(func() { m.Close() })
		maps[name] = m
	}
	return maps, spec
}

func openTables(t *testing.T, maps map[string]*ebpf.Map) *Tables {
	t.Helper()
	tables, err := Open(maps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tables.Close() })
	return tables
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// migrate carries the maps over into those of other limits, all of them, and opens these.
func migrate(t *testing.T, from map[string]*ebpf.Map, limits Limits, same bool) *Tables {
	t.Helper()
	to, spec := newMaps(t, limits)
	former, err := OpenFormer(from, spec, same)
	check(t, err)
	defer former.Close()
	var names []string
	for name := range to {
		names = append(names, name)
	}
	m, err := former.NewMigration(to, spec, names, true)
	check(t, err)
	defer m.Close()
	check(t, m.Settings())
	m.Records(true)
	m.Records(true)
	m.Records(false)
	m.Counters()
	m.Counters() // as after a crash
	return openTables(t, to)
}

var otherLimits = map[string]Limits{
	"larger":  {Services: 9, Backends: 20, Slots: 200, Listeners: 64, Rules: 20, Fragments: 64, Sources: 64, ServerIDs: 16, Flows: 512},
	"smaller": {Services: 3, Backends: 3, Slots: 40, Listeners: 4, Rules: 4, Fragments: 1, Sources: 1, ServerIDs: 4, Flows: 1},
}

func TestTablesOfAnotherSizeHoldTheSame(t *testing.T) {
	for name, limits := range otherLimits {
		t.Run(name, func(t *testing.T) {
			maps, _ := newMaps(t, smallLimits)
			old := openTables(t, maps)
			slots := []Slot{{Current: 1}, {Current: 2, Previous: 1, Transition: true}, {Previous: 1, Transition: true, Learned: true}}
			lengths := ServerIDLengths{2}
			rules := []Rule{{Source: netip.MustParsePrefix("198.51.100.0/24"), Allow: true}, {Source: netip.MustParsePrefix("2001:db8::/32")}}
			check(t, old.NameService(ServiceEntry{2, "web"}), old.NameBackend(BackendEntry{ID: 3, Service: 2, Name: "b3", Address: netip.MustParseAddr("10.1.0.3"), Live: 0.5}),
				old.SetBackend(2, ipip(MAC{2}, "2001:db8::2")), old.SetBackend(3, Backend{Forward: L2, Up: true, MTU: 1500}), old.SetRules(2, rules), old.SetServerIDs(2, lengths, []ServerID{{ID: []byte{1, 2}, Backend: 3}}),
				old.SetService(2, Service{QUIC: lengths, MSS: 1400, Packets: Rate{Interval: 7}}), old.SetSlotTable(2, slots))
			old.rates.rows[2].Arrival = 77
			old.SetTick(5000)
			old.AddFlows([]Flow{{Backend: 3, State: FlowKnown, Hash: hashIn(9, 5)}}, old.FlowBits())
			old.counters.rows[counterReasons+3] = bpf.XlbCounter{Packets: 5, Bytes: 500}
			old.counters.rows[(old.cpus-1)*old.counterRows+counterReasons+8] = bpf.XlbCounter{Packets: 2, Bytes: 20}
			old.signals.rows[(old.cpus-1)*len(old.signals.rows)/old.cpus+3].Syns = 4
			forwarded := old.Forwarded()

			now := migrate(t, maps, limits, true)
			row, was := now.services.rows[2], old.services.rows[2]
			if row != was || !slices.Equal(now.SlotTable(2), slots) || now.backends.rows[3] != old.backends.rows[3] {
				t.Errorf("service %+v with slots %v, was %+v with %v", row, now.SlotTable(2), was, slots)
			}
			if hop := now.hopOf(3); hop == 0 || now.hops.rows[hop] != old.hops.rows[hop] {
				t.Errorf("headers %d %+v, were %+v", hop, now.hops.rows[hop], old.hops.rows[hop])
			}
			if now.outer6.rows[2] != old.outer6.rows[2] {
				t.Errorf("backend 2 is at %v, was at %v", now.outer6.rows[2], old.outer6.rows[2])
			}
			if !slices.Equal(now.ServiceEntries(), old.ServiceEntries()) || !slices.Equal(now.BackendEntries(), old.BackendEntries()) {
				t.Errorf("names %v, %v", now.ServiceEntries(), now.BackendEntries())
			}
			if got, want := now.rulesKnown[2], old.rulesKnown[2]; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("rules %v, want %v", got, want)
			}
			if got := now.serverIDs.rows[was.Ids : int(was.Ids)+idBlock(int(was.IdMask))]; !slices.Equal(got, old.serverIDs.rows[was.Ids:int(was.Ids)+idBlock(int(was.IdMask))]) {
				t.Errorf("server IDs %v", got)
			}
			if now.rates.rows[2] != old.rates.rows[2] {
				t.Errorf("rates %+v, were %+v", now.rates.rows[2], old.rates.rows[2])
			}
			if now.Tick() != 5000 || len(slices.Collect(now.Flows())) != max(1, len(now.flows.rows)/len(old.flows.rows)) {
				t.Errorf("at %d, flows %v", now.Tick(), slices.Collect(now.Flows()))
			}
			if got := now.BackendCounter(3); got != (Counter{5, 500}) || now.Forwarded() != forwarded {
				t.Errorf("counted %v, and %v of all; want 5 packets and %v", got, now.Forwarded(), forwarded)
			}
			if got := now.SignalCounter(3).SYNs; got != 4 {
				t.Errorf("%d SYNs, want 4", got)
			}
		})
	}
}

func TestLowerLimitsLeaveRoomForWhatIsInUse(t *testing.T) {
	maps, _ := newMaps(t, smallLimits)
	old := openTables(t, maps)
	lengths := ServerIDLengths{2}
	check(t, old.NameBackend(BackendEntry{ID: 7, Name: "b7"}), old.SetSlotTable(1, make([]Slot, 30)), old.SetSlotTable(3, make([]Slot, 20)),
		old.SetServerIDs(3, lengths, []ServerID{{ID: []byte{1, 2}, Backend: 3}}),
		old.SetRules(0, []Rule{{Source: netip.MustParsePrefix("10.0.0.0/8")}, {Source: netip.MustParsePrefix("11.0.0.0/8")}}))
	last := uint32(len(old.hops.rows) - 1)
	old.backends.rows[7].Hop = last << hopShift
	spec, err := bpf.LoadXlb()
	check(t, err)
	former, err := OpenFormer(maps, spec, true)
	check(t, err)
	defer former.Close()
	check(t, former.Specialise(spec, Settings{Limits: Limits{Services: 1, Backends: 1, Slots: 1, Rules: 1}}, Features{}))
	for name, want := range map[string]uint32{
		bpf.XlbMapServices: 4, bpf.XlbMapServiceNames: 4, bpf.XlbMapBackends: 8, bpf.XlbMapBackendNames: 8, bpf.XlbMapSlots: 50, bpf.XlbMapRules: 2,
		bpf.XlbMapHops: last + 1, bpf.XlbMapOuter6: 8,
		bpf.XlbMapServerIds: old.services.rows[3].Ids + uint32(idBlock(int(old.services.rows[3].IdMask))),
	} {
		if got := spec.Maps[name].MaxEntries; got != want {
			t.Errorf("map %s gets %d rows, want the %d that are in use", name, got, want)
		}
	}
}

func TestMapsThatReferToEachOtherAreKeptTogether(t *testing.T) {
	maps, _ := newMaps(t, smallLimits)
	_, spec := newMaps(t, func() Limits { l := smallLimits; l.Slots *= 2; return l }())
	former, err := OpenFormer(maps, spec, true)
	check(t, err)
	defer former.Close()
	if got := former.Outgrown(spec); !slices.Equal(got, []string{".data.state", "packed", "ports", "ranges", "server_ids", "services", "slots", "vips"}) {
		t.Errorf("outgrown: %v, want slots and what goes with them", got)
	}
	kept, anew := former.Keep(spec)
	if !slices.Equal(anew, []string{".data.state", "counter_base", "counters", "packed", "ports", "ranges", "server_ids", "services", "slots", "vips"}) || len(kept) != len(maps)-len(anew) {
		t.Errorf("anew: %v, kept %d of %d", anew, len(kept), len(maps))
	}
}

// Two flows that only a larger table's bucket bits tell apart go to all buckets that they may be in; in a smaller table known
// flows win over those that were seen once.
func TestFlowsFindTheirBucketsInATableOfAnotherSize(t *testing.T) {
	maps, _ := newMaps(t, smallLimits) // 8 buckets
	old := openTables(t, maps)
	old.SetTick(5000)
	var all []Flow
	for bucket := range uint64(8) {
		for i := range uint64(2) {
			state := FlowNew
			if i == 0 {
				state = FlowKnown
			}
			all = append(all, Flow{Backend: BackendID(1 + i), State: state, Hash: hashIn(bucket<<8|(i+1), bucket)})
		}
	}
	old.AddFlows(all, old.FlowBits())

	larger := migrate(t, maps, otherLimits["larger"], true) // 64 buckets
	for _, f := range all {
		for bucket := f.Hash & 7; bucket < 64; bucket += 8 {
			want := f
			want.Hash = hashIn(f.Hash>>flowTagShift, bucket)
			if !slices.Contains(slices.Collect(larger.Flows()), want) {
				t.Errorf("bucket %d has no record of flow %#x", bucket, f.Hash)
			}
		}
	}
	smaller := slices.Collect(migrate(t, maps, otherLimits["smaller"], true).Flows()) // one bucket of 8
	if len(smaller) != 8 || slices.ContainsFunc(smaller, func(f Flow) bool { return f.State != FlowKnown }) {
		t.Errorf("in the smaller table are %v, want the 8 known flows", smaller)
	}
}

func TestFragmentsFindTheirBucketsInATableOfAnotherSize(t *testing.T) {
	maps, _ := newMaps(t, smallLimits) // 2 buckets
	old := openTables(t, maps)
	for i := range uint64(8) {
		old.fragments.rows[i] = bpf.XlbRecord{Tag: 100 + i, Value: 1 + i}
	}
	larger := migrate(t, maps, otherLimits["larger"], true)
	for i := range uint64(8) {
		for bucket := i / bucketRecords; bucket < uint64(len(larger.fragments.rows)/bucketRecords); bucket += 2 {
			if !slices.Contains(larger.fragments.rows[bucket*bucketRecords:][:bucketRecords], bpf.XlbRecord{Tag: 100 + i, Value: 1 + i}) {
				t.Errorf("bucket %d has no record of fragment %d", bucket, i)
			}
		}
	}
	smaller := migrate(t, maps, otherLimits["smaller"], true)
	var values []uint64
	for _, r := range smaller.fragments.rows {
		values = append(values, r.Value)
	}
	slices.Sort(values)
	if !slices.Equal(values, []uint64{5, 6, 7, 8}) {
		t.Errorf("in the smaller table are those of %v, want the latest four", values)
	}
}

// What packets write while records are carried over arrives, and what they write in the new table stays.
func TestRecordsThatChangeMeanwhileArrive(t *testing.T) {
	maps, _ := newMaps(t, smallLimits)
	old := openTables(t, maps)
	to, spec := newMaps(t, otherLimits["larger"])
	former, err := OpenFormer(maps, spec, true)
	check(t, err)
	defer former.Close()
	m, err := former.NewMigration(to, spec, []string{bpf.XlbMapFlows, bpf.XlbMapSources}, true)
	check(t, err)
	defer m.Close()
	now := openTables(t, to)
	put := func(tables *Tables, backend BackendID) {
		tables.ForgetFlows(func(Flow) bool { return true })
		tables.AddFlows([]Flow{{Backend: backend, State: FlowNew, Hash: hashIn(1, 0)}}, tables.FlowBits())
	}
	owners := func() (all []BackendID) {
		for f := range now.Flows() {
			if f.Hash&0xfffffff == 0 {
				all = append(all, f.Backend)
			}
		}
		return all
	}
	put(old, 1)
	m.Records(true)
	put(old, 2)
	m.Records(true)
	if got := owners(); !slices.Equal(got, []BackendID{2}) {
		t.Errorf("the flow is %v's, want backend 2's", got)
	}
	put(now, 3)
	m.Records(false)
	if got := owners(); !slices.Equal(got, []BackendID{3}) {
		t.Errorf("the flow is %v's, want backend 3's, which the new program gave it to", got)
	}
}

func TestNewFlowsGoWhereThoseWithoutARecordDoWhileRecordsAreCarriedOver(t *testing.T) {
	maps, _ := newMaps(t, smallLimits)
	old := openTables(t, maps)
	check(t, old.SetBackend(1, Backend{Up: true}), old.SetBackend(2, Backend{}), old.SetBackend(3, Backend{Up: true, Accepts: true}))
	states := func() (all [3]BackendState) {
		for i := range all {
			all[i] = old.Backend(BackendID(1 + i))
		}
		return all
	}
	before := states()
	slots := []Slot{
		{Current: 3}, {Current: 3, Previous: 1, Transition: true}, {Current: 3, Previous: 1, Transition: true, Learned: true},
		{Current: 3, Previous: 2, Transition: true}, // which is dead
		{Current: 3, Transition: true},
	}
	check(t, old.SetSlotTable(0, slots))
	to, spec := newMaps(t, otherLimits["larger"])
	former, err := OpenFormer(maps, spec, true)
	check(t, err)
	defer former.Close()
	m, err := former.NewMigration(to, spec, []string{bpf.XlbMapFlows}, true)
	check(t, err)
	defer m.Close()
	m.Hold()
	held := slices.Clone(slots)
	held[1].Current, held[2].Current = 1, 1
	if got := old.SlotTable(0); !slices.Equal(got, held) {
		t.Errorf("held slots %v, want %v", got, held)
	}
	if got, want := states(), [3]BackendState{{Up: true, Accepts: true}, {}, {Up: true, Accepts: true}}; got != want {
		t.Errorf("backends meanwhile: %v, want those that live to accept flows: %v", got, want)
	}
	check(t, old.MoveSlots(0, []Move{{2, Slot{Current: 4}}}))
	m.Release()
	slots[2] = Slot{Current: 4}
	if got := old.SlotTable(0); !slices.Equal(got, slots) {
		t.Errorf("released slots %v, want %v", got, slots)
	}
	if got := states(); got != before {
		t.Errorf("released backends %v, want %v", got, before)
	}
}

// withRow gives a map's rows another layout.
func withRow(name string, change func(*btf.Struct)) func(*ebpf.CollectionSpec) {
	return func(spec *ebpf.CollectionSpec) {
		m := spec.Maps[name].Copy()
		row := *m.Value.(*btf.Struct)
		row.Members = slices.Clone(row.Members)
		change(&row)
		m.Value, m.ValueSize = &row, row.Size
		spec.Maps[name] = m
	}
}

func member(row *btf.Struct, name string) *btf.Member {
	i := slices.IndexFunc(row.Members, func(m btf.Member) bool { return m.Name == name })
	return &row.Members[i]
}

func TestRowsOfAnotherLayoutAreReadByTheNamesOfTheirFields(t *testing.T) {
	word := &btf.Int{Name: "unsigned long", Size: 8}
	for _, c := range []struct {
		name   string
		change func(*btf.Struct)
		fill   func(row []byte) // 1
		want   bpf.XlbHop
		fails  string
	}{
		{"a field that is new here", func(row *btf.Struct) {
			row.Members = slices.DeleteFunc(row.Members, func(m btf.Member) bool { return m.Name == "mtu" })
		}, func(row []byte) { row[0], row[4], row[8] = 1, 99, 7 }, bpf.XlbHop{Forward: 1, Ifindex: 7}, ""},
		{"a field that is gone", func(row *btf.Struct) {
			row.Members = append(row.Members, btf.Member{Name: "gone", Type: word, Offset: btf.Bits(row.Size * 8)})
			row.Size += 8
		}, func(row []byte) { row[0], row[128] = 1, 99 }, bpf.XlbHop{Forward: 1}, ""},
		{"fields that have changed places", func(row *btf.Struct) {
			mtu, egress := member(row, "mtu"), member(row, "egress")
			mtu.Name, egress.Name = egress.Name, mtu.Name
		}, func(row []byte) { row[4], row[6] = 1, 2 }, bpf.XlbHop{Egress: 1, Mtu: 2}, ""},
		{"a field that is narrower here", func(row *btf.Struct) {
			row.Members = slices.DeleteFunc(row.Members, func(m btf.Member) bool { return m.Name == "egress" || m.Name == "mtu" })
			row.Members = append(row.Members, btf.Member{Name: "mtu", Type: word, Offset: btf.Bits(row.Size * 8)})
			row.Size += 8
		}, func(row []byte) { row[128], row[129] = 0xdc, 5 }, bpf.XlbHop{Mtu: 1500}, ""},
		{"a value that is too large for its field", func(row *btf.Struct) {
			row.Members = slices.DeleteFunc(row.Members, func(m btf.Member) bool { return m.Name == "egress" || m.Name == "mtu" })
			row.Members = append(row.Members, btf.Member{Name: "mtu", Type: word, Offset: btf.Bits(row.Size * 8)})
			row.Size += 8
		}, func(row []byte) { row[130] = 1 }, bpf.XlbHop{}, "map hops: row 1: field mtu: 65536"},
		{"a struct of another name", func(row *btf.Struct) { row.Name = "stranger" }, func([]byte) {}, bpf.XlbHop{}, "map hops"},
	} {
		t.Run(c.name, func(t *testing.T) {
			maps, _ := newMaps(t, smallLimits, withRow(bpf.XlbMapHops, c.change))
			row := make([]byte, maps[bpf.XlbMapHops].ValueSize())
			c.fill(row)
			check(t, maps[bpf.XlbMapHops].Put(uint32(1), row))
			to, spec := newMaps(t, smallLimits)
			former, err := OpenFormer(maps, spec, false)
			if err == nil {
				defer former.Close()
				if got := former.Outgrown(spec); !slices.Equal(got, []string{"backends", "hops", "outer6"}) {
					t.Errorf("outgrown: %v, want hops and what goes with them", got)
				}
				var m *Migration
				m, err = former.NewMigration(to, spec, []string{bpf.XlbMapHops}, true)
				check(t, err)
				defer m.Close()
				err = m.Settings()
			}
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("error %v, want one that says %q", err, c.fails)
				}
				return
			}
			check(t, err)
			if got := openTables(t, to).hops.rows[1]; got != c.want {
				t.Errorf("row %+v, want %+v", got, c.want)
			}
		})
	}
}

// Packed slots lie in a table of their own, which a limit may make smaller than what is in it.
func TestPackedSlotsAreCarriedOver(t *testing.T) {
	for name, limits := range otherLimits {
		t.Run(name, func(t *testing.T) {
			maps, _ := newMaps(t, smallLimits)
			old := openTables(t, maps)
			want := map[ServiceID][]Slot{1: make([]Slot, 64), 2: make([]Slot, 101)}
			for id, slots := range want {
				for i := range slots {
					slots[i].Current = BackendID(i % (2 * int(id)))
				}
				check(t, old.SetSlotTable(id, slots))
				if slotTableOf(old.services.rows[id].Table).width == 0 {
					t.Fatalf("the slots of service %d are not packed", id)
				}
			}
			now := migrate(t, maps, limits, true)
			for id, slots := range want {
				if got := now.SlotTable(id); !slices.Equal(got, slots) {
					t.Errorf("service %d: slots %v, were %v", id, got, slots)
				}
				if now.packed.slab.reserve(region{slotTableOf(now.services.rows[id].Table).first, 1}) {
					t.Errorf("service %d: its rows are free", id)
				}
			}
		})
	}
}
