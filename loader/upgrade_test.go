package loader

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	xlb "github.com/xlb-project/xlb/maps"
)

// A step that fails takes back those before it, at run time as at the start.
func TestStepThatFailsLeavesEverythingAsItWas(t *testing.T) {
	inSite(t, func(s *site) {
		failing := ""
		s.inst.Failpoint = func(step string) error {
			if step == failing {
				return unix.ENOSPC
			}
			return nil
		}
		d := s.run(options("eth0", "eth1"))
		defer func() { s.must(d.Close()) }()
		opts := options("eth0", "eth1")
		opts.Settings.Limits.Flows *= 4
		for _, failing = range []string{"pin program", "copy", "attach eth1", "finish", "retire"} {
			program, pins, ids := attachedTo(t, "eth0"), s.pins(), mapIDs(d)
			counted := d.Tables.BackendCounter(1).Packets
			staged, err := d.Prepare(opts)
			s.must(err)
			if err := staged.Publish(); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("%s: publish: %v, want the failure", failing, err)
			}
			s.exchange(1)
			if got := d.Tables.BackendCounter(1).Packets; got != counted+1 {
				t.Errorf("%s: %d packets counted, want %d", failing, got, counted+1)
			}
			if a, b := attachedTo(t, "eth0"), attachedTo(t, "eth1"); a != program || b != program {
				t.Errorf("%s: programs %d and %d, were both %d", failing, a, b, program)
			}
			if got := s.pins(); !slices.Equal(got, pins) {
				t.Errorf("%s: pins %v, were %v", failing, got, pins)
			}
			if got := mapIDs(d); !maps.Equal(got, ids) {
				t.Errorf("%s: maps %v, were %v", failing, got, ids)
			}
		}
		failing = ""
		staged, err := d.Prepare(opts)
		s.must(err)
		s.must(staged.Publish())
		s.exchange(2)
	})
}

func TestFirstStartThatFailsLeavesNothing(t *testing.T) {
	inSite(t, func(s *site) {
		s.inst.Failpoint = func(step string) error {
			if step == "attach eth1" {
				return unix.EPERM
			}
			return nil
		}
		d, _ := s.open(options("eth0", "eth1"))
		if err := d.Publish(); !errors.Is(err, unix.EPERM) {
			t.Errorf("publish: %v, want the failure", err)
		}
		s.must(d.Close())
		if attachedTo(t, "eth0") != 0 || len(s.pins()) != 0 {
			t.Errorf("left program %d on eth0, pins %v", attachedTo(t, "eth0"), s.pins())
		}
	})
}

