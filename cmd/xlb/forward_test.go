package main

import (
	"errors"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

var errNotYet = errors.New("not yet")

func TestHTTPReachesEveryBackendThroughTheVIP(t *testing.T) {
	for name, c := range map[string]struct {
		lab     func(testenv.Options) (*testenv.Lab, error)
		forward string
		options testenv.Options
	}{
		"ipip over a router":          {testenv.NewRouted, "ipip", testenv.Options{Decap: decap}},
		"l2 on one link":              {testenv.NewSwitched, "l2", testenv.Options{}},
		"l2 out by another interface": {testenv.NewTwoArmed, "l2", testenv.Options{}},
		"ipip out by another one":     {testenv.NewTwoArmed, "ipip", testenv.Options{Decap: decap}},
	} {
		t.Run(name, func(t *testing.T) {
			lab := testenv.New(t, c.lab, c.options)
			node := start(t, lab, configFor(lab, c.forward, "tcp"))
			vip := netip.AddrPortFrom(lab.VIPs[0], lab.Port)

			owners, err := lab.Owners(deadline(t), vip, testenv.Sources(200))
			if err != nil {
				t.Fatal(err)
			}
			count := map[string]int{}
			for _, b := range owners {
				count[b]++
			}
			for _, b := range lab.Backends {
				if n := count[b.Name()]; n < 40 || n > 95 {
					t.Errorf("%s answered %d of 200 requests, want about a third", b.Name(), n)
				}
			}
			again, err := lab.Owners(deadline(t), vip, testenv.Sources(200))
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(owners, again) {
				t.Error("the same sources met other backends the second time")
			}
			expectTraffic(t, node, lab)
		})
	}
}

// expectTraffic compares what the node counted with what must have passed it:
// every connection takes at least a SYN, an ACK, the request and its end.
func expectTraffic(t *testing.T, node *testenv.Node, lab *testenv.Lab) {
	t.Helper()
	status, err := node.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	web := status.Services[0]
	if web.Up != len(lab.Backends) || web.Traffic.Packets < 4*400 {
		t.Errorf("status says %d backends up and %d packets; want %d and at least %d", web.Up, web.Traffic.Packets, len(lab.Backends), 4*400)
	}
	for reason, traffic := range status.Reasons {
		switch reason {
		case "forwarded", "not_ours", "not_ip": // health checks, ARP and the kernel's own IPv6 chatter
		default:
			t.Errorf("%d packets left as %s; nothing in this lab should", traffic.Packets, reason)
		}
	}
}

func TestUDPReachesEveryBackendThroughTheVIP(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	start(t, lab, configFor(lab, "ipip", "udp"))
	answered := map[string]bool{}
	for _, from := range testenv.Sources(50) {
		backend, err := lab.Ask(deadline(t), netip.AddrPortFrom(lab.VIPs[0], lab.Port), from)
		if err != nil {
			t.Fatal(err)
		}
		answered[backend] = true
	}
	if len(answered) != len(lab.Backends) {
		t.Errorf("backends that answered: %v, want all %d", answered, len(lab.Backends))
	}
}

func TestDeadBackendsShareMovesAndComesBackAndNobodyElseMoves(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: 5, Decap: decap})
	node := start(t, lab, configFor(lab, "ipip", "tcp"))
	vip, sources := netip.AddrPortFrom(lab.VIPs[0], lab.Port), testenv.Sources(300)
	dead := lab.Backends[2]

	before, err := lab.Owners(deadline(t), vip, sources)
	if err != nil {
		t.Fatal(err)
	}
	dead.Kill()
	waitForState(t, node, dead.Name(), control.StateDown)
	during, err := lab.Owners(deadline(t), vip, sources)
	if err != nil {
		t.Fatal(err)
	}
	for source, owner := range before {
		switch now := during[source]; {
		case now == dead.Name():
			t.Errorf("%s was answered by the dead backend", source)
		case owner != dead.Name() && now != owner:
			t.Errorf("%s moved from %s to %s, which is not its backend's fault", source, owner, now)
		}
	}
	if err := dead.Restore(); err != nil {
		t.Fatal(err)
	}
	waitForState(t, node, dead.Name(), control.StateUp)
	after, err := lab.Owners(deadline(t), vip, sources)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, after) {
		t.Error("the former table did not come back")
	}
}

func waitForState(t *testing.T, node *testenv.Node, backend, state string) {
	t.Helper()
	err := node.WaitFor(deadline(t), backend+" to be "+state, func(s control.Status) error {
		for _, b := range s.Services[0].Backends {
			if b.Name == backend && b.State == state {
				return nil
			}
		}
		return errNotYet
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNodeThatIsTakenDownLeavesTheInterfaceAsItWas(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	node := start(t, lab, configFor(lab, "ipip", "tcp"))
	begin := time.Now()
	if err := node.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped in %s", time.Since(begin))
	if _, err := lab.Owners(deadline(t), netip.AddrPortFrom(lab.VIPs[0], lab.Port), testenv.Sources(10)); err != nil {
		t.Errorf("without a daemon: %v", err)
	}
	if err := node.Down(); err != nil {
		t.Fatal(err)
	}
	l, err := lab.LB.Netlink().LinkByName(lab.LBInterfaces[0])
	if err != nil {
		t.Fatal(err)
	}
	if x := l.Attrs().Xdp; x != nil && x.Attached {
		t.Errorf("program %d is still attached", x.ProgId)
	}
}
