package control

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/maps"
)

// Dataplane is what the engine writes to; maps.Tables is one.
type Dataplane interface {
	SetRules(maps.ServiceID, []maps.Rule) error
	SetServerIDs(maps.ServiceID, maps.ServerIDLengths, []maps.ServerID) error
	SetService(maps.ServiceID, maps.Service) error
	SetListeners([]maps.Listener) error
	SetBackend(maps.BackendID, maps.Backend) error
	SetSlotTable(maps.ServiceID, []maps.Slot) error
	MoveSlots(maps.ServiceID, []maps.Move) error
	ReasonCounter(maps.Reason) maps.Counter
	BackendCounter(maps.BackendID) maps.Counter
}

// Checker tells which backends are fit to serve; *health.Checker is one.
type Checker interface {
	Set(health.TargetID, health.Check) error
	Ready() <-chan struct{}
	Changes() []health.Change
	Status(health.TargetID) (health.Status, bool)
}

// Neighbours tells how packets leave for an address; *neighbour.Watcher is one.
type Neighbours interface {
	Watch([]netip.Addr)
	Updates() <-chan []neighbour.Update
}

// Parts are what an Engine works with. The caller runs and closes them, after
// the engine has ended.
type Parts struct {
	Dataplane  Dataplane
	Checker    Checker
	Neighbours Neighbours
	Interfaces []neighbour.Link // in the order of their egress numbers
	Log        *slog.Logger
}

// settleTime bounds how long VIPs wait for the first verdict on every backend.
const settleTime = 3 * time.Second

// Engine owns a node's services. All its state belongs to the goroutine in Run.
type Engine struct {
	Parts
	cfg *config.Config

	services []*service
	byTarget map[health.TargetID]*backend
	byAddr   map[netip.Addr][]*backend
	egress   map[int]uint32 // interface index -> egress number
	serving  bool           // listeners are published
	waited   bool           // settleTime is over

	requests chan func()
	ended    chan struct{}
}

// New prepares the services of a configuration; Run starts them. It returns an
// error that names the service if its slot table cannot be computed, or has no room.
func New(cfg *config.Config, parts Parts) (*Engine, error) {
	e := &Engine{
		Parts: parts, cfg: cfg,
		byTarget: map[health.TargetID]*backend{},
		byAddr:   map[netip.Addr][]*backend{},
		egress:   map[int]uint32{},
		requests: make(chan func()),
		ended:    make(chan struct{}),
	}
	for number, l := range parts.Interfaces {
		e.egress[l.Index] = uint32(number)
	}
	next, slots, homes := maps.BackendID(1), 0, homes{}
	for i := range cfg.Services {
		s, err := newService(maps.ServiceID(i), next, &cfg.Services[i], homes)
		if err != nil {
			return nil, fmt.Errorf("add service %s: %w", cfg.Services[i], err)
		}
		if slots += s.home.Size(); slots > cfg.Limits.Slots {
			return nil, fmt.Errorf("add service %s: up to here there are %d slots, and limits.slots is %d: raise limits.slots, or give services fewer slots",
				cfg.Services[i], slots, cfg.Limits.Slots)
		}
		e.services = append(e.services, s)
		for _, b := range s.backends {
			e.byTarget[b.target()] = b
			e.byAddr[b.cfg.Address] = append(e.byAddr[b.cfg.Address], b)
			next = b.id + 1
		}
	}
	return e, nil
}

// Run keeps the data path in step with health and next hops until ctx ends,
// which is no error. It is called once.
func (e *Engine) Run(ctx context.Context) error {
	defer close(e.ended)
	if err := e.start(); err != nil {
		return err
	}
	settle := time.NewTimer(settleTime)
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.Checker.Ready():
			for _, c := range e.Checker.Changes() {
				e.healthChanged(c)
			}
		case updates := <-e.Neighbours.Updates():
			for _, u := range updates {
				e.hopChanged(u)
			}
		case f := <-e.requests:
			f()
		case <-settle.C:
			e.waited = true
		}
		if err := e.apply(); err != nil {
			return err
		}
	}
}

// start asks for all that has to be known before packets can be forwarded.
func (e *Engine) start() error {
	addrs := make([]netip.Addr, 0, len(e.byAddr))
	for a := range e.byAddr {
		addrs = append(addrs, a)
	}
	e.Neighbours.Watch(addrs)
	if err := e.fill(); err != nil {
		return err
	}
	for _, s := range e.services {
		if s.cfg.Health == nil {
			continue
		}
		for _, b := range s.backends {
			check, err := checkOf(e.cfg, s.cfg, b.cfg, health.Via{})
			if err != nil {
				return err
			}
			if err := e.Checker.Set(b.target(), check); err != nil {
				return fmt.Errorf("check %s: %w", b, err)
			}
		}
	}
	return nil
}

// fill writes what the configuration alone decides.
func (e *Engine) fill() error {
	if err := e.Dataplane.SetRules(maps.NodeRules, ruleList(e.cfg.Deny, false)); err != nil {
		return fmt.Errorf("set the node's deny list: %w", err)
	}
	for _, s := range e.services {
		if err := e.addService(s); err != nil {
			return fmt.Errorf("add service %s: %w", s.cfg, err)
		}
	}
	return nil
}

// addService writes what a service's settings refer to before the settings.
func (e *Engine) addService(s *service) error {
	settings := s.settings()
	if err := e.Dataplane.SetRules(s.id, s.rules()); err != nil {
		return err
	}
	if err := e.Dataplane.SetServerIDs(s.id, settings.QUIC, s.serverIDs()); err != nil {
		return err
	}
	return e.Dataplane.SetService(s.id, settings)
}

func (e *Engine) healthChanged(c health.Change) {
	b, ok := e.byTarget[c.ID]
	if !ok {
		return
	}
	was := b.health
	b.health = verdict{known: true, good: c.Healthy, reason: c.Reason, since: c.At}
	b.stale()
	e.logChange(b, "health", was, b.health)
}

func (e *Engine) hopChanged(u neighbour.Update) {
	now := time.Now()
	for _, b := range e.byAddr[u.Addr] {
		was := b.hop
		b.hop = verdict{known: true, good: u.Err == nil, since: now}
		b.next = maps.Backend{}
		if u.Err != nil {
			b.hop.reason = u.Err.Error()
		} else if row, err := e.row(b, u.Hop); err != nil {
			b.hop.good, b.hop.reason = false, err.Error()
		} else {
			b.next, b.hop.reason = row, describeHop(u.Hop)
		}
		if was.known && was.good == b.hop.good {
			b.hop.since = was.since
		}
		b.stale()
		e.logChange(b, "next hop", was, b.hop)
	}
}

// logChange tells about a backend's condition, an outage as a warning. That a
// backend is well from the start is no news: a large node has a hundred thousand.
func (e *Engine) logChange(b *backend, what string, was, is verdict) {
	if was.known == is.known && was.good == is.good && was.reason == is.reason {
		return
	}
	level, state := slog.LevelInfo, "good"
	switch {
	case !is.good:
		level, state = slog.LevelWarn, "bad"
	case !was.known:
		level = slog.LevelDebug
	}
	e.Log.Log(context.Background(), level, what+" is "+state, "service", b.service.cfg.Name, "backend", b.cfg.Name, "reason", is.reason)
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
