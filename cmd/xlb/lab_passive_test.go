package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// knock has clients of a VIP connect from these sources and leave, until the test ends. They do not wait long for an
// answer.
func knock(t *testing.T, lab *testenv.Lab, to netip.AddrPort, sources []netip.AddrPort) {
	t.Helper()
	const clients = 6
	each := len(sources) / clients
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				patient, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				if c, err := lab.Client.Dial(patient, "tcp", sources[i*each+n%each], to); err == nil {
					c.Close()
				}
				<-patient.Done() // the pace is that of a client who got no answer
				cancel()
			}
		})
	}
	t.Cleanup(func() { stop(); running.Wait() })
}

// setVIP gives a backend's machine the VIP, or takes it: clients' packets are dropped then.
func setVIP(t *testing.T, b *testenv.Backend, vip netip.Addr, there bool) {
	t.Helper()
	lo, err := b.Netlink().LinkByName("lo")
	must(t, err)
	addr, err := netlink.ParseAddr(netip.PrefixFrom(vip, vip.BitLen()).String())
	must(t, err)
	if there {
		must(t, b.Netlink().AddrAdd(lo, addr))
	} else {
		must(t, b.Netlink().AddrDel(lo, addr))
	}
}

func TestABackendThatIsDeadForClientsAloneIsEjectedAndComesBack(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: 4, Decap: decap})
	dead, vip := lab.Backends[1], lab.VIPs[0]
	const health = "{target: address, http: {path: /healthz, port: 80}, interval: 100ms, timeout: 2s, rise: 1, fall: 2, passive: {eject: true, min_connections: 10, eject_for: 10s}}"
	node := start(t, lab, configOf(lab, "", fmt.Sprintf("  - {name: web, vip: %q, port: 80, forward: ipip, health: %s, backends: [%s]}\n",
		vip, health, strings.Join(over4(lab.Backends...), ", "))))
	sources := testenv.SourcesFor(vip, 3200)
	first, second := sources[:100], sources[100:200] // each asks once: the data path may know sources again
	knock(t, lab, port80(vip), sources[200:])
	setVIP(t, dead, vip, false)
	awaitClients(t, node, dead, control.ClientsEjected)

	status, err := node.Status(deadline(t))
	must(t, err)
	for _, b := range status.Services[0].Backends {
		switch h := b.Handshakes; {
		case b.State != control.StateUp:
			t.Errorf("%s is %s: its health check passes", b.Name, b.State)
		case b.Name == dead.Name() && (h.Completed*2 > h.SYNs || h.EjectedUntil == nil):
			t.Errorf("%s is ejected with %+v", b.Name, *h)
		case b.Name != dead.Name() && (b.Clients != "" || h.Completed*2 < h.SYNs):
			t.Errorf("%s is %q with %+v", b.Name, b.Clients, *h)
		}
	}
	for source, owner := range wantOwners(t, lab, vip, first) {
		if owner == dead.Name() {
			t.Errorf("%s got %s, which is ejected", source, owner)
		}
	}
	setVIP(t, dead, vip, true)
	awaitClients(t, node, dead, "")
	owners := wantOwners(t, lab, vip, second)
	if !slices.Contains(values(owners), dead.Name()) {
		t.Error("once its time is over it gets no connections")
	}
	var told []string
	for e, err := range node.Events(deadline(t), 1000, false) {
		must(t, err)
		if e.Kind == control.EventPassive {
			told = append(told, e.Backend+" "+strings.SplitN(e.Text, ":", 2)[0])
		}
	}
	if want := []string{dead.Name() + " suspected", dead.Name() + " ejected", dead.Name() + " no longer ejected"}; !slices.Equal(told, want) {
		t.Errorf("events say %q, want %q", told, want)
	}
}

func values(owners map[netip.AddrPort]string) (names []string) {
	for _, name := range owners {
		names = append(names, name)
	}
	return names
}

// awaitClients waits until clients' handshakes say this against a backend, and against none of its siblings.
func awaitClients(t *testing.T, node *testenv.Node, backend *testenv.Backend, want string) {
	t.Helper()
	must(t, node.WaitFor(deadline(t), fmt.Sprintf("%s to be %q", backend.Name(), want), func(s control.Status) error {
		for _, b := range s.Services[0].Backends {
			if b.Name == backend.Name() && b.Clients != want {
				return fmt.Errorf("it is %q, with %+v", b.Clients, b.Handshakes)
			}
		}
		return nil
	}))
}
