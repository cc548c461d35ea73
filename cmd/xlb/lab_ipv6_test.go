package main

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

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
