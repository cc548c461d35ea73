package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/testenv"
)

// tunnel is a service of a lab with all of them.
type tunnel struct {
	forward string
	outer6  bool
	vip     netip.Addr
}

// allTunnels are a service for each kind of tunnel, IPv4 and IPv6 inside and outside, each with a VIP of its own.
func allTunnels() (map[string]tunnel, []netip.Addr) {
	tunnels := map[string]tunnel{}
	vip4, vip6 := testenv.DefaultVIP, testenv.DefaultVIP6
	var vips []netip.Addr
	for _, forward := range []string{"ipip", "gre", "gue"} {
		for outer, outer6 := range map[string]bool{"4": false, "6": true} {
			tunnels[forward+" 4in"+outer] = tunnel{forward, outer6, vip4}
			tunnels[forward+" 6in"+outer] = tunnel{forward, outer6, vip6}
			vips = append(vips, vip4, vip6)
			vip4, vip6 = vip4.Next(), vip6.Next()
		}
	}
	return tunnels, vips
}

// services writes a service for each tunnel to the backends; more is appended to its settings.
func services(tunnels map[string]tunnel, backends []*testenv.Backend, more string) []string {
	var all []string
	for _, c := range tunnels {
		name := fmt.Sprintf("%s-%d", c.forward, len(all))
		settings := fmt.Sprintf("vip: %q, port: 80, protocol: [tcp, udp], forward: %s%s", c.vip, c.forward, more)
		if c.outer6 {
			all = append(all, service(name, settings, over6(backends...)))
		} else {
			all = append(all, service(name, settings, over4(backends...)))
		}
	}
	return all
}

func TestEveryTunnelCarriesEveryFamilyInEveryFamily(t *testing.T) {
	tunnels, vips := allTunnels()
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: vips, Decap: decap})
	for name, setting := range map[string]string{
		"with UDP checksums over IPv6":    "gue: {ipv6_checksum: true}",
		"without UDP checksums over IPv6": "gue: {ipv6_checksum: false}",
	} {
		t.Run(name, func(t *testing.T) {
			node := start(t, lab, configOf(lab, setting, services(tunnels, lab.Backends, "")...))
			for name, c := range tunnels {
				t.Run(name, func(t *testing.T) {
					wantSpread(t, lab, c.vip, 30, lab.Backends)
					for _, from := range testenv.SourcesFor(c.vip, 5) {
						_, err := lab.Ask(deadline(t), port80(c.vip), from)
						must(t, err)
					}
				})
			}
			wantNoOtherReasons(t, node)
		})
	}
}

func TestOuterHeadersOfATunnelAreAsAnotherDecoderReadsThem(t *testing.T) {
	const tos = 0xb9 // expedited forwarding, ECN-capable
	tunnels, vips := allTunnels()
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: vips, Backends: 1, Decap: decap})
	start(t, lab, configOf(lab, "", services(tunnels, lab.Backends, "")...))
	tap := openTap(t, lab.LBPeers[0].NS, lab.LBPeers[0].Interface)
	for name, c := range tunnels {
		t.Run(name, func(t *testing.T) {
			from := testenv.SourcesFor(c.vip, 1)[0]
			inject(t, lab, marked(t, lab, from, port80(c.vip), tos))
			p := fromLB(t, tap)

			var at gopacket.Layer
			if c.outer6 {
				ip := header[*layers.IPv6](p)[0]
				if ip.TrafficClass != tos || ip.HopLimit != 64 {
					t.Errorf("traffic class %#x, hop limit %d, want %#x and 64", ip.TrafficClass, ip.HopLimit, tos)
				}
				if !ip.SrcIP.Equal(lab.LBAddr6.AsSlice()) || !ip.DstIP.Equal(lab.Backends[0].Addr6.AsSlice()) {
					t.Errorf("from %s to %s, want from %s to %s", ip.SrcIP, ip.DstIP, lab.LBAddr6, lab.Backends[0].Addr6)
				}
				at = ip
			} else {
				ip := header[*layers.IPv4](p)[0]
				if ip.TOS != tos || ip.TTL != 64 || ip.Flags != layers.IPv4DontFragment {
					t.Errorf("TOS %#x, TTL %d, flags %s, want %#x, 64 and DF", ip.TOS, ip.TTL, ip.Flags, tos)
				}
				if !ip.SrcIP.Equal(lab.LBAddr.AsSlice()) || !ip.DstIP.Equal(lab.Backends[0].Addr.AsSlice()) {
					t.Errorf("from %s to %s, want from %s to %s", ip.SrcIP, ip.DstIP, lab.LBAddr, lab.Backends[0].Addr)
				}
				at = ip
			}
			wantChecksums(t, p)
			wantInner(t, inside(t, c, at.LayerPayload()), from, port80(c.vip), tos)
		})
	}
}

