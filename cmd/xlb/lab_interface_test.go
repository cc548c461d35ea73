package main

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/xlb-project/xlb/testenv"
)

func TestTrafficThatComesInByOneInterfaceLeavesByAnotherInEveryMode(t *testing.T) {
	tunnels, vips := allTunnels()
	link4, link6 := netip.MustParseAddr("192.0.2.100"), netip.MustParseAddr("2001:db8:2::100")
	lab := testenv.New(t, testenv.NewTwoArmed, testenv.Options{VIPs: append(vips, link4, link6), ClientMTU: 1400, Decap: decap})
	const settings = "vip: %q, port: 80, forward: l2"
	node := start(t, lab, configOf(lab, "", append(services(tunnels, lab.Backends, ""),
		service("link4", fmt.Sprintf(settings, link4), over4(lab.Backends...)),
		service("link6", fmt.Sprintf(settings, link6), over6(lab.Backends...)))...))
	tunnels["l2 IPv4"], tunnels["l2 IPv6"] = tunnel{vip: link4}, tunnel{vip: link6}
	for name, c := range tunnels {
		t.Run(name, func(t *testing.T) {
			wantSpread(t, lab, c.vip, 30, lab.Backends)
			// The router's errors about answers come in by the interface on the other side than those answers.
			_, err := lab.Download(deadline(t), port80(c.vip), testenv.SourcesFor(c.vip, 1)[0], 50_000)
			must(t, err)
		})
	}
	wantNoOtherReasons(t, node)
}
