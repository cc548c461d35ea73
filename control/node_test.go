package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing/synctest"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/control/state"
	"github.com/xlb-project/xlb/maps"
)

// news is a checker and a watcher that say what they are told to.
type news struct {
	ready   chan struct{}
	hops    chan []neighbour.Update
	mu      sync.Mutex
	changes []health.Change
	targets map[health.TargetID]health.Check
	watched []netip.Addr
	hurried []health.TargetID
}

func newNews() *news {
	return &news{ready: make(chan struct{}, 1), hops: make(chan []neighbour.Update), targets: map[health.TargetID]health.Check{}}
}

func (n *news) Set(id health.TargetID, c health.Check) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.targets[id] = c
	return nil
}

func (n *news) Remove(id health.TargetID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.targets, id)
}

func (n *news) Changes() []health.Change {
	n.mu.Lock()
	defer n.mu.Unlock()
	changes := n.changes
	n.changes = nil
	return changes
}

func (n *news) Watch(addrs []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watched = addrs
}

func (n *news) Hurry(id health.TargetID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hurried = append(n.hurried, id)
}

func (n *news) Ready() <-chan struct{}                               { return n.ready }
func (n *news) Status(health.TargetID) (s health.Status, known bool) { return s, false }
func (n *news) Updates() <-chan []neighbour.Update                   { return n.hops }
func (n *news) Stats() (s neighbour.Stats)                           { return s }

// disk is a store that outlives engines.
type disk struct {
	state state.State
	err   error
	saves int
}

func (d *disk) Save(s state.State) error {
	if d.err == nil {
		d.state = s
		d.saves++
	}
	return d.err
}

// node is an engine that runs, with all around it.
type node struct {
	*Engine
	t     tb
	plane *plane
	news  *news
	disk  *disk
	file  string // its configuration
	down  map[string]bool
	stop  func()
}

func parse(t tb, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// newNode makes a node that does not run.
func newNode(t tb, text string) *node {
	return &node{t: t, plane: newPlane(t), disk: &disk{}, file: text, down: map[string]bool{}, stop: func() {}}
}

// start runs an engine over what the node's plane and disk hold, until the test
// ends or stop is called.
func (n *node) start(change ...func(*Parts)) {
	n.t.Helper()
	if err := n.tryStart(change...); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) tryStart(change ...func(*Parts)) error {
	n.t.Helper()
	n.news = newNews()
	parts := Parts{
		Dataplane: n.plane, Checker: n.news, Neighbours: n.news, Interfaces: []neighbour.Link{{Name: "eth0", Index: 7}},
		Log: slog.New(slog.DiscardHandler), Store: n.disk,
		ReadFile: func() (*config.Config, error) { return config.Parse("test.yaml", []byte(n.file)) },
	}
	for _, c := range change {
		c(&parts)
	}
	e, err := New(Recover(parse(n.t, n.file), n.disk.state, nil), parts)
	if err != nil {
		return err
	}
	n.Engine = e
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	once := sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			n.t.Error(err)
		}
	})
	n.stop = once
	if c, ok := n.t.(interface{ Cleanup(func()) }); ok {
		c.Cleanup(once)
	}
	n.sync()
	return nil
}

// tell has the engine act on next hops and returns when it has: with an error
// they are lost.
func (n *node) tell(err error, addrs ...string) {
	n.t.Helper()
	var updates []neighbour.Update
	for _, a := range addrs {
		u := neighbour.Update{Addr: netip.MustParseAddr(a), Err: err}
		if err == nil {
			u.Hop = neighbour.NextHop{Interface: "eth0", Index: 7, MTU: 1500, Source: netip.MustParseAddr("10.0.0.254")}
		}
		updates = append(updates, u)
	}
	n.news.hops <- updates
	n.status() // answered only after the engine has acted
}

// health has the engine act on verdicts: "web/10.0.0.1".
func (n *node) health(good bool, targets ...string) {
	n.t.Helper()
	n.news.mu.Lock()
	for _, id := range targets {
		reason := "200 OK"
		if !good {
			reason = "connection refused"
		}
		n.news.changes = append(n.news.changes, health.Change{ID: health.TargetID(id), Healthy: good, Reason: reason})
	}
	n.news.mu.Unlock()
	n.news.ready <- struct{}{}
	for taken := false; !taken; {
		n.status()
		n.news.mu.Lock()
		taken = len(n.news.changes) == 0
		n.news.mu.Unlock()
	}
	n.status() // answered in a later round than that which took them
}

func (n *node) status() Status {
	n.t.Helper()
	s, err := n.Engine.Status(context.Background())
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// backend is a backend's status by "service/name".
func (n *node) backend(name string) BackendStatus {
	n.t.Helper()
	for _, s := range n.status().Services {
		for _, b := range s.Backends {
			if s.Name+"/"+b.Name == name {
				return b
			}
		}
	}
	n.t.Fatalf("no backend %s", name)
	return BackendStatus{}
}

// apply applies a configuration as an operator would.
func (n *node) apply(text string) (Plan, error) {
	n.t.Helper()
	return n.Apply(context.Background(), Request{Config: parse(n.t, text), Actor: "root", Source: "test"})
}

func (n *node) mustApply(text string) Plan {
	n.t.Helper()
	p, err := n.apply(text)
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

// withBackends is a configuration of one service, checked, with backends at
// 10.0.0.x.
func withBackends(settings string, hosts ...int) string {
	text := "interfaces: [eth0]\nservices:\n  - name: web\n    vip: 192.0.2.1\n    port: 80\n    forward: l2\n" + settings + "    backends:\n"
	for _, h := range hosts {
		text += fmt.Sprintf("      - {address: 10.0.0.%d}\n", h)
	}
	return text
}

func hosts(numbers ...int) []string {
	out := make([]string, len(numbers))
	for i, h := range numbers {
		out[i] = fmt.Sprintf("10.0.0.%d", h)
	}
	return out
}

var errNoAnswer = errors.New("no answer")

type netipAddr = netip.Addr

func parseAddr(a string) netip.Addr { return netip.MustParseAddr(a) }

type mapsSlot = maps.Slot

// sync waits until the engine has done what it is at. What a test reads of the
// plane afterwards, and wrote before, is ordered for the race detector by it alone.
func (n *node) sync() {
	if n.Engine != nil {
		_ = n.do(context.Background(), func() {}) // it may have ended
	}
}

// sleep lets a bubble's time pass for engines.
func sleep(d time.Duration, nodes ...*node) {
	for _, n := range nodes {
		n.sync()
	}
	time.Sleep(d)
	synctest.Wait()
}
