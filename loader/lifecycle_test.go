package loader

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
	xlb "github.com/xlb-project/xlb/maps"
)

// mapIDs are the maps that a data path uses, by name.
func mapIDs(d *Dataplane) map[string]ebpf.MapID {
	ids := map[string]ebpf.MapID{}
	for name, m := range d.gen.maps {
		ids[name] = mapID(m)
	}
	return ids
}

func TestRestartAdoptsWhatRunsAndTouchesNothing(t *testing.T) {
	inSite(t, func(s *site) {
		d := s.run(options("eth0", "eth1"))
		s.exchange(1, 2)
		program, pins, ids := attachedTo(t, "eth0"), s.pins(), mapIDs(d)
		s.must(d.Close())

		d, a := s.open(options("eth0", "eth1"))
		defer func() { s.must(d.Close()) }()
		if a.Kind != Adopted || a.Version != s.inst.Version || a.Since.IsZero() || len(a.Maps) != 0 {
			t.Errorf("adoption %+v, want of what version %s runs", a, s.inst.Version)
		}
		if got := d.Tables.BackendCounter(1).Packets; got != 2 {
			t.Errorf("%d packets counted before Publish, want the 2 of the former daemon", got)
		}
		s.must(d.Publish())
		s.exchange(3)
		if got := d.Tables.BackendCounter(1).Packets; got != 3 {
			t.Errorf("%d packets counted, want 3", got)
		}
		if got := attachedTo(t, "eth0"); got != program {
			t.Errorf("program %d is on eth0, was %d", got, program)
		}
		if got := mapIDs(d); !maps.Equal(got, ids) {
			t.Errorf("maps %v, were %v", got, ids)
		}
		if got := s.pins(); !slices.Equal(got, pins) {
			t.Errorf("pins %v, were %v", got, pins)
		}
		s.must(d.Tables.SetSlotTable(0, xlb.Steady([]xlb.BackendID{1, 1}))) // beside the one that is in use
		s.exchange(4)
	})
}

func TestAdoptedTablesHaveTheirRoomAndRules(t *testing.T) {
	inSite(t, func(s *site) {
		d := s.run(options("eth0"))
		rule := xlb.Rule{Source: netip.MustParsePrefix("198.51.100.0/24"), Allow: true}
		s.must(d.Tables.SetRules(0, []xlb.Rule{rule}))
		s.must(d.Tables.SetService(0, xlb.Service{Filter: xlb.DenyOthers}))
		s.exchange(1)
		s.must(d.Close())

		d, _ = s.open(options("eth0"))
		defer func() { s.must(d.Close()) }()
		s.must(d.Publish())
		s.must(d.Tables.SetRules(0, nil)) // which it must know to remove
		s.pass(d, 2)
		if got := d.Tables.ReasonCounter(bpf.ReasonDenied).Packets; got != 1 {
			t.Errorf("%d packets denied, want the one that no rule allows any more", got)
		}
	})
}

func TestUpgradeLosesNoPacketAndKeepsCountersAndFlows(t *testing.T) {
	inSite(t, func(s *site) {
		d := s.run(options("eth0", "eth1"))
		flow := xlb.Flow{Backend: 1, State: xlb.FlowKnown, Hash: 1 << 40}
		d.Tables.AddFlows([]xlb.Flow{flow}, d.Tables.FlowBits())
		stream := s.startStream()
		stream.awaitMore(100)
		before, ids := attachedTo(t, "eth0"), mapIDs(d)
		s.must(d.Close())

		s.inst.Version = "1.2.4"
		opts := options("eth0", "eth1")
		opts.Features.MSS = true
		d, a := s.open(opts)
		defer func() { s.must(d.Close()) }()
		if a.Kind != Upgraded || a.Version != "1.2.3" {
			t.Errorf("adoption %+v, want an upgrade of 1.2.3", a)
		}
		stream.awaitMore(100)
		if attachedTo(t, "eth0") != before {
			t.Error("the program changed before Publish")
		}
		s.must(d.Publish())
		stream.awaitMore(100)
		sent, lost := stream.end()
		t.Logf("%d datagrams sent", sent)
		if lost != 0 {
			t.Errorf("%d of %d datagrams are lost", lost, sent)
		}
		if got := d.Tables.BackendCounter(1).Packets; got != uint64(sent) {
			t.Errorf("%d packets counted, want %d", got, sent)
		}
		if got := d.Tables.ReasonCounter(bpf.ReasonNotOurs); got.Packets != 0 {
			t.Errorf("%d packets counted as not ours, and none was: the self-test shows", got.Packets)
		}
		if after := attachedTo(t, "eth1"); after == before || after != attachedTo(t, "eth0") {
			t.Errorf("eth1 has program %d, eth0 %d, both had %d", after, attachedTo(t, "eth0"), before)
		}
		now := mapIDs(d)
		for _, name := range []string{bpf.XlbMapCounters, bpf.XlbMapCounterBase} {
			delete(ids, name)
			delete(now, name)
		}
		if !maps.Equal(now, ids) {
			t.Errorf("maps %v, were %v", now, ids)
		}
		if flows := slices.Collect(d.Tables.Flows()); !slices.Equal(flows, []xlb.Flow{flow}) {
			t.Errorf("flows %v, want %v", flows, flow)
		}
	})
}

