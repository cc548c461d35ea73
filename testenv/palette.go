package testenv

import (
	"net"
	"net/netip"
)

// The palette: the same addresses in every lab. The backends of a routed lab are 10.1.1.1, 10.1.2.1 ... and fd00:10:1:1::1,
// fd00:10:1:2::1 ...; those of the other labs 10.1.0.1, 10.1.0.2 ... and fd00:10:1::1, fd00:10:1::2 ...
var (
	// DefaultVIP is the address of the service unless the options name others, DefaultVIP6 a suggestion for these.
	DefaultVIP  = netip.MustParseAddr("192.0.2.10")
	DefaultVIP6 = netip.MustParseAddr("2001:db8:2::10")
	// ClientNet and ClientNet6 hold the sources a client can use: every address in them is local to the client, and routed
	// back to it.
	ClientNet  = netip.MustParsePrefix("198.18.0.0/16")
	ClientNet6 = netip.MustParsePrefix("2001:db8:c::/48")

	clientAddr    = pairOf("198.51.100.2/30", "2001:db8:51::2/64")
	clientGateway = pairOf("198.51.100.1/30", "2001:db8:51::1/64")
	lbAddr        = pairOf("10.0.0.1/24", "fd00:10::1/64")
	lbGateway     = pairOf("10.0.0.254/24", "fd00:10::fe/64")
	lanLB         = pairOf("10.1.255.1/16", "fd00:10:1::ff01/64")
	lanGateway    = pairOf("10.1.255.254/16", "fd00:10:1::fffe/64")
)

// pair is what an interface is called in both families, with the length of its subnets.
type pair struct{ v4, v6 netip.Prefix }

func pairOf(v4, v6 string) pair {
	return pair{netip.MustParsePrefix(v4), netip.MustParsePrefix(v6)}
}

// routedBackend returns the addresses of a routed lab's backend, number 1 and up, and of the router on its link.
func routedBackend(number int) (backend, gateway pair) {
	at := func(v4, v6 byte) pair {
		return pair{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(number), v4}), 24),
			netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 3: 0x10, 5: 1, 7: byte(number), 15: v6}), 64),
		}
	}
	return at(1, 1), at(254, 0xfe)
}

// lanBackend returns the addresses of a backend in one segment with others, number 1 and up.
func lanBackend(number int) pair {
	return pair{
		netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(number)}), 16),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 3: 0x10, 5: 1, 15: byte(number)}), 64),
	}
}

// DefaultPort is the port of the backends' servers unless the options name another.
const DefaultPort = 80

// MaxBackends is how many backends a lab can have.
const MaxBackends = 250

// kind is the part of a MAC address that tells what owns it.
type kind byte

const (
	clientMAC kind = iota + 1
	routerMAC
	lbMAC
	backendMAC
)

// mac returns the palette's MAC address, locally administered: 02:00:00:00:kind:number.
func mac(k kind, number int) net.HardwareAddr {
	return net.HardwareAddr{2, 0, 0, 0, byte(k), byte(number)}
}

// linkLocal returns the address that belongs to a MAC address of the palette (RFC 4291, appendix A). Without one an
// interface asks for its neighbours only on behalf of its other addresses, and so not for a sender that is on loopback.
func linkLocal(mac net.HardwareAddr) netip.Prefix {
	addr := [16]byte{0: 0xfe, 1: 0x80, 8: mac[0] ^ 2, 9: mac[1], 10: mac[2], 11: 0xff, 12: 0xfe, 13: mac[3], 14: mac[4], 15: mac[5]}
	return netip.PrefixFrom(netip.AddrFrom16(addr), 64)
}

// Sources returns n different source addresses and ports that a lab's client can use towards an IPv4 address, always the
// same ones in the same order. n is at most a billion.
func Sources(n int) []netip.AddrPort { return SourcesFor(DefaultVIP, n) }

// SourcesFor is Sources for any destination: the sources are of its family. 250 in a row share a /24, or a /64.
func SourcesFor(to netip.Addr, n int) []netip.AddrPort {
	const hosts, ports, firstPort = 250 * 250, 20011, 10000
	all := make([]netip.AddrPort, n)
	for i := range all {
		// hosts and ports have no common divisor, so that pairs repeat only after hosts*ports.
		subnet, host := byte(i%hosts/250), byte(1+i%hosts%250)
		var addr netip.Addr
		if to.Is4() {
			a := ClientNet.Addr().As4()
			a[2], a[3] = subnet, host
			addr = netip.AddrFrom4(a)
		} else {
			a := ClientNet6.Addr().As16()
			a[7], a[15] = subnet, host
			addr = netip.AddrFrom16(a)
		}
		all[i] = netip.AddrPortFrom(addr, uint16(firstPort+i%ports))
	}
	return all
}