// marked is datagram with a DSCP and ECN.
func marked(t *testing.T, lab *testenv.Lab, from, to netip.AddrPort, tos uint8) []byte {
	t.Helper()
	if to.Addr().Is6() {
		ip := ipv6(from.Addr(), to.Addr(), layers.IPProtocolUDP)
		ip.TrafficClass = tos
		return frame(t, toLB(t, lab, layers.EthernetTypeIPv6), ip, udp(ip, from.Port(), to.Port()), gopacket.Payload(payload))
	}
	ip := ipv4(from.Addr(), to.Addr(), layers.IPProtocolUDP)
	ip.TOS = tos
	return frame(t, toLB(t, lab, layers.EthernetTypeIPv4), ip, udp(ip, from.Port(), to.Port()), gopacket.Payload(payload))
}

// inside decodes the packet behind a tunnel's headers, which are what follows the outer IP header.
func inside(t *testing.T, c tunnel, data []byte) gopacket.Packet {
	t.Helper()
	kind, protocol := gopacket.LayerType(layers.LayerTypeIPv4), layers.EthernetTypeIPv4
	if c.vip.Is6() {
		kind, protocol = layers.LayerTypeIPv6, layers.EthernetTypeIPv6
	}
	switch c.forward {
	case "gre":
		gre := gopacket.NewPacket(data, layers.LayerTypeGRE, gopacket.Default)
		if h := header[*layers.GRE](gre)[0]; h.Protocol != protocol || h.Version != 0 || h.ChecksumPresent || h.KeyPresent || h.SeqPresent {
			t.Errorf("GRE header %+v, want a plain one with %s", h, protocol)
		}
		data = data[4:]
	case "gue":
		datagram := gopacket.NewPacket(data, layers.LayerTypeUDP, gopacket.Default)
		h := header[*layers.UDP](datagram)[0]
		if h.DstPort != 6080 || h.SrcPort < 0xc000 || int(h.Length) != len(data) {
			t.Errorf("UDP from port %d to %d with length %d, want from 49152 and more to 6080 with %d", h.SrcPort, h.DstPort, h.Length, len(data))
		}
		if zero := h.Checksum == 0; zero == c.outer6 {
			t.Errorf("UDP checksum %#x, want one over IPv6 alone", h.Checksum)
		}
		inner := byte(layers.IPProtocolIPv4)
		if c.vip.Is6() {
			inner = byte(layers.IPProtocolIPv6)
		}
		if got := [4]byte(h.Payload); got != [4]byte{0, inner} {
			t.Errorf("GUE header %x, want protocol %d alone", got, inner)
		}
		data = data[8+4:]
	}
	return gopacket.NewPacket(data, kind, gopacket.Default)
}

func wantInner(t *testing.T, p gopacket.Packet, from, to netip.AddrPort, tos uint8) {
	t.Helper()
	wantChecksums(t, p)
	ttl, gotTOS := uint8(0), uint8(0)
	switch ip := p.NetworkLayer().(type) {
	case *layers.IPv4:
		ttl, gotTOS = ip.TTL, ip.TOS
	case *layers.IPv6:
		ttl, gotTOS = ip.HopLimit, ip.TrafficClass
	}
	src, dst := p.NetworkLayer().NetworkFlow().Endpoints()
	if src.String() != from.Addr().String() || dst.String() != to.Addr().String() || ttl != 16 || gotTOS != tos {
		t.Errorf("inside is a packet from %s to %s with TTL %d and TOS %#x, want from %s to %s, 16, %#x", src, dst, ttl, gotTOS, from, to, tos)
	}
	if got := string(p.TransportLayer().LayerPayload()); got != string(payload) {
		t.Errorf("inside is %q, want %q", got, payload)
	}
}

// Linux drops a datagram over IPv6 with a wrong checksum, and one without unless its socket says otherwise.
func TestKernelsOwnUDPSocketAcceptsGUE(t *testing.T) {
	const port = 6081
	nothing := func(*testenv.Namespace, string) (io.Closer, error) { return nil, nil }
	vip4, vip6 := testenv.DefaultVIP, testenv.DefaultVIP6
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: 1, VIPs: []netip.Addr{vip4, vip6}, Decap: nothing})
	backend := lab.Backends[0]
	for name, c := range map[string]struct {
		at      netip.Addr
		through func(...*testenv.Backend) []string
		setting string
		without bool // checksums
	}{
		"over IPv4":                    {backend.Addr, over4, "", false},
		"over IPv6 with a checksum":    {backend.Addr6, over6, "", false},
		"over IPv6 without a checksum": {backend.Addr6, over6, "gue: {ipv6_checksum: false}", true},
	} {
		t.Run(name, func(t *testing.T) {
			socket, err := backend.ListenPacket("udp", netip.AddrPortFrom(c.at, port).String())
			must(t, err)
			defer socket.Close()
			if c.without {
				acceptZeroChecksums(t, socket.(*net.UDPConn))
			}
			settings := "vip: %q, port: 80, protocol: udp, forward: gue, gue: {port: %d}"
			start(t, lab, configOf(lab, c.setting,
				service("four", fmt.Sprintf(settings, vip4, port), c.through(backend)),
				service("six", fmt.Sprintf(settings, vip6, port), c.through(backend))))
			for _, vip := range []netip.Addr{vip4, vip6} {
				sources := map[int]bool{}
				for _, from := range testenv.SourcesFor(vip, 5) {
					sources[receiveGUE(t, lab, socket, from, port80(vip))] = true
				}
				if len(sources) < 2 {
					t.Errorf("5 flows have the outer source ports %v, want several", sources)
				}
			}
		})
	}
}

