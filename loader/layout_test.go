package loader

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	xlb "github.com/xlb-project/xlb/maps"
)

// shift is how far the rows of a former release begin with something that nobody knows any more.
const shift = 8

// shifted has another layout for every row: an unknown field comes first.
func shifted(o object) object {
	for name, m := range o.spec.Maps {
		row, ok := m.Value.(*btf.Struct)
		if !ok || m.Type != ebpf.Array {
			continue
		}
		former := &btf.Struct{Name: row.Name, Size: row.Size + shift}
		former.Members = append(former.Members, btf.Member{Name: "former", Type: &btf.Int{Name: "unsigned long", Size: shift}})
		for _, f := range row.Members {
			f.Offset += shift * 8
			former.Members = append(former.Members, f)
		}
		o.spec.Maps[name] = m.Copy()
		o.spec.Maps[name].Value, o.spec.Maps[name].ValueSize = former, former.Size
	}
	return o
}

// pinFormer lets another release take over what runs: its tables hold the same in rows of its own layout.
func (s *site) pinFormer(opts xlb.PlaneOptions) {
	s.Helper()
	inst := s.inst
	inst.object = another(shifted)
	o, err := inst.load()
	s.must(err)
	s.must(xlb.Specialise(o.spec, opts.Settings, opts.Features))
	live, held, err := s.inst.recover(o)
	s.must(err)
	defer live.close()
	defer func() { s.must(closeAll(held)) }()
	former := &generation{
		number: live.number + 1, maps: map[string]*ebpf.Map{}, prog: live.prog,
		record: record{Schema: schema, Version: "0.9", Object: o.sum, Program: "none that there is"},
	}
	for name, m := range live.maps {
		former.maps[name] = m
		if m.ValueSize() == o.spec.Maps[name].ValueSize {
			continue
		}
		now, err := ebpf.NewMap(o.spec.Maps[name])
		s.must(err)
		defer now.Close()
		for i := range m.MaxEntries() {
			row, err := m.LookupBytes(i)
			s.must(err)
			s.must(now.Put(i, slices.Concat([]byte("unknown!"), row)))
		}
		former.maps[name] = now
	}
	s.must(former.pin(s.inst))
	s.must(s.inst.removeGeneration(live.number))
}

// The program of the former release is this one's over this one's tables, which nothing can tell: packets come back as before.
func TestRowsOfAnotherReleaseAreReadByTheNamesOfTheirFields(t *testing.T) {
	inSite(t, func(s *site) {
		opts := options("eth0")
		d := s.run(opts)
		d.Tables.SetTick(100)
		flow := xlb.Flow{Backend: 1, State: xlb.FlowKnown, Hash: 1<<40 | 5}
		d.Tables.AddFlows([]xlb.Flow{flow}, d.Tables.FlowBits())
		s.must(d.Tables.SetSlotTable(0, []xlb.Slot{{Current: 1}, {Current: 1}, {Current: 2, Previous: 1, Transition: true}}))
		slots, backends, services := d.Tables.SlotTable(0), d.Tables.BackendEntries(), d.Tables.ServiceEntries()
		s.exchange(1, 2, 3)
		counter := d.Tables.BackendCounter(1)
		s.must(d.Close())
		s.pinFormer(opts)

		d, a := s.open(opts)
		defer func() { s.must(d.Close()) }()
		if a.Kind != Migrated || a.Version != "0.9" {
			t.Errorf("found %+v, want another release's", a)
		}
		for _, name := range []string{"backend_names", "backends", "counter_base", "flows", "services", "slots", "vips"} {
			if !slices.Contains(a.Maps, name) {
				t.Errorf("map %s is not made anew, only %v", name, a.Maps)
			}
		}
		s.listen(d.Tables)
		stream := s.startStream()
		stream.awaitMore(50)
		s.must(d.Publish())
		stream.awaitMore(50)
		if sent, lost := stream.end(); lost != 0 {
			t.Errorf("%d of %d datagrams are lost", lost, sent)
		}
		if got := d.Tables.SlotTable(0); !slices.Equal(got, slots) {
			t.Errorf("slots %v, were %v", got, slots)
		}
		if got := d.Tables.BackendEntries(); !slices.Equal(got, backends) {
			t.Errorf("backends %v, were %v", got, backends)
		}
		if got := d.Tables.ServiceEntries(); !slices.Equal(got, services) {
			t.Errorf("services %v, were %v", got, services)
		}
		if !slices.Contains(slices.Collect(d.Tables.Flows()), flow) {
			t.Error("the flow is forgotten")
		}
		if got := d.Tables.BackendCounter(1).Packets; got <= counter.Packets {
			t.Errorf("counted %d packets, want more than %d", got, counter.Packets)
		}
	})
}

func TestTablesOfANewerSchemaAreLeftAlone(t *testing.T) {
	inSite(t, func(s *site) {
		d := s.run(options("eth0"))
		program := attachedTo(t, "eth0")
		s.must(d.Close())
		o, err := s.inst.load()
		s.must(err)
		live, held, err := s.inst.recover(o)
		s.must(err)
		live.record.Schema, live.record.Version, live.number = schema+1, "9.0", live.number+1
		s.must(live.pin(s.inst))
		s.must(s.inst.removeGeneration(live.number - 1))
		s.must(live.close())
		s.must(closeAll(held))

		_, _, err = Open(s.inst, options("eth0"))
		if err == nil || !strings.Contains(err.Error(), "9.0") || !strings.Contains(err.Error(), "xlb down") {
			t.Errorf("error %v, want one that names the version and a way out", err)
		}
		if got := attachedTo(t, "eth0"); got != program {
			t.Errorf("program %d is on eth0, was %d", got, program)
		}
		s.exchange(1)
	})
}

func TestDamagedPinsAreToldAndGoAwayWithDown(t *testing.T) {
	inSite(t, func(s *site) {
		s.must(s.run(options("eth0")).Close())
		m, err := ebpf.LoadPinnedMap(s.inst.generationDir(1)+"/"+recordMap, nil)
		s.must(err)
		defer m.Close()
		s.must(m.Put(uint32(0), make([]byte, recordSize)))
		_, _, err = Open(s.inst, options("eth0"))
		if !errors.Is(err, xlb.ErrDamaged) || !strings.Contains(err.Error(), "xlb down") {
			t.Errorf("error %v, want ErrDamaged with a way out", err)
		}
		s.exchange(1)
		s.must(Down(s.inst))
		if attachedTo(t, "eth0") != 0 {
			t.Error("eth0 still has a program")
		}
	})
}
