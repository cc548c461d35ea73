package control

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/discovery"
	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/control/state"
	"github.com/xlb-project/xlb/maps"
)

// Parts are what an Engine works with. The caller runs and closes them, after
// the engine has ended.
type Parts struct {
	Dataplane  Dataplane
	Checker    Checker
	Neighbours Neighbours
	Interfaces []neighbour.Link // in the order of their egress numbers
	Log        *slog.Logger

	// Plane has the tables and replaces the program at run time; without it,
	// Dataplane are the tables, and changes that need another program are refused.
	Plane Plane
	// Store keeps the state over restarts; without it, it is forgotten.
	Store interface{ Save(state.State) error }
	// ReadFile reads the configuration file again; without it, it does not change.
	ReadFile func() (*config.Config, error)
	// Preflight holds a configuration against the machine and returns its
	// interfaces; without it, nothing but the configuration is looked at.
	Preflight func(*config.Config) ([]neighbour.Link, error)
	// ProbeMark returns the mark of sockets whose packets take a backend's own way, so
	// that it can be probed at the VIP. Without it, or where it returns 0, addresses
	// are probed.
	ProbeMark func(maps.BackendID) uint32
	// Finder returns what looks for the backends of a service with discovery, of which
	// it finds so many at most; without it, discovery.New does.
	Finder func(s *config.Service, limit int) discovery.Source
	// Failpoint is called before each step of a change. Tests fail there; nil in production.
	Failpoint func(step string) error
}

const (
	// settleTime bounds how long VIPs wait for the first verdict on every backend.
	settleTime = 3 * time.Second
	// tickTime is how often what happens by itself is looked at.
	tickTime = time.Second
)

// Engine owns a node's services. All its state belongs to the goroutine in Run.
type Engine struct {
	Parts
	desired
	finding
	epoch   time.Time // of now
	started time.Time

	services []*service // as the configuration lists them
	gone     []*service // no longer wanted, their numbers not yet given back
	numbers  *numbers
	homes    homes
	byTarget map[health.TargetID]*backend
	byAddr   map[netip.Addr][]*backend
	asked    map[netip.Addr]bool // addresses whose ways are followed
	egress   map[int]uint32      // interface index -> egress number
	options  maps.PlaneOptions   // what is loaded
	targets  map[health.TargetID]bool

	pending   bool             // a service waits for its backends' first verdicts
	settles   time.Duration    // when it no longer does
	published *[]maps.Listener // nil: not known
	listed    bool             // they are those that should be
	deny      writtenRules
	adopted   int             // services of a former daemon
	differs   map[string]bool // objects whose configuration differs from the file
	overruns  uint64          // of news from the kernel, as last seen
	broken    string          // why the data path is not as it should be, for the log
	unmended  string          // why an interface that was away is without a program, for the log
	sweeper   sweeper
	unwatched []*service          // changed since checks and ways were asked for
	orphans   []maps.BackendEntry // found without a service
	rerouted  []*backend          // whose way has changed since the last round
	moved     int                 // slots since they were last told about

	events   *eventLog
	readers  readers
	requests chan func()
	ended    chan struct{}
}

// New prepares an engine for what is desired; Run starts it. It returns an error
// that names the service if its slot table cannot be computed, or has no room.
func New(want Desired, parts Parts) (*Engine, error) {
	cfg := want.Config
	e := &Engine{
		Parts:    parts,
		desired:  newDesired(want),
		finding:  newFinding(),
		epoch:    time.Now(),
		started:  time.Now(),
		numbers:  newNumbers(cfg.Limits.Services, cfg.Limits.Backends, cfg.Flows.Idle),
		homes:    homes{},
		byTarget: map[health.TargetID]*backend{},
		byAddr:   map[netip.Addr][]*backend{},
		asked:    map[netip.Addr]bool{},
		targets:  map[health.TargetID]bool{},
		options:  PlaneOptions(cfg),
		events:   &eventLog{},
		requests: make(chan func()),
		ended:    make(chan struct{}),
	}
	e.egress = places(parts.Interfaces)
	if e.Plane != nil {
		e.Dataplane, e.egress = e.Plane.Tables(), e.Plane.Egress()
	}
	e.adopt()
	d, err := e.draft(cfg)
	if err != nil {
		return nil, err
	}
	e.commit(d)
	e.restoreAdmin(want.Backends)
	e.seek()
	e.noteDrift()
	e.wait()
	return e, nil
}

