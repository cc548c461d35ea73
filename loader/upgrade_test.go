package loader

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/bpf"
	xlb "github.com/xlb-project/xlb/maps"
)

// another is a release of the data path that is not this one: as change leaves it.
func another(change func(object) object) func() (object, error) {
	return func() (object, error) {
		o, err := Instance{}.load()
		if err != nil {
			return o, err
		}
		o.sum = "another release"
		return change(o), nil
	}
}

// always is a release whose program returns the same for every packet.
func always(code int32) func() (object, error) {
	return another(func(o object) object {
		prog := o.spec.Programs[bpf.XlbProgXlb]
		prog.Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, code).WithSymbol(prog.Name), asm.Return()}
		return o
	})
}

func TestProgramThatFailsItsSelfTestNeverMeetsAPacket(t *testing.T) {
	const drop, pass = 1, 2
	for name, release := range map[string]func() (object, error){"drops all": always(drop), "passes all": always(pass)} {
		t.Run(name, func(t *testing.T) {
			inSite(t, func(s *site) {
				d := s.run(options("eth0"))
				s.must(d.Tables.SetSlotTable(0, xlb.Steady([]xlb.BackendID{1, 1, 1, 1, 1})))
				program, pins, ids := attachedTo(t, "eth0"), s.pins(), mapIDs(d)
				stream := s.startStream()
				stream.awaitMore(100)
				s.must(d.Close())

				next := s.inst
				next.object = release
				opts := options("eth0")
				opts.Settings.Limits.Flows *= 4
				d, a, err := Open(next, opts)
				s.must(err)
				if a.Kind != Migrated {
					t.Errorf("found %+v", a)
				}
				if err := d.Publish(); !errors.Is(err, ErrSelfTest) || !strings.Contains(err.Error(), "ARP") && !strings.Contains(err.Error(), vip.String()) {
					t.Errorf("publish: %v, want a failed self-test and the packet", err)
				}
				s.must(d.Close())
				stream.awaitMore(100)
				if sent, lost := stream.end(); lost != 0 {
					t.Errorf("%d of %d datagrams are lost", lost, sent)
				}
				if got := attachedTo(t, "eth0"); got != program {
					t.Errorf("program %d is on eth0, was %d", got, program)
				}
				if got := s.pins(); !slices.Equal(got, pins) {
					t.Errorf("pins %v, were %v", got, pins)
				}
				d, a = s.open(options("eth0"))
				if a.Kind != Adopted || !maps.Equal(mapIDs(d), ids) {
					t.Errorf("found %+v with maps %v, want what ran before with maps %v", a, mapIDs(d), ids)
				}
				s.must(d.Close())
			})
		})
	}
}

// While no daemon was there, packets to VIPs were handed to the kernel. That is no fault of the next program.
func TestProgramIsTestedAsIfADaemonHadBeenThere(t *testing.T) {
	inSite(t, func(s *site) {
		opts := options("eth0")
		opts.Settings.FixedTime, opts.Settings.Silence = true, xlb.Silence{Policy: xlb.SilencePass, After: time.Second}
		d := s.run(opts)
		d.Tables.SetTime(1 << 20)
		s.pass(d, 1)
		d.Tables.SetTime(1 << 40)
		s.pass(d, 2)
		if got := d.Tables.ReasonCounter(bpf.ReasonNoDaemon).Packets; got != 1 {
			t.Errorf("%d packets met the silence, want 1", got)
		}
		s.must(d.Close())
		opts.Features.MSS = true
		d, _ = s.open(opts)
		defer func() { s.must(d.Close()) }()
		s.must(d.Publish())
		s.exchange(3)
	})
}

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
			staged, err := d.Prepare(opts)
			s.must(err)
			if err := staged.Publish(); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("%s: publish: %v, want the failure", failing, err)
			}
			s.exchange(1)
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
				"[.data.state ports ranges server_ids service_names services slots vips]"},
			{"backends", func(o *xlb.PlaneOptions) { o.Settings.Limits.Backends *= 4 }, "[backend_names backends counter_base counters]"},
			{"slots", func(o *xlb.PlaneOptions) { o.Settings.Limits.Slots *= 4 }, "[server_ids services slots]"},
			{"flows", func(o *xlb.PlaneOptions) { o.Settings.Limits.Flows *= 4 }, "[flows]"},
			{"fragments", func(o *xlb.PlaneOptions) { o.Settings.Limits.Fragments *= 4 }, "[fragments]"},
			{"rates", func(o *xlb.PlaneOptions) { o.Features.Rates = true }, "[rates sources]"},
			{"rules", func(o *xlb.PlaneOptions) { o.Settings.Limits.Rules *= 4 }, "[rules]"},
			{"QUIC", func(o *xlb.PlaneOptions) { o.Features.QUIC = true }, "[server_ids services slots]"},
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
