package main

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/testenv"
)

var bothVIPs = []netip.Addr{testenv.DefaultVIP, testenv.DefaultVIP6}

func TestIPv6ReachesBackendsOnTheLinkAndNeighbourDiscoveryIsLeftAlone(t *testing.T) {
	for name, vips := range map[string][]netip.Addr{
		"IPv6 alone":    {testenv.DefaultVIP6},
		"both families": bothVIPs,
	} {
		t.Run(name, func(t *testing.T) {
			lab := testenv.New(t, testenv.NewSwitched, testenv.Options{VIPs: vips})
			var services []string
			for _, vip := range vips {
				backends := over4(lab.Backends...)
				if vip.Is6() {
					backends = over6(lab.Backends...)
				}
				settings := fmt.Sprintf("vip: %q, port: 80, protocol: [tcp, udp], forward: l2", vip)
				services = append(services, service(fmt.Sprintf("web%d", len(services)), settings, backends))
			}
			node := start(t, lab, configOf(lab, "", services...))
			for _, vip := range vips {
				wantSpread(t, lab, vip, 100, lab.Backends)
				_, err := lab.Ask(deadline(t), port80(vip), testenv.SourcesFor(vip, 1)[0])
				must(t, err)
			}
			for _, addr := range []netip.Addr{lab.LBAddr, lab.LBAddr6} {
				forgetNeighbours(t, lab.Router, "lan")
				must(t, lab.Router.Ping(deadline(t), addr))
				must(t, lab.Client.Ping(deadline(t), addr))
			}
			wantNoOtherReasons(t, node)
		})
	}
}

// forgetNeighbours has the next packet to any neighbour on an interface ask for it again.
func forgetNeighbours(t *testing.T, n *testenv.Namespace, ifname string) {
	t.Helper()
	l, err := n.Netlink().LinkByName(ifname)
	must(t, err)
	known, err := n.Netlink().NeighList(l.Attrs().Index, netlink.FAMILY_ALL)
	must(t, err)
	if len(known) == 0 {
		t.Errorf("%s has no neighbours on %s, from which traffic came", n.Name(), ifname)
	}
	for _, neigh := range known {
		if addr := net.IP(neigh.IP); !addr.IsMulticast() {
			must(t, n.Netlink().NeighDel(&neigh))
		}
	}
}

func TestExtensionHeadersAreWalkedToTheServiceAndRoutingHeadersPassed(t *testing.T) {
	padding := map[string][]int{"hop-by-hop options": {unix.IPV6_HOPOPTS}, "destination options": {unix.IPV6_DSTOPTS}, "both": {unix.IPV6_HOPOPTS, unix.IPV6_DSTOPTS}}
	for name, c := range map[string]struct {
		lab     func(testenv.Options) (*testenv.Lab, error)
		forward string
	}{
		"l2":             {testenv.NewSwitched, "l2"},
		"gue over IPv6":  {testenv.NewRouted, "gue"},
		"ipip over IPv6": {testenv.NewRouted, "ipip"},
	} {
		t.Run(name, func(t *testing.T) {
			vip := testenv.DefaultVIP6
			lab := testenv.New(t, c.lab, testenv.Options{VIPs: []netip.Addr{vip}, Decap: decap})
			node := start(t, lab, configOf(lab, "", service("web", fmt.Sprintf("vip: %q, port: 80, protocol: udp, forward: %s", vip, c.forward), over6(lab.Backends...))))
			for headers, options := range padding {
				for _, from := range testenv.SourcesFor(vip, 5) {
					want, err := lab.Ask(deadline(t), port80(vip), from)
					must(t, err)
					if got := askWith(t, lab, from, port80(vip), options); got != want {
						t.Errorf("with %s %s is answered by %s, without by %s", headers, from, got, want)
					}
				}
			}
			if lab.Switch == nil {
				kernel := openTap(t, lab.LB, lab.LBInterfaces[0])
				routed := routedDatagram(t, lab, testenv.SourcesFor(vip, 1)[0], port80(vip))
				inject(t, lab, routed)
				wantInKernel(t, kernel, routed)
				wantReason(t, node, "extension_headers", 1)
			}
			wantNoOtherReasons(t, node, "extension_headers")
		})
	}
}

// askWith asks a backend by a datagram with extension headers that hold padding alone, and returns its name.
func askWith(t *testing.T, lab *testenv.Lab, from, to netip.AddrPort, options []int) string {
	t.Helper()
	c, err := lab.Client.Dial(deadline(t), "udp", from, to)
	must(t, err)
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		for _, option := range options {
			must(t, unix.SetsockoptString(int(fd), unix.IPPROTO_IPV6, option, "\x00\x00\x01\x04\x00\x00\x00\x00"))
		}
	}))
	_, err = c.Write(payload)
	must(t, err)
	until, _ := deadline(t).Deadline()
	must(t, c.SetReadDeadline(until))
	answer := make([]byte, 2000)
	n, err := c.Read(answer)
	must(t, err)
	name, _, _ := bytes.Cut(answer[:n], []byte{'\n'})
	return string(name)
}

// routedDatagram is a frame to the balancer with a datagram behind a routing header.
func routedDatagram(t *testing.T, lab *testenv.Lab, from, to netip.AddrPort) []byte {
	t.Helper()
	ip := ipv6(from.Addr(), to.Addr(), layers.IPProtocolUDP)
	whole := frame(t, ip, udp(ip, from.Port(), to.Port()), gopacket.Payload(payload))
	ip.NextHeader = layers.IPProtocolIPv6Routing
	routing := []byte{byte(layers.IPProtocolUDP), 0, 2, 0, 0, 0, 0, 0}
	return frame(t, toLB(t, lab, layers.EthernetTypeIPv6), ip, gopacket.Payload(append(routing, whole[40:]...)))
}
