package main

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/xlb-project/xlb/testenv"
	"github.com/xlb-project/xlb/testenv/quiclab"
)

func TestQUICClientsStayOnTheirBackendWhenTheirAddressChanges(t *testing.T) {
	const clients, rotation = 24, 2
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: bothVIPs, Backends: 4, Decap: decap})
	routable, unroutable := uint16(443), uint16(444)
	var backends []string
	for i, b := range lab.Backends {
		id := []byte{0xab, 0xcd, 0xef, byte(i)}
		backends = append(backends, fmt.Sprintf("{name: %s, address: %s, server_id: %q}", b.Name(), b.Addr, fmt.Sprintf("%x", id)))
		for _, vip := range bothVIPs {
			serveQUIC(t, b, netip.AddrPortFrom(vip, routable), quiclab.ConnectionIDs{Rotation: rotation, Server: id})
			serveQUIC(t, b, netip.AddrPortFrom(vip, unroutable), quiclab.ConnectionIDs{Rotation: rotation, Server: []byte{0xff, 0xff, 0xff, byte(i)}})
		}
	}
	const settings = "vip: %q, port: [443, 444], protocol: udp, forward: gue, quic: {server_id_length: 4, config_rotation: [0, 2]}"
	node := start(t, lab, configOf(lab, "",
		service("four", fmt.Sprintf(settings, bothVIPs[0]), backends),
		service("six", fmt.Sprintf(settings, bothVIPs[1]), backends)))

	for _, vip := range bothVIPs {
		t.Run(vip.String(), func(t *testing.T) {
			to, sources := netip.AddrPortFrom(vip, routable), testenv.SourcesFor(vip, 2*clients)
			met, elsewhere := map[string]bool{}, 0
			for i, from := range sources[:clients] {
				c := dialQUIC(t, lab, from, to)
				before := c.backend()
				met[before] = true
				c.move(sources[clients+i])
				if after := c.backend(); after != before {
					t.Errorf("the client of %s moved from %s to %s with its address", from, before, after)
				}
				if got := c.Conn.LocalAddr().String(); got != sources[clients+i].String() {
					t.Errorf("the client is at %s, want %s", got, sources[clients+i])
				}
				// A new connection from where the client is now goes by the flow hash, and so mostly elsewhere.
				c.close()
				if dialQUIC(t, lab, sources[clients+i], to).backend() != before {
					elsewhere++
				}
			}
			if len(met) != len(lab.Backends) {
				t.Errorf("%d clients met %v, want all backends", clients, met)
			}
			if elsewhere < clients/2 {
				t.Errorf("of %d flows only %d belong elsewhere than their connection: this test shows little", clients, elsewhere)
			}
		})
		t.Run(vip.String()+" with connection IDs that name no backend", func(t *testing.T) {
			met := map[string]bool{}
			for _, from := range testenv.SourcesFor(vip, clients) {
				c := dialQUIC(t, lab, from, netip.AddrPortFrom(vip, unroutable))
				b := c.backend()
				if again := c.backend(); again != b {
					t.Errorf("the connection from %s met %s, then %s", from, b, again)
				}
				met[b] = true
			}
			if len(met) != len(lab.Backends) {
				t.Errorf("%d clients met %v, want all backends", clients, met)
			}
		})
	}
	wantNoOtherReasons(t, node)
}