// receiveGUE sends a datagram twice, and returns the port that both arrive from in their tunnel.
func receiveGUE(t *testing.T, lab *testenv.Lab, socket net.PacketConn, from, to netip.AddrPort) int {
	t.Helper()
	c, err := lab.Client.Dial(deadline(t), "udp", from, to)
	must(t, err)
	defer c.Close()
	var ports [2]int
	for i := range ports {
		_, err := c.Write(payload)
		must(t, err)
		buf := make([]byte, 2000)
		deadline, _ := deadline(t).Deadline()
		must(t, socket.SetReadDeadline(deadline))
		n, outer, err := socket.ReadFrom(buf)
		must(t, err)
		kind := gopacket.LayerType(layers.LayerTypeIPv4)
		if to.Addr().Is6() {
			kind = layers.LayerTypeIPv6
		}
		p := gopacket.NewPacket(buf[4:n], kind, gopacket.Default)
		wantChecksums(t, p)
		if got := string(p.TransportLayer().LayerPayload()); got != string(payload) {
			t.Errorf("inside is %q, want %q", got, payload)
		}
		ports[i] = outer.(*net.UDPAddr).Port
	}
	if ports[0] != ports[1] {
		t.Errorf("one flow has the outer source ports %d and %d", ports[0], ports[1])
	}
	return ports[0]
}

func acceptZeroChecksums(t *testing.T, c *net.UDPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var setErr error
	must(t, raw.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_NO_CHECK6_RX, 1)
	}))
	must(t, setErr)
}

func TestIPIPSourcesVaryWithTheFlowWithinTheirPrefix(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: 1, Decap: decap})
	for name, c := range map[string]struct {
		prefix  netip.Prefix
		through func(...*testenv.Backend) []string
	}{
		"IPv4": {netip.MustParsePrefix("172.31.0.0/16"), over4},
		"IPv6": {netip.MustParsePrefix("100::/112"), over6},
	} {
		t.Run(name, func(t *testing.T) {
			start(t, lab, configOf(lab, `source: {ipip_ipv4: 172.31.0.0/16, ipip_ipv6: "100::/112"}`,
				service("web", "vip: 192.0.2.10, port: 80, protocol: [tcp, udp], forward: ipip", c.through(lab.Backends...))))
			tap := openTap(t, lab.Router, "backend1")
			const flows = 40
			seen := map[netip.Addr]bool{}
			for _, from := range testenv.Sources(flows) {
				var of [2]netip.Addr
				for i := range of {
					_, err := lab.Ask(deadline(t), port80(lab.VIPs[0]), from)
					must(t, err)
					of[i] = outerSource(t, tap)
				}
				if of[0] != of[1] || !c.prefix.Contains(of[0]) {
					t.Errorf("flow of %s comes from %s, then from %s; want one address in %s", from, of[0], of[1], c.prefix)
				}
				seen[of[0]] = true
			}
			if len(seen) < flows*9/10 {
				t.Errorf("%d flows come from %d addresses, want about as many", flows, len(seen))
			}
			wantSpread(t, lab, lab.VIPs[0], 10, lab.Backends)
		})
	}
}

// outerSource is where the next tunnelled datagram towards a backend comes from.
func outerSource(t *testing.T, tap *testenv.Tap) netip.Addr {
	t.Helper()
	var outer gopacket.NetworkLayer
	_, err := tap.Find(deadline(t), "a tunnelled datagram", func(f testenv.Frame) bool {
		p := decode(f)
		networks := header[gopacket.NetworkLayer](p)
		if !f.Outgoing || len(networks) != 2 || p.Layer(layers.LayerTypeUDP) == nil {
			return false
		}
		outer = networks[0]
		return true
	})
	must(t, err)
	source, _ := netip.AddrFromSlice(outer.NetworkFlow().Src().Raw())
	return source
}