// Limits that change at run time, of every table that has one: up one by one, then all of them down.
func TestTablesChangeTheirSizeUnderTraffic(t *testing.T) {
	inSite(t, func(s *site) {
		small := options("eth0")
		d := s.run(small)
		defer func() { s.must(d.Close()) }()
		d.Tables.SetTick(100)
		flow := xlb.Flow{Backend: 1, State: xlb.FlowKnown, Hash: 1<<40 | 5}
		d.Tables.AddFlows([]xlb.Flow{flow}, d.Tables.FlowBits())
		s.must(d.Tables.SetRules(0, []xlb.Rule{{Source: netip.PrefixFrom(client, 32), Allow: true}}))
		s.must(d.Tables.SetService(0, xlb.Service{Filter: xlb.DenyOthers}))
		stream := s.startStream()
		opts, all := small, map[string]bool{}
		for _, c := range []struct {
			name   string
			change func(*xlb.PlaneOptions)
			maps   string
		}{
			{"services", func(o *xlb.PlaneOptions) { o.Settings.Limits.Services *= 4 },
				"[.data.state packed ports ranges server_ids service_names services slots vips]"},
			{"backends", func(o *xlb.PlaneOptions) { o.Settings.Limits.Backends *= 4 }, "[backend_names backends counter_base counters hops outer6]"},
			{"slots", func(o *xlb.PlaneOptions) { o.Settings.Limits.Slots *= 4 }, "[.data.state packed ports ranges server_ids services slots vips]"},
			{"flows", func(o *xlb.PlaneOptions) { o.Settings.Limits.Flows *= 4 }, "[flows]"},
			{"fragments", func(o *xlb.PlaneOptions) { o.Settings.Limits.Fragments *= 4 }, "[fragments]"},
			{"rates", func(o *xlb.PlaneOptions) { o.Features.Rates = true }, "[rates sources]"},
			{"rules", func(o *xlb.PlaneOptions) { o.Settings.Limits.Rules *= 4 }, "[rules]"},
			{"QUIC", func(o *xlb.PlaneOptions) { o.Features.QUIC = true }, "[.data.state packed ports ranges server_ids services slots vips]"},
			{"back", func(o *xlb.PlaneOptions) { *o = small }, ""},
		} {
			c.change(&opts)
			stream.awaitMore(100)
			staged, err := d.Prepare(opts)
			s.must(err)
			if got := fmt.Sprint(staged.anew); c.maps != "" && got != c.maps {
				t.Errorf("%s: made anew: %s, want %s", c.name, got, c.maps)
			} else if c.maps == "" && len(staged.anew) != len(all) {
				t.Errorf("%s: made anew: %s, want all of %v", c.name, got, all)
			}
			for _, name := range staged.anew {
				all[name] = true
			}
			if slices.Contains(staged.anew, "vips") {
				s.listen(staged.Tables)
			}
			s.must(staged.Publish())
			stream.awaitMore(100)
			if n := len(slices.Collect(d.Tables.Flows())); n == 0 {
				t.Errorf("%s: the flow is forgotten", c.name)
			}
		}
		sent, lost := stream.end()
		if lost != 0 {
			t.Errorf("%d of %d datagrams are lost", lost, sent)
		}
		if got := d.Tables.BackendCounter(1).Packets; got != uint64(sent) {
			t.Errorf("%d packets counted, want %d", got, sent)
		}
		if b := d.Tables.BackendEntries(); len(b) != 1 || b[0].Name != "b1" || len(d.Tables.ServiceEntries()) != 1 {
			t.Errorf("names of backends %v, of services %v", b, d.Tables.ServiceEntries())
		}
	})
}

// Packets that the new program has forwarded before a step fails count for those who read the old one's counters.
func TestPacketsOfAProgramThatIsTakenBackAreCounted(t *testing.T) {
	inSite(t, func(s *site) {
		d := s.run(options("eth0"))
		defer func() { s.must(d.Close()) }()
		s.exchange(1)
		opts := options("eth0")
		opts.Features.MSS = true
		staged, err := d.Prepare(opts)
		s.must(err)
		s.inst.Failpoint = nil
		d.inst.Failpoint = func(step string) error {
			if step == "finish" {
				s.exchange(2, 3)
				return unix.EIO
			}
			return nil
		}
		if err := staged.Publish(); !errors.Is(err, unix.EIO) {
			t.Errorf("publish: %v, want the failure", err)
		}
		s.exchange(4)
		if got := d.Tables.BackendCounter(1).Packets; got != 4 {
			t.Errorf("%d packets counted, want 4", got)
		}
	})
}

func TestInterfaceWhosePinsAreGoneIsTakenOver(t *testing.T) {
	inSite(t, func(s *site) {
		s.must(s.run(options("eth0")).Close())
		s.must(s.inst.removeGeneration(1))
		d, a := s.open(options("eth0"))
		if a.Kind != Fresh {
			t.Errorf("found %+v, want nothing to take over but a link", a)
		}
		s.serve(d.Tables)
		stream := s.startStream()
		stream.awaitMore(20)
		s.must(d.Publish())
		stream.awaitMore(20)
		if sent, lost := stream.end(); lost != 0 {
			t.Errorf("%d of %d datagrams are lost", lost, sent)
		}
		s.must(d.Close())
	})
}
