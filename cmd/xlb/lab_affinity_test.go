package main

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"

	"github.com/xlb-project/xlb/testenv"
)

func TestConnectionsOfOneSourceOrPrefixMeetOneBackend(t *testing.T) {
	prefix4, prefix6 := testenv.DefaultVIP.Next(), testenv.DefaultVIP6.Next()
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: append([]netip.Addr{prefix4, prefix6}, bothVIPs...), Decap: decap})
	const settings = "vip: %q, port: 80, protocol: [tcp, udp], forward: ipip, affinity: %s"
	node := start(t, lab, configOf(lab, "",
		service("source4", fmt.Sprintf(settings, testenv.DefaultVIP, "source"), over4(lab.Backends...)),
		service("source6", fmt.Sprintf(settings, testenv.DefaultVIP6, "source"), over4(lab.Backends...)),
		service("prefix4", fmt.Sprintf(settings, prefix4, "{source_prefix: 24}"), over4(lab.Backends...)),
		service("prefix6", fmt.Sprintf(settings, prefix6, "{source_prefix: 64}"), over4(lab.Backends...))))
	const groups, each = 24, 8 // that 24 miss one of three backends by chance: 1 in 5,000
	const subnet = 250         // sources in a row that share a prefix
	for _, vip := range bothVIPs {
		wantOneBackendPerGroup(t, lab, vip, groups, func(group int) []netip.AddrPort {
			addr := testenv.SourcesFor(vip, groups)[group].Addr()
			var sources []netip.AddrPort
			for i := range uint16(each) {
				sources = append(sources, netip.AddrPortFrom(addr, 40000+i))
			}
			return sources
		})
	}
	for _, vip := range []netip.Addr{prefix4, prefix6} {
		wantOneBackendPerGroup(t, lab, vip, groups, func(group int) []netip.AddrPort {
			return testenv.SourcesFor(vip, groups*subnet)[group*subnet:][:each]
		})
	}
	wantNoOtherReasons(t, node)
}

// wantOneBackendPerGroup wants each group of sources to meet one backend over TCP and UDP, and not all groups the same.
func wantOneBackendPerGroup(t *testing.T, lab *testenv.Lab, vip netip.Addr, groups int, sources func(group int) []netip.AddrPort) {
	t.Helper()
	all := map[string]bool{}
	for group := range groups {
		met := map[string]bool{}
		for _, b := range wantOwners(t, lab, vip, sources(group)) {
			met[b] = true
		}
		for _, from := range sources(group) {
			b, err := lab.Ask(deadline(t), port80(vip), from)
			must(t, err)
			met[b] = true
		}
		if len(met) != 1 {
			t.Errorf("sources like %s met %v at %s, want one backend", sources(group)[0], met, vip)
		}
		maps.Copy(all, met)
	}
	if len(all) != len(lab.Backends) {
		t.Errorf("%d groups of sources met %v at %s, want all backends", groups, all, vip)
	}
}

// The backends of both labs have the same addresses; forwarding mode, topology and history differ.
func TestNodesWithTheSameHashKeyChooseTheSameBackends(t *testing.T) {
	const key, other = "hash_key: 00112233445566778899aabbccddeeff", "hash_key: ffeeddccbbaa99887766554433221100"
	options := testenv.Options{VIPs: bothVIPs, Backends: 5, Decap: decap}
	link, arms := testenv.New(t, testenv.NewSwitched, options), testenv.New(t, testenv.NewTwoArmed, options)
	config := func(lab *testenv.Lab, forward, key string) string {
		return configOf(lab, key,
			service("four", fmt.Sprintf("vip: 192.0.2.10, port: 80, forward: %s", forward), over4(lab.Backends...)),
			service("six", fmt.Sprintf(`vip: "2001:db8:2::10", port: 80, forward: %s`, forward), over6(lab.Backends...)))
	}
	start(t, link, config(link, "l2", key))
	first := start(t, arms, config(arms, "gue", key))
	want := map[netip.Addr]map[netip.AddrPort]string{}
	for _, vip := range bothVIPs {
		sources := testenv.SourcesFor(vip, 100)
		want[vip] = wantOwners(t, link, vip, sources)
		if !maps.Equal(wantOwners(t, arms, vip, sources), want[vip]) {
			t.Errorf("two nodes with one key choose other backends for %s", vip)
		}
	}
	must(t, first.Stop())
	must(t, first.Down())
	start(t, arms, config(arms, "gue", other))
	for _, vip := range bothVIPs {
		same := 0
		for from, b := range wantOwners(t, arms, vip, testenv.SourcesFor(vip, 100)) {
			if want[vip][from] == b {
				same++
			}
		}
		if same > 50 {
			t.Errorf("with another key %d of 100 sources meet the same backend at %s, want about a fifth", same, vip)
		}
	}
}
