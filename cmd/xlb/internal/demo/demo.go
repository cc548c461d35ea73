// Package demo shows xlb at work on one machine: it builds a lab of network
// namespaces, runs xlb in it, sends real HTTP requests through the virtual IP,
// kills a backend and brings it back, and checks what it saw against what xlb
// promises. Nothing of it is left behind.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// Names of the phases, in their order.
const (
	Spread    = "spread"
	Kill      = "kill"
	WithoutIt = "without it"
	Restored  = "restored"
)

// Phases are the names of all phases, in their order.
var Phases = []string{Spread, Kill, WithoutIt, Restored}

// Options describe a demonstration.
type Options struct {
	Backends int             // 2 to MaxBackends
	Requests int             // of every phase but Kill, MinRequests to MaxRequests, each from a source of its own
	XLB      testenv.Program // how to start xlb
}

// Bounds and defaults of the options.
const (
	DefaultBackends = 3
	MaxBackends     = 12 // as many as a terminal of 24 lines has room for
	// DefaultRequests is where chance alone keeps the shares of three backends
	// within 5 %, see Tolerance.
	DefaultRequests = 7200
	MinRequests     = 100
	MaxRequests     = 1_000_000
)

func (o Options) validate() error {
	if o.Backends < 2 || o.Backends > MaxBackends {
		return fmt.Errorf("%d backends: choose 2 to %d", o.Backends, MaxBackends)
	}
	if o.Requests < MinRequests || o.Requests > MaxRequests {
		return fmt.Errorf("%d requests: choose %d to %d", o.Requests, MinRequests, MaxRequests)
	}
	return nil
}

// Scene is what a demonstration takes place in.
type Scene struct {
	VIP       netip.AddrPort
	Backends  []string
	Sources   int
	Tolerance float64 // see the function
}

// Progress is how far a phase is. The slices follow Scene.Backends.
type Progress struct {
	Phase      string
	Doing      string // what is going on, in a few words
	Requests   int
	Failed     int
	PerBackend []int
	States     []string // what xlb says of each backend, see control.BackendStatus
}

// Observer is told how a demonstration goes, one call at a time.
type Observer interface {
	Begin(Scene)
	Update(Progress) // several times a second while a phase runs
	End(Phase)
}

// How long things may take before the demonstration gives up.
const (
	startTime   = 10 * time.Second // of xlb, until it serves
	noticeTime  = 15 * time.Second // of a health check, until it noticed
	updateEvery = 100 * time.Millisecond
)

// show is a demonstration while it runs.
type show struct {
	lab      *testenv.Lab
	node     *testenv.Node
	clients  *clients
	observer Observer
	scene    Scene
	victim   int // backend that is killed

	baseline []int // backend that each source met in the first phase
	states   []string
}

// Run plays all phases and returns what happened. The result says whether xlb
// kept its promises; the error is for what kept the demonstration from taking
// place, and for the end of ctx. Either way everything is removed again.
func Run(ctx context.Context, o Options, observer Observer) (Result, error) {
	if err := o.validate(); err != nil {
		return Result{}, err
	}
	began, cpu := time.Now(), cpuTime()
	phases, path, err := play(ctx, o, observer)
	if err != nil {
		return Result{}, err
	}
	// Only now, when xlb's process has ended, is its CPU time known.
	path.setCPU(cpuTime() - cpu)
	return newResult(phases, path, Tolerance(o.Requests, o.Backends), time.Since(began)), nil
}

// play builds the lab, plays the phases in it, and takes it down.
func play(ctx context.Context, o Options, observer Observer) (phases []Phase, path DataPath, err error) {
	keep := func(closing error) { err = errors.Join(err, closing) }
	lab, err := buildLab(o.Backends)
	if err != nil {
		return nil, path, err
	}
	defer func() { keep(lab.Close()) }()
	stats, err := enableStats()
	if err != nil {
		return nil, path, err
	}
	defer func() { keep(stats.Close()) }()
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	node, err := testenv.StartNode(starting, lab.LB, o.XLB, nodeConfig(lab))
	if err != nil {
		return nil, path, err
	}
	defer func() { keep(node.Close()) }()

	s := newShow(lab, node, o.Requests, observer)
	observer.Begin(s.scene)
	for _, phase := range []func(context.Context) (Phase, error){s.spread, s.kill, s.withoutIt, s.restored} {
		p, err := phase(ctx)
		if err != nil {
			return nil, path, err
		}
		observer.End(p)
		phases = append(phases, p)
	}
	path, err = readDataPath(lab.LB, lab.LBInterfaces[0])
	return phases, path, err
}

func newShow(lab *testenv.Lab, node *testenv.Node, requests int, observer Observer) *show {
	s := &show{
		lab: lab, node: node, observer: observer,
		scene: Scene{
			VIP:       netip.AddrPortFrom(lab.VIPs[0], lab.Port),
			Sources:   requests,
			Tolerance: Tolerance(requests, len(lab.Backends)),
		},
		victim: len(lab.Backends) / 2,
		states: make([]string, len(lab.Backends)),
	}
	for _, b := range lab.Backends {
		s.scene.Backends = append(s.scene.Backends, b.Name())
	}
	s.clients = &clients{
		sources: testenv.Sources(requests),
		ask: func(ctx context.Context, from netip.AddrPort) (string, error) {
			return lab.Get(ctx, s.scene.VIP, from)
		},
	}
	return s
}

