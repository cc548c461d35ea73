package control

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-project/xlb/control/health"
)

const withPassive = "    health: {http: {}, passive: {eject: true, eject_for: 10s}}\n"

// clients has all backends of the node's service get connections for a while; the sick ones
// complete none.
func (n *node) clients(seconds int, sick ...string) {
	n.t.Helper()
	for range seconds {
		if err := n.do(n.t.(*testing.T).Context(), func() {
			for _, b := range n.services[0].backends {
				if b.live == 0 {
					continue
				}
				c := n.plane.signals[b.id]
				c.SYNs += 10
				if !slices.Contains(sick, b.cfg.Name) {
					c.Completed += 10
				}
				n.plane.signals[b.id] = c
			}
		}); err != nil {
			n.t.Fatal(err)
		}
		sleep(time.Second, n)
	}
}

func (n *node) wantClients(backend, want string, live float64) {
	n.t.Helper()
	if b := n.backend(backend); b.Clients != want || b.Live != live {
		n.t.Errorf("%s is %q and takes %v, want %q and %v", backend, b.Clients, b.Live, want, live)
	}
}

func TestABackendWhoseClientsCompleteNothingIsProbedThenEjectedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, withPassive, 1, 2, 3, 4)
		defer n.stop()
		n.clients(30)
		n.wantClients("web/10.0.0.1", "", 1)
		for n.backend("web/10.0.0.1").Clients == "" {
			n.clients(1, "10.0.0.1")
		}
		n.wantClients("web/10.0.0.1", "suspected", 1)
		if got := n.news.hurried; !slices.Equal(got, []health.TargetID{"web/10.0.0.1"}) {
			t.Errorf("probed at once: %v", got)
		}
		n.clients(3, "10.0.0.1")
		n.wantClients("web/10.0.0.1", "ejected", 0)
		n.clients(12)
		n.wantClients("web/10.0.0.1", "", 1)
		var told []string
		for seq := uint64(0); seq < n.events.newest(); {
			e, _ := n.events.after(seq)
			if seq = e.Seq; e.Kind == EventPassive {
				told = append(told, e.Backend+" "+e.Text)
			}
		}
		want := []string{
			"10.0.0.1 suspected: handshakes complete at 0 % of its siblings' rate",
			"10.0.0.1 ejected: still far behind its siblings, for 10s",
			"10.0.0.1 no longer ejected: its time is over",
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		for _, h := range hosts(2, 3, 4) {
			n.wantClients("web/"+h, "", 1)
		}
	})
}

func TestAnEjectionEndsWhenNobodyAsksForItAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, withPassive, 1, 2, 3, 4)
		defer n.stop()
		n.clients(20, "10.0.0.1")
		n.wantClients("web/10.0.0.1", "ejected", 0)
		n.mustApply(withBackends(withCheck, 1, 2, 3, 4))
		n.clients(2)
		n.wantClients("web/10.0.0.1", "", 1)
	})
}

func TestABackendThatIsDownIsNotJudgedByItsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := upNode(t, withPassive, 1, 2, 3, 4)
		defer n.stop()
		n.clients(9, "10.0.0.1")
		n.health(false, "web/10.0.0.1")
		n.clients(2)
		n.wantClients("web/10.0.0.1", "", 0)
		n.health(true, "web/10.0.0.1")
		n.clients(30)
		n.wantClients("web/10.0.0.1", "", 1)
	})
}
