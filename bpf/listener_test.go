package bpf_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

// to is a packet from the client of the destination's family.
func to(t testing.TB, dst netip.AddrPort, proto maps.Protocol) []byte {
	t.Helper()
	src := client
	if dst.Addr().Is6() {
		src = family6.client
	}
	var l4 gopacket.SerializableLayer = &layers.TCP{SrcPort: 4242, DstPort: layers.TCPPort(dst.Port())}
	if proto == maps.UDP {
		l4 = &layers.UDP{SrcPort: 4242, DstPort: layers.UDPPort(dst.Port())}
	}
	return packet(t, ipHeader(src, dst.Addr(), layers.IPProtocol(proto)), l4, filler(12))
}

func TestMostSpecificListenerWins(t *testing.T) {
	for _, c := range []struct {
		family
		host                      string // has listeners of its own
		prefix, other, last, next string // a prefix around it; a host in it, its last one, the first one behind
		half, inHalf, single      string // a half of the prefix; a host in it, and one with a listener of its own
		wide, inWide, afterWide   string // a very short prefix
	}{
		{
			family4, "203.0.113.10", "203.0.113.0/24", "203.0.113.77", "203.0.113.127", "203.0.114.0",
			"203.0.113.128/25", "203.0.113.255", "203.0.113.200", "128.0.0.0/3", "159.255.255.255", "160.0.0.0",
		},
		{
			family6, "2001:db8:9::a", "2001:db8:9::/120", "2001:db8:9::4d", "2001:db8:9::7f", "2001:db8:9::100",
			"2001:db8:9::80/121", "2001:db8:9::ff", "2001:db8:9::c8", "3000::/4", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPath(t)
			for id := range maps.ServiceID(8) {
				p.offer(id, maps.Service{}, via(maps.L2, c.family, c.family))
			}
			p.must(p.tables.SetListeners([]maps.Listener{
				listen(c.host, 80, 80, maps.TCP, 0),
				listen(c.host, 8000, 8999, maps.TCP, 1),
				listen(c.host, 65535, 65535, maps.TCP, 1),
				listen(c.host, 8443, 8443, maps.TCP, 2),
				listen(c.host, 8100, 8200, maps.TCP, 2),
				listen(c.host, 53, 53, maps.TCP, 3),
				listen(c.host, 53, 53, maps.UDP, 3),
				listen(c.prefix, 0, 65535, maps.UDP, 4),
				listen(c.half, 440, 450, maps.UDP, 5),
				listen(c.single, 443, 443, maps.UDP, 6),
				listen(c.wide, 443, 443, maps.TCP, 7),
			}))
			const none, foreign = -1, -2
			for _, want := range []struct {
				addr     string
				port     uint16
				tcp, udp int // services
			}{
				{c.host, 80, 0, 4},
				{c.host, 79, none, 4},
				{c.host, 81, none, 4},
				{c.host, 7999, none, 4},
				{c.host, 8000, 1, 4},
				{c.host, 8099, 1, 4},
				{c.host, 8100, 2, 4},
				{c.host, 8200, 2, 4},
				{c.host, 8201, 1, 4},
				{c.host, 8443, 2, 4},
				{c.host, 8444, 1, 4},
				{c.host, 8999, 1, 4},
				{c.host, 9000, none, 4},
				{c.host, 65535, 1, 4},
				{c.host, 65534, none, 4},
				{c.host, 53, 3, 3},
				{c.host, 0, none, 4},
				{c.other, 0, none, 4},
				{c.other, 443, none, 4},
				{c.last, 65535, none, 4},
				{c.next, 443, foreign, foreign},
				{c.inHalf, 439, none, 4},
				{c.inHalf, 440, none, 5},
				{c.inHalf, 450, none, 5},
				{c.inHalf, 451, none, 4},
				{c.single, 443, none, 6},
				{c.single, 444, none, 5},
				{c.single, 451, none, 4},
				{c.inWide, 443, 7, none},
				{c.inWide, 444, none, none},
				{c.afterWide, 443, foreign, foreign},
			} {
				for proto, service := range map[maps.Protocol]int{maps.TCP: want.tcp, maps.UDP: want.udp} {
					outcome := fmt.Sprintf("tx backend %d", firstBackend(maps.ServiceID(service)))
					switch service {
					case none:
						outcome = "pass no_service"
					case foreign:
						outcome = "pass not_ours"
					}
					dst := netip.AddrPortFrom(netip.MustParseAddr(want.addr), want.port)
					if got := p.outcome(arriving(to(t, dst, proto))); got != outcome {
						t.Errorf("%s/%s: %s, want %s", dst, proto, got, outcome)
					}
				}
			}
		})
	}
}

