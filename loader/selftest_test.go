package loader

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"

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

func TestProgramIsNotBlamedForAnInterfaceThatIsAway(t *testing.T) {
	inSite(t, func(s *site) {
		d := s.run(options("eth0"))
		defer func() { s.must(d.Close()) }()
		s.must(d.Tables.SetBackend(1, xlb.Backend{Forward: xlb.L2, Up: true, Accepts: true, Ifindex: 1 << 20, Egress: 7, MTU: 1500}))
		opts := options("eth0")
		opts.Features.MSS = true
		staged, err := d.Prepare(opts)
		s.must(err)
		s.must(staged.Publish())
	})
}

// The self-test must know what becomes of packets to every kind of service, or it would stand in the way of an upgrade.
func TestEveryKindOfServicePassesTheSelfTest(t *testing.T) {
	inSite(t, func(s *site) {
		opts := options("eth0", "eth1")
		opts.Features = xlb.AllFeatures()
		opts.Settings.Limits.Services, opts.Settings.Limits.Backends = 64, 64
		opts.Settings.VerifyChecksum = true
		d, _ := s.open(opts)
		defer func() { s.must(d.Close()) }()
		self4, self6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8:1::1")
		dest4, dest6 := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("2001:db8:1::2")
		var listeners []xlb.Listener
		id := xlb.ServiceID(0)
		add := func(vip string, proto xlb.Protocol, first, last uint16, b *xlb.Backend, set xlb.Service) {
			prefix := netip.MustParsePrefix(vip)
			backend := xlb.BackendID(id + 1)
			if b != nil {
				b.IPv6, b.Up, b.Accepts, b.MTU, b.Ifindex, b.Egress = prefix.Addr().Is6(), true, true, 1500, s.index("eth1"), 1
				b.SourceMAC, b.DestMAC = selfMAC, backendMAC
				s.must(d.Tables.SetBackend(backend, *b))
			}
			set.IPv6 = prefix.Addr().Is6()
			s.must(d.Tables.SetService(id, set))
			s.must(d.Tables.SetSlotTable(id, xlb.Steady([]xlb.BackendID{backend, backend, backend})))
			listeners = append(listeners, xlb.Listener{VIP: prefix, First: first, Last: last, Protocol: proto, Service: id})
			id++
		}
		for _, vips := range [][]string{{"192.0.2.10/32", "192.0.2.11/32", "198.18.0.0/24"}, {"2001:db8:2::10/128", "2001:db8:2::11/128", "2001:db8:3::/64"}} {
			add(vips[0], xlb.TCP, 80, 80, &xlb.Backend{Forward: xlb.L2}, xlb.Service{})
			add(vips[0], xlb.UDP, 53, 53, &xlb.Backend{Forward: xlb.L2, Tags: [2]xlb.Tag{{Type: 0x8100, ID: 7}}}, xlb.Service{QUIC: xlb.ServerIDLengths{2}})
			add(vips[0], xlb.TCP, 1000, 2000, &xlb.Backend{Forward: xlb.IPIP, Source: self4, Dest: dest4}, xlb.Service{MSS: 1400})
			add(vips[1], xlb.TCP, 80, 80, &xlb.Backend{Forward: xlb.GRE, Source: self6, Dest: dest6}, xlb.Service{})
			add(vips[1], xlb.UDP, 1, 65535, &xlb.Backend{Forward: xlb.GUE, Source: self6, Dest: dest6, Port: 6080, Checksum: true}, xlb.Service{})
			add(vips[1], xlb.TCP, 81, 81, nil, xlb.Service{})
			add(vips[1], xlb.TCP, 82, 82, &xlb.Backend{Forward: xlb.L2}, xlb.Service{BySource: true, SourceBits: 24})
			add(vips[1], xlb.TCP, 83, 83, &xlb.Backend{Forward: xlb.L2}, xlb.Service{TrackAlways: true})
			add(vips[1], xlb.TCP, 84, 84, &xlb.Backend{Forward: xlb.L2}, xlb.Service{Filter: xlb.DenyOthers})
			add(vips[1], xlb.TCP, 85, 85, &xlb.Backend{Forward: xlb.L2}, xlb.Service{Packets: xlb.Rate{Interval: time.Second}})
			add(vips[2], xlb.TCP, 80, 80, &xlb.Backend{Forward: xlb.L2}, xlb.Service{})
		}
		s.must(d.Tables.SetListeners(listeners))
		tried := 0
		for _, trial := range d.Tables.Trials(opts.Settings, opts.Features) {
			t.Logf("%s: %s, backend %d", trial.Name, trial.Reason, trial.Backend)
			tried++
		}
		if want := 2 + 2*6; tried != want {
			t.Errorf("%d packets are tried, want %d", tried, want)
		}
		s.must(d.Publish())
		if n := len(slices.Collect(d.Tables.Flows())); n != 0 {
			t.Errorf("%d flows were recorded by the self-test", n)
		}
		if c := d.Tables.Forwarded(); c.Packets != 0 {
			t.Errorf("%d packets of the self-test are counted as traffic", c.Packets)
		}
	})
}