func TestSecondDaemonIsRefusedByName(t *testing.T) {
	inSite(t, func(s *site) {
		d := s.run(options("eth0"))
		defer func() { s.must(d.Close()) }()
		for what, try := range map[string]func() error{
			"open": func() error { _, _, err := Open(s.inst, options("eth1")); return err },
			"down": func() error { return Down(s.inst) },
		} {
			err := try()
			if !errors.Is(err, ErrInUse) {
				t.Fatalf("%s beside a daemon: %v, want ErrInUse", what, err)
			}
			for _, word := range []string{s.inst.Name, fmt.Sprint(os.Getpid())} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error %q does not name %s", err, word)
				}
			}
		}
		s.exchange(1)
	})
}

func TestInstanceNeedsAFileSystemForPins(t *testing.T) {
	inst := Instance{Root: t.TempDir() + "/xlb", Name: "lonely"}
	_, _, err := Open(inst, options("lo"))
	if !errors.Is(err, ErrNoBPFFS) || !strings.Contains(err.Error(), "mount -t bpf") {
		t.Errorf("error %v, want one that says how to mount a bpffs", err)
	}
	if err := Down(inst); err != nil {
		t.Errorf("down of what is nowhere: %v", err)
	}
	inst.Name = "../escape"
	if _, _, err := Open(inst, options("lo")); err == nil || !strings.Contains(err.Error(), "letters") {
		t.Errorf("error %v, want one about the name", err)
	}
}

func TestInstancesOnDifferentInterfacesDoNotMeet(t *testing.T) {
	inSite(t, func(s *site) {
		first := s.run(options("eth0"))
		other := &site{T: t, here: s.here, there: s.there, inst: testInstance()}
		defer func() { s.must(Down(other.inst)) }()
		second := other.run(options("eth1"))
		s.exchange(1)
		if a, b := first.Tables.BackendCounter(1).Packets, second.Tables.BackendCounter(1).Packets; a != 1 || b != 0 {
			t.Errorf("counted %d and %d packets, want the one on eth0", a, b)
		}
		s.must(second.Close())
		s.must(Down(other.inst))
		s.exchange(2)
		_, _, err := Open(other.inst, options("eth0"))
		if !errors.Is(err, ErrOccupied) {
			t.Errorf("error %v, want that eth0 is taken", err)
		}
		s.must(first.Close())
	})
}

func TestDownLeavesNothing(t *testing.T) {
	inSite(t, func(s *site) {
		s.must(Down(s.inst)) // what is not there
		d := s.run(options("eth0"))
		probes, err := AttachProbes(d)
		s.must(err)
		for i := len(probes.undo) - 1; i >= 0; i-- { // as if the process had been killed: rules stay
			if i == 0 || i == 1 || i == 2 {
				s.must(probes.undo[i]())
			}
		}
		s.must(d.Close())
		s.must(Down(s.inst))
		if _, err := os.Stat(s.inst.root()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", s.inst.root(), s.pins())
		}
		if n := leftOvers(t); n != 0 {
			t.Errorf("%d rules and routes of probes are left", n)
		}
		if attachedTo(t, "eth0") != 0 {
			t.Error("eth0 still has a program")
		}
	})
}
