package bpf_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// syn opens a connection to port 443 of a VIP, or answers to one.
func syn(t testing.TB, src netip.Addr, flags layers.TCP) []byte {
	t.Helper()
	f := family4
	if src.Is6() {
		f = family6
	}
	flags.SrcPort, flags.DstPort = 4242, 443
	return packet(t, ipHeader(src, f.vip, layers.IPProtocolTCP), &flags)
}

// burst sends a packet so often and returns how many were forwarded, the rest
// being counted for the reason alone.
func (p *path) burst(t *testing.T, ip []byte, times int, reason bpf.Reason) int {
	t.Helper()
	counted := p.counted(func() {
		for range times {
			p.run(arriving(ip))
		}
	})
	forwarded, dropped := counted[bpf.ReasonForwarded], counted[reason]
	if int(forwarded.Packets+dropped.Packets) != times || int(forwarded.Bytes+dropped.Bytes) != times*len(arriving(ip)) {
		t.Errorf("%d packets sent: %v counted, want %s for all that were not forwarded", times, counted, reason)
	}
	return int(forwarded.Packets)
}

// A limit lets a burst through, then one packet per interval: exactly.
func TestServiceRateIsExact(t *testing.T) {
	p := clocked(t)
	rate := maps.Rate{Interval: 10 * time.Millisecond, Tolerance: 40 * time.Millisecond}
	p.offerWeb(maps.Service{Packets: rate})
	for _, f := range families {
		now := time.Hour
		for _, c := range []struct {
			after time.Duration
			want  int // of 20
		}{{0, 5}, {0, 0}, {10*time.Millisecond - 1, 0}, {1, 1}, {10 * time.Millisecond, 1}, {30 * time.Millisecond, 3}, {time.Hour, 5}, {25 * time.Millisecond, 2}, {5 * time.Millisecond, 1}} {
			now += c.after
			p.tables.SetTime(uint64(now))
			if got := p.burst(t, f.udp(t, 443, 100), 20, bpf.ReasonServiceRate); got != c.want {
				t.Errorf("%s: %s later %d packets of 20 forwarded, want %d", f.name, c.after, got, c.want)
			}
		}
	}
}

