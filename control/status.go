package control

import (
	"context"
	"slices"
	"time"

	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/maps"
)

// Status is a node's state as `xlb status -o json` prints it. Fields are added,
// never renamed.
type Status struct {
	Serving    bool                 `json:"serving"`            // VIPs are forwarded; false until the first verdict on every backend
	Instance   string               `json:"instance,omitempty"` // names what this daemon owns
	Revision   uint64               `json:"revision"`           // of the effective configuration
	File       string               `json:"file,omitempty"`     // that the daemon was started with
	Drift      int                  `json:"drift"`              // objects that were changed at run time and differ from the file
	Started    time.Time            `json:"started"`            // the daemon
	Adopted    bool                 `json:"adopted"`            // it took over what a former one left running
	Broken     string               `json:"broken,omitempty"`   // why the data path is not as it should be; tried again every second
	Flows      FlowsStatus          `json:"flows"`
	Interfaces []InterfaceStatus    `json:"interfaces"`
	Services   []ServiceStatus      `json:"services"`
	Events     map[EventKind]uint64 `json:"events,omitempty"` // of this daemon, by kind
	Reasons    map[string]Traffic   `json:"reasons"`          // per reason, see docs/counters.md; those that occurred
}

// FlowsStatus is what the flow table holds, as last swept.
type FlowsStatus struct {
	Recorded    int `json:"recorded"`
	Capacity    int `json:"capacity"`
	Transitions int `json:"transitions"` // slots in transition
}

// InterfaceStatus is an interface that xlb is attached to.
type InterfaceStatus struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	Mode  string `json:"mode"` // native or generic
	MTU   int    `json:"mtu"`
}

// Traffic counts packets and the bytes of their frames as they arrived.
type Traffic struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// ServiceStatus is a service and the sum of its backends.
type ServiceStatus struct {
	Name     string `json:"name"`
	Address  string `json:"address"` // VIP, ports and protocols, as people write them
	Forward  string `json:"forward"`
	Up       int    `json:"up"`                 // backends that take new connections
	Slots    int    `json:"slots"`              // size of the slot table
	Tracking string `json:"tracking,omitempty"` // change, always or never
	Serving  bool   `json:"serving"`            // its VIP is forwarded
	Panic    bool   `json:"panic"`              // too few backends are healthy, so all are used

	TransitionSlots int             `json:"transitionSlots"` // slots whose former owner still has flows
	Traffic         Traffic         `json:"traffic"`
	Backends        []BackendStatus `json:"backends"`

	Discovery *DiscoveryStatus `json:"discovery,omitempty"` // where further backends come from
}

// States of a backend.
const (
	StateUp         = "up"
	StateDown       = "down"       // its health check says so
	StateUnresolved = "unresolved" // no way to send packets to it is known
	StateUnknown    = "unknown"    // no verdict yet
)

// BackendStatus is a backend of a service.
type BackendStatus struct {
	Name    string    `json:"name"`
	Address string    `json:"address"`
	Weight  int       `json:"weight"`
	State   string    `json:"state"`
	Reason  string    `json:"reason"` // what the last probe or the routing table says
	Since   time.Time `json:"since"`  // of State
	NextHop string    `json:"nextHop"`
	Slots   int       `json:"slots"`             // slots it owns
	Admin   string    `json:"admin,omitempty"`   // draining, drained or disabled
	Clients string    `json:"clients,omitempty"` // by their handshakes it is suspected or ejected
	Live    float64   `json:"live"`              // share of its slots that it takes, 0 to 1
	Flows   int       `json:"flows"`             // recorded flows that it has, as last swept
	Found   bool      `json:"found,omitempty"`   // it was discovered, and is in no configuration
	Drain   *Drain    `json:"drain,omitempty"`

	TransitionSlots int     `json:"transitionSlots"` // slots of others whose former flows it still has
	Traffic         Traffic `json:"traffic"`
	Check           *Probe  `json:"check,omitempty"`

	Handshakes *Handshakes `json:"handshakes,omitempty"` // of services with health.passive
}

// Handshakes are those of clients with a backend, or with whoever had its number before.
type Handshakes struct {
	SYNs          uint64     `json:"syns"`                   // handshakes begun
	Completed     uint64     `json:"completed"`              // of these, by the client
	Retransmitted uint64     `json:"retransmitted"`          // SYNs of these sent again
	Missed        uint64     `json:"missed"`                 // begun when too many were under way, which count for nothing else
	EjectedUntil  *time.Time `json:"ejectedUntil,omitempty"` // if the backend is
}

// Drain is how far a drain has come.
type Drain struct {
	Since    time.Time  `json:"since"`
	Deadline *time.Time `json:"deadline,omitempty"` // it is out then, whatever flows are left
	Flows    int        `json:"flows"`              // recorded ones that are left
	Actor    string     `json:"actor,omitempty"`
}