// spread has every source ask once, and remembers who answered it.
func (s *show) spread(ctx context.Context) (Phase, error) {
	t := newTally(s.scene, nil)
	err := s.watch(ctx, Spread, t, "every client asks once", func(ctx context.Context) error {
		return s.clients.once(ctx, t)
	})
	if err != nil {
		return Phase{}, err
	}
	s.baseline = t.met
	p := t.phase(Spread, nobody)
	p.measureShares(s.scene.Backends, nobody)
	p.Summary = fmt.Sprintf("%d of %d failed; shares within %.1f %% of even (allowed: %g %%)",
		p.Failed, p.Requests, *p.OffPercent, s.scene.Tolerance)
	return p, nil
}

// kill ends a backend's servers amid requests, which go on until xlb's health
// check has found it, and a while longer.
func (s *show) kill(ctx context.Context) (Phase, error) {
	t, name := newTally(s.scene, s.baseline), s.scene.Backends[s.victim]
	var killed, found time.Time
	err := s.watch(ctx, Kill, t, name+" is killed amid requests", func(ctx context.Context) error {
		return s.clients.meanwhile(ctx, t, func(ctx context.Context) error {
			if err := t.await(ctx, s.scene.Sources/8); err != nil {
				return err
			}
			killed = time.Now()
			s.lab.Backends[s.victim].Kill()
			if err := s.awaitState(ctx, control.StateDown); err != nil {
				return err
			}
			found = time.Now()
			return t.await(ctx, s.scene.Sources/8)
		})
	})
	if err != nil {
		return Phase{}, err
	}
	t.forgive(killed, found)
	p := t.phase(Kill, s.victim)
	p.setDetect(found.Sub(killed))
	p.Summary = fmt.Sprintf("%s killed: found in %.0f ms, %d failed until then, %d after",
		name, *p.DetectMs, p.FailedInWindow, p.Failed-p.FailedInWindow)
	return p, nil
}

// withoutIt has every source ask once while the backend is down.
func (s *show) withoutIt(ctx context.Context) (Phase, error) {
	t, name := newTally(s.scene, s.baseline), s.scene.Backends[s.victim]
	err := s.watch(ctx, WithoutIt, t, "every client asks again", func(ctx context.Context) error {
		return s.clients.once(ctx, t)
	})
	if err != nil {
		return Phase{}, err
	}
	p := t.phase(WithoutIt, s.victim)
	p.measureShares(s.scene.Backends, s.victim)
	p.Summary = fmt.Sprintf("%d failed; the %d clients of %s moved, %d others did", p.Failed, p.Moved, name, p.MovedNeedlessly)
	return p, nil
}

// restored brings the backend back, and has every source ask once when xlb knows.
func (s *show) restored(ctx context.Context) (Phase, error) {
	t, name := newTally(s.scene, s.baseline), s.scene.Backends[s.victim]
	var detect time.Duration
	err := s.watch(ctx, Restored, t, name+" is back, every client asks again", func(ctx context.Context) error {
		back := time.Now()
		if err := s.lab.Backends[s.victim].Restore(); err != nil {
			return err
		}
		if err := s.awaitState(ctx, control.StateUp); err != nil {
			return err
		}
		detect = time.Since(back)
		return s.clients.once(ctx, t)
	})
	if err != nil {
		return Phase{}, err
	}
	p := t.phase(Restored, nobody)
	p.measureShares(s.scene.Backends, nobody)
	p.setDetect(detect)
	where := "every client where it was"
	if p.MovedNeedlessly > 0 {
		where = fmt.Sprintf("%d clients elsewhere", p.MovedNeedlessly)
	}
	p.Summary = fmt.Sprintf("%s back after %.0f ms; %d failed, %s", name, *p.DetectMs, p.Failed, where)
	return p, nil
}

var errNotYet = errors.New("not yet")

// awaitState waits until xlb says that the victim is in a state, and its slots
// have moved accordingly.
func (s *show) awaitState(ctx context.Context, state string) error {
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	name := s.scene.Backends[s.victim]
	return s.node.WaitFor(ctx, "xlb to find "+name+" "+state, func(status control.Status) error {
		b := status.Services[0].Backends[s.victim]
		if b.State != state || (b.Slots > 0) != (state == control.StateUp) {
			return errNotYet
		}
		return nil
	})
}

// watch does a phase's work and tells the observer about it meanwhile.
func (s *show) watch(ctx context.Context, name string, t *tally, doing string, work func(context.Context) error) error {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(updateEvery)
		defer tick.Stop()
		for {
			s.update(ctx, name, doing, t)
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	err := work(ctx)
	close(stop)
	<-done
	s.update(ctx, name, doing, t)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (s *show) update(ctx context.Context, name, doing string, t *tally) {
	// Without an answer the former states stay; what needs xlb to answer asks by itself.
	if status, err := s.node.Status(ctx); err == nil {
		for i, b := range status.Services[0].Backends {
			s.states[i] = b.State
		}
	}
	p := t.progress()
	p.Phase, p.Doing, p.States = name, doing, s.states
	s.observer.Update(p)
}
