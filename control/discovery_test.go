package control

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/discovery"
	"github.com/xlb-project/xlb/control/state"
	"github.com/xlb-project/xlb/maps"
)

// teller is a source that says what a test has it say.
type teller struct {
	service *config.Service
	says    chan discovery.Set
	ended   chan struct{}
}

func (l *teller) Run(ctx context.Context, emit func(discovery.Set)) {
	defer close(l.ended)
	for {
		select {
		case set := <-l.says:
			set.At = time.Now()
			emit(set)
		case <-ctx.Done():
			return
		}
	}
}

// tellers are the sources of a node, the latest of each service.
type tellers struct {
	t   *testing.T
	all []*teller
}

func (l *tellers) parts(p *Parts) {
	p.Finder = func(s *config.Service, _ int) discovery.Source {
		one := &teller{s, make(chan discovery.Set), make(chan struct{})}
		l.all = append(l.all, one)
		return one
	}
}

func (l *tellers) of(service string) *teller {
	l.t.Helper()
	for _, one := range slices.Backward(l.all) {
		if one.service.Name == service {
			return one
		}
	}
	l.t.Fatalf("service %s has no source", service)
	return nil
}

// says has a service's source say something and waits until the engine has heard.
func (l *tellers) says(service string, set discovery.Set) {
	l.t.Helper()
	l.of(service).says <- set
	synctest.Wait()
}

// finds has the source of service web find these hosts and no others, and the way to
// them be known.
func (l *tellers) finds(n *node, numbers ...int) {
	l.t.Helper()
	l.says("web", found(numbers...))
	n.tell(nil, hosts(numbers...)...)
}

func found(numbers ...int) discovery.Set {
	set := discovery.Set{Known: true}
	for _, addr := range hosts(numbers...) {
		set.Backends = append(set.Backends, config.Backend{Name: addr, Address: netip.MustParseAddr(addr), Weight: config.DefaultWeight})
	}
	slices.SortFunc(set.Backends, func(a, b config.Backend) int { return a.Address.Compare(b.Address) })
	return set
}

func (s *DiscoveryStatus) says(part string) bool { return s != nil && strings.Contains(s.Error, part) }

// names are the backends of a node's first service that are wanted.
func (n *node) names() string {
	n.t.Helper()
	var names []string
	for _, b := range n.status().Services[0].Backends {
		if b.Admin != AdminRemoved {
			names = append(names, strings.TrimPrefix(b.Name, "10.0.0."))
		}
	}
	return strings.Join(names, " ")
}

func (n *node) wantNames(want string) {
	n.t.Helper()
	if got := n.names(); got != want {
		n.t.Fatalf("service web has backends %s, want %s", cmp.Or(got, "none"), cmp.Or(want, "none"))
	}
	n.plane.sound()
}

// told returns the texts of events of a kind.
func (n *node) told(kind EventKind) string {
	n.t.Helper()
	var texts []string
	for i := uint64(1); i <= n.events.newest(); i++ {
		if e, _ := n.events.after(i - 1); e.Kind == kind {
			texts = append(texts, e.Text)
		}
	}
	return strings.Join(texts, "\n")
}

const byDNS = "    discover: {dns: {name: web.example.org}}\n"

// discovering runs a test with a node whose service lists one backend and finds others.
func discovering(t *testing.T, text string, test func(t *testing.T, n *node, l *tellers)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n, l := newNode(t, text), &tellers{t: t}
		n.start(l.parts)
		defer func() { n.stop() }()
		synctest.Wait()
		n.tell(nil, hosts(1)...)
		test(t, n, l)
	})
}

func TestWhatIsFoundServesBesideWhatIsListed(t *testing.T) {
	discovering(t, withBackends(byDNS, 1), func(t *testing.T, n *node, l *tellers) {
		if n.status().Serving {
			t.Error("the VIP is served before the source has said anything")
		}
		revision, saves := n.revision, n.disk.saves
		l.finds(n, 2, 3)
		n.wantNames("1 2 3")
		if owners := n.plane.owners(0); !n.status().Serving || !slices.Contains(owners, n.plane.idOf("web/10.0.0.3")) {
			t.Error("what was found does not serve")
		}
		if n.revision != revision || n.disk.saves != saves || len(n.cfg.Services[0].Backends) != 1 || n.drift() != 0 {
			t.Errorf("revision %d, %d saves, %d backends in the configuration, drift %d", n.revision, n.disk.saves, len(n.cfg.Services[0].Backends), n.drift())
		}
		l.finds(n, 1, 3, 4) // one of them listed as well
		n.wantNames("1 3 4")
		if text := n.told(EventDiscovery); !strings.Contains(text, "came: 10.0.0.4; went: 10.0.0.2") {
			t.Errorf("events say %s", text)
		}
		for name, is := range map[string]bool{"web/10.0.0.1": false, "web/10.0.0.4": true} {
			if got := n.backend(name).Found; got != is {
				t.Errorf("status says of %s that it was found: %v", name, got)
			}
		}
	})
}