// number takes in by which numbers rows name the interfaces.
func (e *Engine) number(links []neighbour.Link, egress map[int]uint32) {
	e.Interfaces, e.egress = links, egress
	for _, s := range e.services {
		for _, b := range s.backends {
			e.rerouteAnew(b)
		}
	}
}

// places numbers interfaces by their places, where there is no program to do it.
func places(links []neighbour.Link) map[int]uint32 {
	egress := map[int]uint32{}
	for number, l := range links {
		egress[l.Index] = uint32(number)
	}
	return egress
}

// Run keeps the data path in step with what is desired, with health and next
// hops, until ctx ends, which is no error. It is called once. What the data path
// does goes on when it has ended.
func (e *Engine) Run(ctx context.Context) error {
	defer e.readers.wait()
	defer close(e.ended)
	if err := e.start(); err != nil {
		return err
	}
	defer e.runSources(ctx)()
	ticker := time.NewTicker(tickTime)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.Checker.Ready():
			e.healthChanged(e.Checker.Changes())
		case updates := <-e.Neighbours.Updates():
			for _, u := range updates {
				e.hopChanged(u)
			}
		case <-e.finds.ready:
			e.hear()
		case f := <-e.requests:
			f()
		case <-ticker.C:
			e.tick()
		}
		e.follow()
	}
}

// start brings the data path to what is desired, and asks for what has to be
// known before packets can be forwarded.
func (e *Engine) start() error {
	for _, w := range e.notes {
		e.warn(EventState, nil, nil, "%s", w)
	}
	if err := e.resume(); err != nil {
		return err
	}
	if err := e.bringUp(); err != nil {
		return err
	}
	if e.Plane != nil {
		if err := e.Plane.Publish(); err != nil {
			return err
		}
	}
	e.tellStart()
	e.cleanUp()
	if err := e.save(nil); err != nil {
		e.isBroken(err)
	}
	return e.watch()
}

// resume notes that one more daemon makes the change that a former one began.
func (e *Engine) resume() error {
	if e.begun == nil || e.Store == nil {
		return nil
	}
	journal := *e.begun.Journal
	journal.Attempts++
	e.begun.Journal = &journal
	return e.Store.Save(*e.begun)
}

func (e *Engine) tellStart() {
	if e.adopted > 0 {
		e.tell(EventAdopt, nil, nil, "took over what runs: %d services, with their counters, slots and flows", e.adopted)
	}
	if e.begun != nil {
		e.tell(EventApply, nil, nil, "finished the change to revision %d by %s that a former daemon began", e.revision, e.begun.Journal.Actor)
	}
}

// bringUp writes all that can be written at the start.
func (e *Engine) bringUp() error {
	e.startTick()
	e.forgetStrangers()
	if err := e.clearOrphans(); err != nil {
		return err
	}
	return e.reconcile()
}

// follow acts on what has become known. What cannot be written is tried again
// with the next tick.
func (e *Engine) follow() {
	e.settle()
	for _, s := range e.services {
		if err := e.converge(s); err != nil {
			e.isBroken(err)
		}
	}
	if err := e.publishListeners(); err != nil {
		e.isBroken(err)
	}
	for _, b := range e.rerouted { // probes take the way that the row says
		if err := e.check(b); err != nil {
			e.isBroken(err)
		}
	}
	e.rerouted = nil
	e.tellMoved()
}

// isBroken notes that the data path is not as it should be.
func (e *Engine) isBroken(err error) {
	if e.broken != err.Error() {
		e.broken = err.Error()
		e.fail(EventState, nil, err)
	}
}

// do runs f in the engine's goroutine.
func (e *Engine) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case e.requests <- func() { f(); close(done) }:
		<-done
		return nil
	case <-e.ended:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}
