package testenv

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/handover"
	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/maps"
)

// quiet is a checker and a watcher that say what they are told to: that there are next hops.
type quiet struct{ hops chan []neighbour.Update }

func (*quiet) Set(health.TargetID, health.Check) error             { return nil }
func (*quiet) Remove(health.TargetID)                              {}
func (*quiet) Hurry(health.TargetID)                               {}
func (*quiet) Ready() <-chan struct{}                              { return nil }
func (*quiet) Changes() []health.Change                            { return nil }
func (*quiet) Status(health.TargetID) (s health.Status, know bool) { return s, false }
func (*quiet) Watch([]netip.Addr)                                  {}
func (q *quiet) Updates() <-chan []neighbour.Update                { return q.hops }
func (*quiet) Stats() (s neighbour.Stats)                          { return s }

// engineNode is an engine over a data path of its own, attached to nothing.
type engineNode struct {
	*control.Engine
	*peer // for its packets
	news  *quiet
}

func handoverConfig(t *testing.T, flows int, backends ...netip.Addr) *config.Config {
	t.Helper()
	text := fmt.Sprintf(`
interfaces: [lo]
hash_key: 03000000000000000000000000000000
limits: {services: 2, listeners: 4, backends: 64, slots: 32768, flows: %d}
services:
  - {name: web, vip: %s, port: %d, forward: l2, backends: [`, flows, handoverVIP.Addr(), handoverVIP.Port())
	for _, b := range backends {
		text += fmt.Sprintf("{address: %s, mac: \"02:00:00:00:00:01\"}, ", b)
	}
	cfg, err := config.Parse("test.yaml", []byte(text+"]}\n"))
	check(t, err)
	return cfg
}

func newEngineNode(t *testing.T, flows int, backends ...netip.Addr) *engineNode {
	t.Helper()
	cfg := handoverConfig(t, flows, backends...)
	spec, err := bpf.LoadXlb()
	check(t, err)
	opts := control.PlaneOptions(cfg)
	check(t, maps.Specialise(spec, opts.Settings, opts.Features))
	coll, err := ebpf.NewCollection(spec)
	check(t, err)
	t.Cleanup(coll.Close)
	tables, err := maps.Open(coll.Maps)
	check(t, err)
	t.Cleanup(func() { tables.Close() })
	n := &engineNode{peer: &peer{T: t, prog: coll.Programs[bpf.XlbProgXlb], tables: tables}, news: &quiet{make(chan []neighbour.Update)}}
	n.Engine, err = control.New(control.FromFile(cfg), control.Parts{
		Dataplane: tables, Checker: n.news, Neighbours: n.news, Interfaces: []neighbour.Link{{Name: "lo", Index: 1}},
		Log: slog.New(slog.DiscardHandler),
	})
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() { // before the tables go
		stop()
		check(t, <-ended)
	})
	n.reach(backends...)
	return n
}

// reach has next hops of backends be known, and notes the backends' numbers.
func (n *engineNode) reach(backends ...netip.Addr) {
	n.T.Helper()
	var updates []neighbour.Update
	for _, a := range backends {
		updates = append(updates, neighbour.Update{Addr: a, Hop: neighbour.NextHop{Interface: "lo", Index: 1, MTU: 1500}})
	}
	n.news.hops <- updates
	_, err := n.Status(context.Background()) // answered after the engine has acted
	check(n.T, err)
	n.backends = map[netip.Addr]maps.BackendID{}
	for _, e := range n.tables.BackendEntries() {
		n.backends[e.Address] = e.ID
	}
}

// moveTo replaces the backends in two steps: the new one is added, then the old one removed.
func (n *engineNode) moveTo(flows int, from, to netip.Addr) {
	n.T.Helper()
	for _, backends := range [][]netip.Addr{{from, to}, {to}} {
		_, err := n.Apply(context.Background(), control.Request{Config: handoverConfig(n.T, flows, backends...), Actor: "test", Source: "test"})
		check(n.T, err)
		n.reach(from, to)
	}
}

func (n *engineNode) handTo(to *engineNode) handover.Taken {
	n.T.Helper()
	var wire bytes.Buffer
	_, err := n.SendFlows(context.Background(), &wire, handoverSecret)
	check(n.T, err)
	taken, err := to.TakeFlows(context.Background(), &wire, handoverSecret, handover.NewGuard(time.Minute))
	check(n.T, err)
	return taken
}

func TestEnginesHandTheirFlowsOver(t *testing.T) {
	first, second, third := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("10.1.0.3")
	for name, flows := range map[string]int{"a small table": 4096, "one that is sent in parts": 1 << 18} {
		t.Run(name, func(t *testing.T) {
			a, b := newEngineNode(t, flows, first), newEngineNode(t, flows, first)
			a.moveTo(flows, first, second)
			b.moveTo(flows, first, second)
			for i := range 100 {
				a.goesTo("an ACK of an old flow", 1000+i, false, first)
				a.goesTo("a SYN", 2000+i, true, second)
			}
			a.moveTo(flows, second, third)
			b.moveTo(flows, second, third)
			for i := range 100 {
				a.goesTo("a SYN", 3000+i, true, third)
			}
			if taken := a.handTo(b); taken != (handover.Taken{Added: 300}) {
				t.Errorf("taken %+v", taken)
			}
			check(t, b.PeerLost(t.Context())) // and the flows come
			for i := range 100 {
				b.goesTo("an ACK", 1000+i, false, first)
				b.goesTo("an ACK", 2000+i, false, second)
				b.goesTo("an ACK", 3000+i, false, third)
				b.goesTo("an ACK nobody knows", 4000+i, false, first)
			}
			if again := a.handTo(b); again.Added != 0 {
				t.Errorf("once more: taken %+v", again)
			}
		})
	}
}