func TestWhatWasFoundAndIsListedNoMoreStays(t *testing.T) {
	discovering(t, withBackends(byDNS, 1, 2), func(t *testing.T, n *node, l *tellers) {
		l.finds(n, 2, 3)
		owners := n.plane.owners(0)
		n.mustApply(withBackends(byDNS, 1))
		n.wantNames("1 2 3")
		if !slices.Equal(owners, n.plane.owners(0)) {
			t.Error("slots moved")
		}
	})
}

func TestASourceThatFailsKeepsWhatItFound(t *testing.T) {
	discovering(t, withBackends(byDNS, 1), func(t *testing.T, n *node, l *tellers) {
		l.says("web", discovery.Set{Err: errors.New("no answer in time")})
		n.wantNames("1")
		if !n.status().Serving {
			t.Error("the VIP waits for a source that fails")
		}
		l.finds(n, 2, 3)
		failed := found(2, 3)
		failed.Err = errors.New("the answer is SERVFAIL")
		l.says("web", failed)
		n.wantNames("1 2 3")
		if d := n.status().Services[0].Discovery; !d.says("SERVFAIL") || d.Failing == nil || !d.Known || d.Found != 2 || d.Source != "dns A web.example.org" {
			t.Errorf("status says %+v", d)
		}
		l.says("web", found(2, 3))
		if d := n.status().Services[0].Discovery; d.Error != "" || d.Failing != nil {
			t.Errorf("once it answers again status says %+v", d)
		}
		if text := n.told(EventDiscovery); !strings.Contains(text, "SERVFAIL: the 2 backends") || !strings.Contains(text, "found again") {
			t.Errorf("events say %s", text)
		}
	})
}

func TestWhatIsFoundNoMoreKeepsItsFlows(t *testing.T) {
	discovering(t, withBackends(byDNS, 1), func(t *testing.T, n *node, l *tellers) {
		l.finds(n, 2)
		id := n.plane.idOf("web/10.0.0.2")
		l.finds(n)
		n.wantNames("1")
		if row := n.plane.rows[id]; !row.Up || row.Accepts || slices.Contains(n.plane.owners(0), id) {
			t.Errorf("its row says up %v, accepts %v", row.Up, row.Accepts)
		}
		if n.plane.transitions(0) == 0 {
			t.Error("its flows are forgotten")
		}
	})
}

func TestAfterARestartWhatWasFoundServesUntilTheSourceSpeaks(t *testing.T) {
	discovering(t, withBackends(byDNS, 1), func(t *testing.T, n *node, l *tellers) {
		l.finds(n, 2, 3)
		owners, id := n.plane.owners(0), n.plane.idOf("web/10.0.0.3")
		if _, err := n.Drain(t.Context(), Edit{}, "web", "10.0.0.2", DrainOptions{}); err != nil {
			t.Fatal(err)
		}
		n.stop()
		n.start(l.parts)
		synctest.Wait()
		n.tell(nil, hosts(1, 2, 3)...)
		n.wantNames("1 2 3")
		l.says("web", discovery.Set{Err: errors.New("no answer in time")})
		n.wantNames("1 2 3")
		if n.plane.idOf("web/10.0.0.3") != id || n.backend("web/10.0.0.2").Admin == AdminNone {
			t.Error("it is another backend, or out of its drain")
		}
		l.says("web", found(2, 3))
		if text := n.told(EventDiscovery); strings.Contains(text, "came") || strings.Contains(text, "went") {
			t.Errorf("nothing came, and events say %s", text)
		}
		l.says("web", found(3))
		n.wantNames("1 3")
		if _, err := n.Undrain(t.Context(), Edit{}, "web", "10.0.0.2"); err == nil {
			t.Error("what went is still there")
		}
		l.finds(n, 2, 3)
		if n.backend("web/10.0.0.2").Admin == AdminNone {
			t.Error("what came back is out of its drain")
		}
		if _, err := n.Undrain(t.Context(), Edit{}, "web", "10.0.0.2"); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(owners, n.plane.owners(0)) {
			t.Error("the former table did not come back")
		}
	})
}

func TestAnOrderHoldsForTheNameAtAnotherAddress(t *testing.T) {
	discovering(t, withBackends(byDNS, 1), func(t *testing.T, n *node, l *tellers) {
		set := found(2)
		set.Backends[0].Name = "a.example.org"
		l.says("web", set)
		if _, err := n.Disable(t.Context(), Edit{}, "web", "a.example.org", true); err != nil {
			t.Fatal(err)
		}
		set = found(3)
		set.Backends[0].Name = "a.example.org"
		l.says("web", set)
		n.tell(nil, hosts(3)...)
		if b := n.backend("web/a.example.org"); b.Address != "10.0.0.3" || b.Admin != AdminDisabled {
			t.Errorf("it is %+v", b)
		}
		if !slices.ContainsFunc(n.disk.state.Backends, func(b state.Backend) bool { return b.Address == "10.0.0.3" }) {
			t.Error("the order is not on the disk")
		}
	})
}

