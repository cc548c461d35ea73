package testenv

import (
	"net"
	"net/netip"
)

// The palette: the same addresses in every lab. The backends of a routed lab are 10.1.1.1, 10.1.2.1 ...; those of the other
// labs 10.1.0.1, 10.1.0.2 ...
var (
	// DefaultVIP is the address of the service unless the options name others.
	DefaultVIP = netip.MustParseAddr("192.0.2.10")
	// ClientNet holds the sources a client can use: every address in it is local to the client, and routed back to it.
	ClientNet = netip.MustParsePrefix("198.18.0.0/16")

	clientAddr    = netip.MustParsePrefix("198.51.100.2/30")
	clientGateway = netip.MustParsePrefix("198.51.100.1/30")
	lbAddr        = netip.MustParsePrefix("10.0.0.1/24")
	lbGateway     = netip.MustParsePrefix("10.0.0.254/24")
	lanLB         = netip.MustParsePrefix("10.1.255.1/16")
	lanGateway    = netip.MustParsePrefix("10.1.255.254/16")
)

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

// Sources returns n different source addresses and ports that a lab's client can use, always the same ones in the same
// order. n is at most a billion.
func Sources(n int) []netip.AddrPort {
	const hosts, ports, firstPort = 250 * 250, 20011, 10000
	base := ClientNet.Addr().As4()
	all := make([]netip.AddrPort, n)
	for i := range all {
		// hosts and ports have no common divisor, so that pairs repeat only after hosts*ports.
		host := i % hosts
		addr := netip.AddrFrom4([4]byte{base[0], base[1], byte(host / 250), byte(1 + host%250)})
		all[i] = netip.AddrPortFrom(addr, uint16(firstPort+i%ports))
	}
	return all
}
