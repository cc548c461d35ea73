package main

import (
	"fmt"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/bpf/model"
	"github.com/xlb-project/xlb/maps"
)

const (
	million = 1_000_000
	// unlimited flows: no two packets of a run are of one flow
	unlimited = 1 << 32

	backends     = 100 // of one service, where a case does not say otherwise
	manyBackends = 10_000
	manyServices = 10_000
	fewBackends  = 2 // of each of many services
)

// testCase is one line of the result.
type testCase struct {
	name    string
	traffic traffic

	// The product: its state, the features that the state uses, and what has to become
	// of every packet.
	state    func() model.State
	features maps.Features
	verdict  model.Verdict
	reason   bpf.Reason

	// Instead of the product: a program of the wrapper that does one operation.
	reference string
	entries   uint64 // in its table
}

// sizes are the cases whose cost depends on how much memory they touch, by that.
func sizes() (all []testCase) {
	f := maps.Features{Tunnel4: true, Tracking: true}
	add := func(name string, t traffic, s func() model.State) {
		t.grows = true
		all = append(all, testCase{name: name, traffic: t, state: s, features: f, verdict: model.TX, reason: bpf.ReasonForwarded})
	}
	for _, n := range []int{1, 100, 1_000, 10_000, 30_000} {
		add(fmt.Sprint("services/", n), toVIPs(tcp4(million), n), func() model.State {
			return newState(n, fewBackends, maps.TCP, func(i int) maps.Backend { return backend4(maps.IPIP, i) })
		})
	}
	for _, n := range []uint64{1, 10_000, 100_000, 500_000, million} {
		add(fmt.Sprint("transition/ipip/", n), tcp4(n), changing)
	}
	return all
}

// cases returns all of them in the order of the table.
func cases() []testCase {
	// A service tracks changes unless its configuration says otherwise.
	tunnel4 := maps.Features{Tunnel4: true, Tracking: true}
	signals4 := maps.Features{Tunnel4: true, Tracking: true, Signals: true}
	tunnel6 := maps.Features{IPv6: true, Tunnel6: true, Tracking: true}
	forward := func(name string, t traffic, s func() model.State, f maps.Features) testCase {
		t.grows = !f.L2
		return testCase{name: name, traffic: t, state: s, features: f, verdict: model.TX, reason: bpf.ReasonForwarded}
	}
	ipip, gue := serving(maps.TCP, maps.IPIP), serving(maps.TCP, maps.GUE)
	return []testCase{
		forward("tcp4/ipip/1", tcp4(1), ipip, tunnel4),
		forward("tcp4/ipip/1M", tcp4(million), ipip, tunnel4),
		forward("tcp4/ipip/10M", tcp4(10*million), ipip, tunnel4),
		forward("tcp4/l2/1", tcp4(1), serving(maps.TCP, maps.L2), maps.Features{L2: true, Tracking: true}),
		forward("tcp4/gue/1", tcp4(1), gue, tunnel4),
		forward("tcp4/gue/1M", tcp4(million), gue, tunnel4),
		forward("tcp6/ipip/1M", tcp6(million), serving6, tunnel6),
		forward("udp4/ipip/1M", udp4(million), serving(maps.UDP, maps.IPIP), tunnel4),
		forward("quic/gue/1M", quic4(million), servingQUIC, maps.Features{Tunnel4: true, QUIC: true, Tracking: true}),
		forward("new-flow/ipip", syn4(unlimited), ipip, tunnel4),
		forward("transition/ipip/1M", tcp4(million), changing, tunnel4),
		forward("signals/all/1M", tcp4(million), watching(0), signals4),
		forward("signals/1-in-8/1M", tcp4(million), watching(3), signals4),
		forward("signals/new-flow", syn4(unlimited), watching(0), signals4),
		{
			name: "pass/not-ours-v4", traffic: elsewhere(tcp4(1)), state: ipip, features: tunnel4,
			verdict: model.Pass, reason: bpf.ReasonNotOurs,
		},
		{
			name: "pass/not-ours-v6", traffic: elsewhere(tcp6(1)), state: serving6, features: tunnel6,
			verdict: model.Pass, reason: bpf.ReasonNotOurs,
		},
		{
			name: "pass/arp", traffic: arp(), state: ipip, features: tunnel4,
			verdict: model.Pass, reason: bpf.ReasonNotIp,
		},
		{
			name: "drop/denied-source", traffic: tcp4(million), state: denying, features: maps.Features{Tunnel4: true, NodeRules: true, Tracking: true},
			verdict: model.Drop, reason: bpf.ReasonDeniedByNode,
		},
		forward("services/10k", toVIPs(tcp4(million), manyServices), servingMany, tunnel4),
		forward("services/10k/509-slots", toVIPs(tcp4(million), manyServices), servingManySmall, tunnel4),
		forward("backends/10k", tcp4(million), servingByMany, tunnel4),
		{name: "ref/lru-hash/1", traffic: tcp4(1), reference: WrapperProgRefLruHash, entries: million},
		{name: "ref/lru-hash/1M", traffic: tcp4(million), reference: WrapperProgRefLruHash, entries: million},
		{name: "ref/hash/1M", traffic: tcp4(million), reference: WrapperProgRefHash, entries: million},
		{name: "ref/array/1", traffic: tcp4(1), reference: WrapperProgRefArray, entries: 1},
	}
}