// A longer prefix that lies in a shorter one hides only the ports that it has.
func TestPortsOfEnclosingPrefixesShowThrough(t *testing.T) {
	p := newPath(t)
	var listeners []maps.Listener
	bits := []int{8, 12, 16, 20, 24, 28, 31, 32}
	for i, n := range bits {
		p.offer(maps.ServiceID(i), maps.Service{}, viaL2())
		prefix := netip.PrefixFrom(netip.MustParseAddr("203.213.117.255"), n).Masked()
		listeners = append(listeners,
			maps.Listener{VIP: prefix, First: uint16(1000 + i), Last: uint16(1000 + i), Protocol: maps.TCP, Service: maps.ServiceID(i)},
			maps.Listener{VIP: prefix, First: 2000, Last: 2000, Protocol: maps.TCP, Service: maps.ServiceID(i)})
	}
	p.must(p.tables.SetListeners(listeners))
	// addresses that one more of the prefixes contains each
	for i, addr := range []string{
		"203.0.0.1", "203.208.0.1", "203.213.0.1", "203.213.112.1", "203.213.117.1", "203.213.117.241", "203.213.117.254", "203.213.117.255",
	} {
		addr := netip.MustParseAddr(addr)
		for j := range bits {
			want := "pass no_service"
			if j <= i {
				want = fmt.Sprintf("tx backend %d", firstBackend(maps.ServiceID(j)))
			}
			if got := p.outcome(arriving(to(t, netip.AddrPortFrom(addr, uint16(1000+j)), maps.TCP))); got != want {
				t.Errorf("%s port %d: %s, want %s", addr, 1000+j, got, want)
			}
		}
		want := fmt.Sprintf("tx backend %d", firstBackend(maps.ServiceID(i)))
		if got := p.outcome(arriving(to(t, netip.AddrPortFrom(addr, 2000), maps.TCP))); got != want {
			t.Errorf("%s port 2000: %s, want %s", addr, got, want)
		}
	}
}

// The first address of nested prefixes is, as an address of its own and under each prefix length, sought in rows that
// another of them may have: in small tables, one in four.
func TestFirstAddressOfNestedPrefixesIsTheLongestOnes(t *testing.T) {
	p := newPath(t)
	p.offer(0, maps.Service{}, viaL2())
	p.offer(1, maps.Service{}, viaL2())
	for i := range byte(32) {
		addr := netip.AddrFrom4([4]byte{203, i, 113, 0})
		p.must(p.tables.SetListeners([]maps.Listener{
			{VIP: netip.PrefixFrom(addr, 24), First: 80, Last: 80, Protocol: maps.TCP, Service: 0},
			{VIP: netip.PrefixFrom(addr, 28), First: 80, Last: 80, Protocol: maps.TCP, Service: 1},
		}))
		want := fmt.Sprintf("tx backend %d", firstBackend(1))
		if got := p.outcome(arriving(to(t, netip.AddrPortFrom(addr, 80), maps.TCP))); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// prefixOf is the /24 or /64 of an address.
func prefixOf(addr netip.Addr) netip.Prefix {
	if addr.Is4() {
		return netip.PrefixFrom(addr, 24).Masked()
	}
	return netip.PrefixFrom(addr, 64).Masked()
}

// A family's addresses never match the other's, though both share the tables.
func TestMappedIPv6AddressIsNoIPv4VIP(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	outcomes{
		{"mapped", to(t, netip.AddrPortFrom(netip.AddrFrom16(vip.As16()), 443), maps.TCP), "pass not_ours"},
		{"the VIP", to(t, netip.AddrPortFrom(vip, 443), maps.TCP), "tx backend 1"},
	}.check(t, p)
}