func TestWhatDoesNotFitIsToldAndTriedAgain(t *testing.T) {
	text := "limits: {backends: 5}\n" + withBackends(byDNS, 1) +
		"  - {name: other, vip: 192.0.2.2, port: 80, forward: l2, discover: {dns: {name: other.example.org}}}\n"
	discovering(t, text, func(t *testing.T, n *node, l *tellers) {
		l.finds(n, 2, 3)
		l.says("other", found(2, 3, 4))
		n.wantNames("1 2 3")
		other := n.status().Services[1]
		if len(other.Backends) != 0 || !other.Discovery.says("limits.backends") {
			t.Errorf("the other service has %d backends, and says %+v", len(other.Backends), other.Discovery)
		}
		if strings.Count(n.told(EventDiscovery), "are not used") != 1 {
			t.Errorf("events say %s", n.told(EventDiscovery))
		}
		l.finds(n, 2)
		sleep(3*n.cfg.Flows.Idle, n) // as long as the number of what went is out of use
		if other = n.status().Services[1]; len(other.Backends) != 3 || other.Discovery.Error != "" {
			t.Errorf("once it fits the other service has %d backends, and says %+v", len(other.Backends), other.Discovery)
		}
	})
}

func TestWhatCannotBeWrittenIsTakenBackAndTriedAgain(t *testing.T) {
	discovering(t, withBackends(byDNS, 1), func(t *testing.T, n *node, l *tellers) {
		l.finds(n, 2)
		owners := n.plane.owners(0)
		n.plane.fails = func(what string) error {
			if what == "name backend 3" {
				return errRefused
			}
			return nil
		}
		l.says("web", found(3))
		n.wantNames("1 2")
		if !slices.Equal(owners, n.plane.owners(0)) || !n.status().Services[0].Discovery.says("refused by the test") {
			t.Errorf("it says %+v", n.status().Services[0].Discovery)
		}
		n.plane.fails = nil
		sleep(2*refusedPause, n)
		n.wantNames("1 3")
	})
}

func TestSourcesFollowTheirSettings(t *testing.T) {
	discovering(t, withBackends(byDNS, 1), func(t *testing.T, n *node, l *tellers) {
		l.finds(n, 2)
		first := l.of("web")
		n.mustApply(withBackends("    panic: 10\n"+byDNS, 1, 3))
		if l.of("web") != first {
			t.Error("another source for other settings than those of discovery")
		}
		n.mustApply(withBackends("    discover: {dns: {name: new.example.org}}\n", 1))
		<-first.ended
		n.wantNames("1 2") // until the other source has spoken
		l.finds(n, 4)
		n.wantNames("1 4")
		last := l.of("web")
		n.mustApply(withBackends("", 1))
		<-last.ended
		n.wantNames("1")
	})
}

func TestAnApplyThatIsTakenBackKeepsWhatWasFound(t *testing.T) {
	discovering(t, withBackends(byDNS, 1), func(t *testing.T, n *node, l *tellers) {
		l.finds(n, 2)
		owners := n.plane.owners(0)
		n.plane.fails = func(what string) error {
			if strings.HasPrefix(what, "moves of") && len(n.cfg.Services[0].Backends) == 2 {
				return errRefused
			}
			return nil
		}
		if _, err := n.apply(withBackends(byDNS, 1, 3)); err == nil {
			t.Log("the change had no slot to move")
		}
		n.tell(nil, hosts(3)...)
		n.plane.fails = nil
		n.mustApply(withBackends(byDNS, 1))
		n.wantNames("1 2")
		if !slices.Equal(owners, n.plane.owners(0)) {
			t.Error("slots moved")
		}
	})
}

func TestReplicasServeFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, withBackends("    discover: {replicas: {address: \"10.0.0.{n}\", first: 2, count: 2}}\n", 1))
		n.start()
		defer n.stop()
		n.tell(nil, hosts(1, 2, 3)...)
		n.wantNames("1 2 3")
		if !n.status().Serving {
			t.Error("it does not serve")
		}
		n.mustApply(withBackends("    discover: {replicas: {address: \"10.0.0.{n}\", first: 3, count: 2}}\n", 1))
		n.wantNames("1 3 4")
	})
}

func TestAServiceThatMayBeEmptyBecomesEmpty(t *testing.T) {
	text := strings.TrimSuffix(withBackends("    discover: {dns: {name: web.example.org}, allow_empty: true}\n"), "    backends:\n")
	discovering(t, text, func(t *testing.T, n *node, l *tellers) {
		l.finds(n, 2, 3)
		owners := n.plane.owners(0)
		l.finds(n)
		n.wantNames("")
		if !n.status().Serving || slices.ContainsFunc(n.plane.owners(0), func(id maps.BackendID) bool { return id != 0 }) {
			t.Error("slots have owners")
		}
		if n.plane.transitions(0) == 0 {
			t.Error("the flows that there are lost their backends")
		}
		l.finds(n, 2, 3)
		if !slices.Equal(owners, n.plane.owners(0)) {
			t.Error("the former table did not come back")
		}
	})
}