// However many CPUs get a service's packets at once, no more and no fewer than the limit pass, and the rest is counted.
func TestServiceRateIsExactOnAllCPUsAtOnce(t *testing.T) {
	p := clocked(t)
	const burst, senders, each = 5000, 4, 10_000
	p.offerWeb(maps.Service{Packets: maps.Rate{Interval: time.Millisecond, Tolerance: (burst - 1) * time.Millisecond}})
	p.tables.SetTime(uint64(time.Hour))
	frame := arriving(family4.udp(t, 443, 5))
	counted := p.counted(func() {
		var all sync.WaitGroup
		for range senders {
			all.Go(func() {
				for range each {
					if _, err := p.prog.Run(&ebpf.RunOptions{Data: frame}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	})
	want := map[bpf.Reason]maps.Counter{
		bpf.ReasonForwarded:   {Packets: burst, Bytes: burst * uint64(len(frame))},
		bpf.ReasonServiceRate: {Packets: senders*each - burst, Bytes: (senders*each - burst) * uint64(len(frame))},
	}
	if diff := cmp.Diff(want, counted); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestServiceRateCountsAllPacketsOfTheServiceAlone(t *testing.T) {
	p := clocked(t)
	p.offerWeb(maps.Service{Packets: maps.Rate{Interval: time.Second, Tolerance: 2 * time.Second}})
	f := family4
	outcomes{
		{"TCP", f.tcp(t, 443, 5), "tx backend 1"},
		{"UDP", f.udp(t, 443, 5), "tx backend 1"},
		{"a ping", f.ping(t, 5), "tx echo_replied"},
		{"another port", f.tcp(t, 444, 5), "pass no_service"},
		{"an error about it", f.icmp(t, f.router(), 3, 1, 0, f.quoted(t, maps.TCP, 443)), "tx backend 1"},
		{"a packet with little time to live", livingPacket(f.tcp(t, 443, 5), 1), "drop ttl_expired"}, // counts: it came
		{"one too many", f.tcp(t, 443, 5), "drop service_rate"},
		{"one too many from elsewhere", from(t, netip.MustParseAddrPort("203.0.113.9:1"), maps.UDP), "drop service_rate"},
		{"an error about it again", f.icmp(t, f.router(), 3, 1, 0, f.quoted(t, maps.TCP, 443)), "tx backend 1"},
		{"another service", family6.tcp(t, 443, 5), "tx backend 9"},
	}.check(t, p)
	p.offerWeb(maps.Service{})
	outcomes{{"after the limit went", f.tcp(t, 443, 5), "tx backend 1"}}.check(t, p)
}

func TestNewConnectionRateIsExactPerSource(t *testing.T) {
	p := clocked(t)
	p.offerWeb(maps.Service{NewConnections: maps.Rate{Interval: 100 * time.Millisecond, Tolerance: 200 * time.Millisecond}})
	for _, c := range []struct {
		name, src    string
		same, others []string
	}{
		{"IPv4", "198.51.100.7", nil, []string{"198.51.100.6", "198.51.100.8", "198.51.101.7"}},
		{"IPv6 /64", "2001:db8:51::7", []string{"2001:db8:51::8", "2001:db8:51:0:ffff::"}, []string{"2001:db8:51:1::7", "2001:db8:50::7"}},
	} {
		now := time.Hour
		src := netip.MustParseAddr(c.src)
		for _, step := range []struct {
			after time.Duration
			want  int // of 10
		}{{0, 3}, {100*time.Millisecond - 1, 0}, {1, 1}, {time.Hour, 3}, {200 * time.Millisecond, 2}} {
			now += step.after
			p.tables.SetTime(uint64(now))
			if got := p.burst(t, syn(t, src, layers.TCP{SYN: true}), 10, bpf.ReasonSourceRate); got != step.want {
				t.Errorf("%s: %s later %d connections of 10, want %d", c.name, step.after, got, step.want)
			}
		}
		for _, same := range c.same {
			if got := p.burst(t, syn(t, netip.MustParseAddr(same), layers.TCP{SYN: true}), 10, bpf.ReasonSourceRate); got != 0 {
				t.Errorf("%s: %d connections from %s, which shares the limit", c.name, got, same)
			}
		}
		for _, other := range c.others {
			if got := p.burst(t, syn(t, netip.MustParseAddr(other), layers.TCP{SYN: true}), 10, bpf.ReasonSourceRate); got != 3 {
				t.Errorf("%s: %d connections from %s, want 3: its limit is its own", c.name, got, other)
			}
		}
		for name, flags := range map[string]layers.TCP{"ACK": {ACK: true}, "SYN and ACK": {SYN: true, ACK: true}, "FIN": {FIN: true}, "RST": {RST: true}} {
			if got := p.burst(t, syn(t, src, flags), 10, bpf.ReasonSourceRate); got != 10 {
				t.Errorf("%s: %d of 10 packets with %s from a source at its limit, want all", c.name, got, name)
			}
		}
	}
}

// Limits of a source are kept per service.
func TestNewConnectionRateIsPerService(t *testing.T) {
	p := clocked(t)
	once := maps.Service{NewConnections: maps.Rate{Interval: time.Second}}
	p.offerWeb(once)
	p.offer(2, once, viaL2())
	p.must(p.tables.SetListeners(append(web443(), listen(vip.String(), 80, 80, maps.TCP, 2))))
	web := packet(t, family4.ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: 4242, DstPort: 80, SYN: true})
	outcomes{
		{"one service", syn(t, client, layers.TCP{SYN: true}), "tx backend 1"},
		{"again", syn(t, client, layers.TCP{SYN: true}), "drop source_rate"},
		{"the other", web, "tx backend 17"},
		{"again", web, "drop source_rate"},
	}.check(t, p)
}

// One flooding source must not use up what the service may get.
func TestConnectionsRefusedBySourceDoNotCountForTheService(t *testing.T) {
	p := clocked(t)
	p.offerWeb(maps.Service{
		NewConnections: maps.Rate{Interval: time.Second},
		Packets:        maps.Rate{Interval: time.Second, Tolerance: 2 * time.Second},
	})
	other := netip.MustParseAddr("203.0.113.9")
	outcomes{
		{"a connection", syn(t, client, layers.TCP{SYN: true}), "tx backend 1"},
		{"a second", syn(t, client, layers.TCP{SYN: true}), "drop source_rate"},
		{"a third", syn(t, client, layers.TCP{SYN: true}), "drop source_rate"},
		{"another source", syn(t, other, layers.TCP{SYN: true}), "tx backend 1"},
		{"its next packet", syn(t, other, layers.TCP{ACK: true}), "tx backend 1"},
		{"its third", syn(t, other, layers.TCP{ACK: true}), "drop service_rate"},
		{"the first source again", syn(t, client, layers.TCP{SYN: true}), "drop source_rate"},
	}.check(t, p)
}