// Probe is a backend's latest health check.
type Probe struct {
	At     time.Time `json:"at"`
	TookMs float64   `json:"tookMs"`
	Answer string    `json:"answer"`
	Passed uint64    `json:"passed"`
	Failed uint64    `json:"failed"`
}

// Status returns the node's state at one moment, or an error when ctx ends or
// the engine has.
func (e *Engine) Status(ctx context.Context) (Status, error) {
	var s Status
	err := e.do(ctx, func() { s = e.status() })
	return s, err
}

func (e *Engine) status() Status {
	s := Status{
		Serving: !slices.ContainsFunc(e.services, func(s *service) bool { return !s.serving }), Instance: e.cfg.Instance, Revision: e.revision, File: e.file.File,
		Drift: e.drift(), Started: e.started, Adopted: e.adopted > 0, Broken: e.broken, Events: e.events.counts(), Reasons: map[string]Traffic{},
		Flows: FlowsStatus{Recorded: e.sweeper.recorded, Capacity: e.Dataplane.FlowCapacity()},
	}
	for _, l := range e.Interfaces {
		s.Interfaces = append(s.Interfaces, InterfaceStatus{l.Name, l.Index, e.cfg.XDPMode.String(), l.MTU})
	}
	for _, r := range maps.Reasons() {
		if c := e.Dataplane.ReasonCounter(r); c.Packets > 0 {
			s.Reasons[r.String()] = Traffic(c)
		}
	}
	for _, svc := range e.services {
		s.Services = append(s.Services, e.serviceStatus(svc))
		s.Flows.Transitions += svc.transitions()
	}
	s.Reasons[maps.Forwarded.String()] = Traffic(e.Dataplane.Forwarded())
	return s
}

func (e *Engine) serviceStatus(svc *service) ServiceStatus {
	s := ServiceStatus{
		Name: svc.cfg.Name, Address: svc.cfg.Listens(), Forward: svc.cfg.Forward.String(), Slots: svc.size(), Tracking: svc.cfg.Tracking.String(),
		Panic: svc.panics, TransitionSlots: svc.transitions(), Serving: svc.serving,
	}
	s.Discovery = e.discoveryStatus(svc)
	if s.Slots == 0 && svc.home != nil {
		s.Slots = svc.home.Size()
	}
	owned, former := make([]int, len(svc.backends)), map[maps.BackendID]int{}
	if svc.table != nil {
		for _, owner := range svc.table.owners {
			if owner >= 0 {
				owned[owner]++
			}
		}
		former = svc.slots.Previous()
	}
	for i, b := range svc.backends {
		status := e.backendStatus(b)
		status.Slots, status.TransitionSlots, status.Found = owned[i], former[b.id], i >= svc.listed
		if b.live > 0 || svc.slots == nil && status.State == StateUp && b.admin.in() {
			s.Up++
		}
		s.Traffic.Packets += status.Traffic.Packets
		s.Traffic.Bytes += status.Traffic.Bytes
		s.Backends = append(s.Backends, status)
	}
	for _, b := range svc.lingering() {
		status := e.backendStatus(b)
		status.Admin, status.TransitionSlots = AdminRemoved, former[b.id]
		s.Backends = append(s.Backends, status)
	}
	return s
}

func (e *Engine) backendStatus(b *backend) BackendStatus {
	s := BackendStatus{
		Name: b.cfg.Name, Address: b.cfg.Address.String(), Weight: b.cfg.Weight, Admin: b.admin.state, Clients: b.suspicion(), Live: b.live, Flows: b.flows,
		Traffic: Traffic(e.Dataplane.BackendCounter(b.id)), Handshakes: e.handshakes(b),
	}
	if b.hop.good {
		s.NextHop = b.hop.reason
	}
	switch {
	case !b.health.known || !b.hop.known:
		s.State, s.Reason = StateUnknown, "waiting for the first answer"
	case !b.hop.good:
		s.State, s.Reason, s.Since = StateUnresolved, b.hop.reason, b.hop.since
	case !b.health.good:
		s.State, s.Reason, s.Since = StateDown, b.health.reason, b.health.since
	default:
		s.State, s.Reason, s.Since = StateUp, b.health.reason, later(b.health.since, b.hop.since)
	}
	if a := b.admin; a.state == AdminDraining {
		s.Drain = &Drain{Since: a.since, Flows: b.flows, Actor: a.actor}
		if !a.deadline.IsZero() {
			s.Drain.Deadline = &a.deadline
		}
	}
	if h, ok := e.Checker.Status(b.target()); ok && h.State != health.Unknown {
		s.Check = &Probe{h.LastProbe, float64(h.Took) / float64(time.Millisecond), h.Answer, h.Passed, h.Failed}
	}
	return s
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
