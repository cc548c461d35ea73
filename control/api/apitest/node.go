// Package apitest is a node in memory, for tests of the API and of the command
// line: it keeps a configuration and its revisions, forwards nothing, and does
// what it is told at once.
package apitest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
)

// Node is a node in memory. Its exported fields are set before it is used.
type Node struct {
	Clock func() time.Time // of events and states; nil: the wall clock
	Fail  error            // what every request is answered with, if not nil
	Flows int              // recorded flows of each backend

	mu       sync.Mutex
	file     *config.Config
	cfg      *config.Config
	revision uint64
	admin    map[string]*admin
	events   []control.Event
	lost     uint64
	news     chan struct{} // closed and replaced with each event
}

// admin is a backend's administrative state.
type admin struct {
	state string
	drain *control.Drain
}

// New returns a node that runs a configuration.
func New(cfg *config.Config) *Node {
	n := &Node{file: cfg, cfg: clone(cfg), revision: 1, admin: map[string]*admin{}, news: make(chan struct{})}
	n.tell(control.Event{Kind: control.EventServing, Text: fmt.Sprintf("serving %d services", len(cfg.Services)), Revision: 1})
	return n
}

// clone copies a configuration as deep as edits go.
func clone(cfg *config.Config) *config.Config {
	out := *cfg
	out.Services = slices.Clone(cfg.Services)
	for i := range out.Services {
		out.Services[i].Backends = slices.Clone(out.Services[i].Backends)
	}
	return &out
}

// Finish ends a drain as if its last flow had gone.
func (n *Node) Finish(service, backend string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.admin[service+"/"+backend] = &admin{state: control.AdminDrained}
	n.tell(control.Event{Kind: control.EventDrain, Service: service, Backend: backend, Text: "drained: no flow is left"})
}

// Tell makes something happen.
func (n *Node) Tell(e control.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell(e)
}

// Lose makes so many events happen that nobody learns of.
func (n *Node) Lose(count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost += uint64(count)
}

func (n *Node) now() time.Time {
	if n.Clock != nil {
		return n.Clock()
	}
	return time.Now()
}

func (n *Node) tell(e control.Event) {
	e.Seq = uint64(len(n.events)) + 1 + n.lost
	e.Time = n.now()
	n.events = append(n.events, e)
	close(n.news)
	n.news = make(chan struct{})
}

// Config returns what runs.
func (n *Node) Config(context.Context) (control.Effective, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return control.Effective{Config: clone(n.cfg), Revision: n.revision, File: n.file.File}, n.Fail
}

// Plan tells the difference, and of moved slots whatever comes to mind.
func (n *Node) Plan(_ context.Context, cfg *config.Config) (control.Plan, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.plan(n.cfg, cfg), n.Fail
}

// Drift compares with the file.
func (n *Node) Drift(context.Context) (control.Plan, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.plan(n.file, n.cfg), n.Fail
}

func (n *Node) plan(from, to *config.Config) control.Plan {
	p := control.Plan{Revision: n.revision, Changes: []control.Change{}, Services: []control.ServicePlan{}}
	touched := map[string]control.Action{}
	for _, c := range config.Diff(from, to) {
		p.Changes = append(p.Changes, c)
		kind, name, _ := strings.Cut(c.Object, " ")
		name, _, _ = strings.Cut(name, "/")
		switch {
		case kind == "service" && c.Field == "":
			touched[name] = c.Action
		case kind != "node" && touched[name] == "":
			touched[name] = control.ActionChange
		}
	}
	for _, name := range slices.Sorted(maps.Keys(touched)) {
		p.Services = append(p.Services, control.ServicePlan{
			Name: name, Action: touched[name], Slots: 1009, SlotsMoved: 101, ShareMoved: 0.1, FlowsMoved: n.Flows,
		})
	}
	p.Empty = len(p.Changes) == 0
	return p
}

func find(cfg *config.Config, service string) *config.Service {
	for i := range cfg.Services {
		if cfg.Services[i].Name == service {
			return &cfg.Services[i]
		}
	}
	return nil
}

// Events returns the events after since, then those to come.
func (n *Node) Events(ctx context.Context, since uint64) (<-chan control.Event, error) {
	out := make(chan control.Event)
	go func() {
		defer close(out)
		for {
			n.mu.Lock()
			events, news := n.events, n.news
			n.mu.Unlock()
			for _, e := range events {
				if e.Seq <= since {
					continue
				}
				select {
				case out <- e:
					since = e.Seq
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-news:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, n.Fail
}

// LastEvent returns the number of the latest event.
func (n *Node) LastEvent(context.Context) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.events[len(n.events)-1].Seq, n.Fail
}

// Status shows every backend up, with an even share.
func (n *Node) Status(context.Context) (control.Status, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := control.Status{
		Serving: true, Instance: n.cfg.Instance, Revision: n.revision, File: n.file.File, Started: n.events[0].Time,
		Drift: len(n.plan(n.file, n.cfg).Changes), Reasons: map[string]control.Traffic{},
		Flows: control.FlowsStatus{Capacity: n.cfg.Limits.Flows},
	}
	for _, i := range n.cfg.Interfaces {
		s.Interfaces = append(s.Interfaces, control.InterfaceStatus{Name: i.Name, Index: 2, Mode: n.cfg.XDPMode.String(), MTU: 1500})
	}
	for i := range n.cfg.Services {
		svc := n.service(&n.cfg.Services[i])
		for _, b := range svc.Backends {
			s.Flows.Recorded += b.Flows
		}
		s.Services = append(s.Services, svc)
	}
	return s, n.Fail
}

const slotsOfEach = 101

func (n *Node) service(cfg *config.Service) control.ServiceStatus {
	s := control.ServiceStatus{
		Name: cfg.Name, Address: cfg.Listens(), Forward: cfg.Forward.String(), Slots: slotsOfEach * len(cfg.Backends), Tracking: cfg.Tracking.String(),
	}
	for _, b := range cfg.Backends {
		status := control.BackendStatus{
			Name: b.Name, Address: b.Address.String(), Weight: b.Weight, State: control.StateUp, Reason: "200 OK", Since: n.events[0].Time,
			NextHop: "eth0 via 10.0.0.254", Slots: slotsOfEach, Live: 1, Flows: n.Flows,
		}
		if a := n.admin[cfg.Name+"/"+b.Name]; a != nil {
			status.Admin, status.Live, status.Slots = a.state, 0, 0
			if status.Drain = a.drain; a.drain == nil {
				status.Flows = 0
			}
		} else {
			s.Up++
		}
		s.Backends = append(s.Backends, status)
	}
	return s
}

func (n *Node) event(kind control.EventKind, service, backend, text string) control.Event {
	return control.Event{Kind: kind, Level: slog.LevelInfo, Service: service, Backend: backend, Text: text, Revision: n.revision}
}
