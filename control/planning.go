package control

import (
	"context"
	"fmt"
	"slices"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/maps"
)

// Plan says what Apply would do; it touches nothing.
func (e *Engine) Plan(ctx context.Context, cfg *config.Config) (Plan, error) {
	if err := cfg.Validate(); err != nil {
		return Plan{}, &fault{ErrInvalid, err.Error()}
	}
	var p Plan
	var err error
	ended := e.do(ctx, func() {
		if p, _, err = e.plan(cfg); err == nil {
			_, err = e.preflight(cfg, p.Changes)
		}
		e.homes.keep(e.services)
	})
	if ended != nil {
		return Plan{}, ended
	}
	return p, err
}

// plan compares a configuration with what runs. The draft is what to commit for it.
func (e *Engine) plan(cfg *config.Config) (Plan, *draft, error) {
	p := Plan{Revision: e.revision, Changes: config.Diff(e.cfg, cfg), Services: []ServicePlan{}}
	d, err := e.draft(cfg)
	if err != nil {
		return Plan{}, nil, err
	}
	if p.Empty = len(p.Changes) == 0; p.Empty {
		return p, d, nil
	}
	p.Program = e.programPlan(cfg)
	p.Warnings = e.warnings(cfg, d)
	moved := map[*service]*movement{}
	stay := map[*service]bool{}
	for i := range d.services {
		ds := &d.services[i]
		stay[ds.was] = true
		if ds.same {
			continue
		}
		if ds.was == nil {
			p.Services = append(p.Services, ServicePlan{Name: ds.cfg.Name, Action: ActionAdd, Slots: ds.size})
			continue
		}
		m, err := ds.movement()
		if err != nil {
			return Plan{}, nil, err
		}
		moved[ds.was] = m
	}
	for _, s := range e.services {
		if !stay[s] {
			moved[s] = goes(s)
		}
	}
	e.countFlows(moved)
	for _, s := range e.services {
		m := moved[s]
		if m == nil {
			continue
		}
		if m.plan.Action == ActionChange && !m.differs && !touches(p.Changes, s.cfg.Name) {
			continue
		}
		p.Services = append(p.Services, m.plan)
	}
	return p, d, nil
}

// touches says whether changes are about a service or its backends.
func touches(changes []Change, service string) bool {
	return slices.ContainsFunc(changes, func(c Change) bool {
		return c.Object == "service "+service || len(c.Object) > len("backend "+service) && c.Object[:len("backend "+service)+1] == "backend "+service+"/"
	})
}

// movement is what a change does to one service's slots.
type movement struct {
	plan    ServicePlan
	differs bool
	moves   []bool                  // by slot of the present table
	stays   map[maps.BackendID]bool // backends that are there afterwards
	lingers bool                    // those that go keep the flows that they have
}

// goes is the movement of a service that is removed.
func goes(s *service) *movement {
	return &movement{plan: ServicePlan{Name: s.cfg.Name, Action: ActionRemove, ShareMoved: 1, SlotsMoved: s.size()}, differs: true}
}

// movement compares the owners of a service's slots with those under the draft,
// when every new backend is up.
func (ds *draftService) movement() (*movement, error) {
	s := ds.was
	m := &movement{
		plan:  ServicePlan{Name: ds.cfg.Name, Action: ActionChange, Slots: ds.size},
		stays: map[maps.BackendID]bool{}, lingers: ds.cfg.Tracking != config.TrackNever && ds.home != nil,
	}
	live := make([]float64, len(ds.backends))
	for i, b := range ds.backends {
		live[i] = 1
		if b.was != nil {
			live[i] = b.was.live
			m.stays[b.was.id] = true
		}
	}
	m.differs = len(m.stays) != len(s.backends) || len(m.stays) != len(ds.backends) || ds.size != s.size()
	if s.slots == nil || ds.home == nil || ds.home == s.home && !m.differs {
		return m, nil
	}
	owners := make([]int32, ds.home.Size())
	if err := ds.home.Resolve(live, owners); err != nil {
		return nil, fmt.Errorf("compute slots of service %s: %w", ds.cfg, err)
	}
	m.moves = make([]bool, s.slots.Size())
	for slot, owner := range owners {
		former := slot
		if len(owners) != len(m.moves) {
			former = (2*slot + 1) * len(m.moves) / (2 * len(owners))
		}
		was := s.slots.Slot(former).Current
		if owner >= 0 && ds.backends[owner].was != nil && ds.backends[owner].was.id == was || owner < 0 && was == 0 {
			continue
		}
		m.moves[former] = true
		m.plan.SlotsMoved++
		if m.stays[was] && owner >= 0 && ds.needless(s, was, ds.backends[owner]) {
			m.plan.Needless++
		}
	}
	m.plan.ShareMoved = float64(m.plan.SlotsMoved) / float64(len(owners))
	m.differs = m.differs || m.plan.SlotsMoved > 0
	return m, nil
}

// needless says whether a slot that goes from one backend to another could have
// stayed: neither of them changes.
func (ds *draftService) needless(s *service, from maps.BackendID, to draftBackend) bool {
	if to.was == nil || to.was.live == 0 || to.was.cfg.Weight != to.cfg.Weight {
		return false
	}
	for _, b := range ds.backends {
		if b.was != nil && b.was.id == from {
			return b.was.live > 0 && b.was.cfg.Weight == b.cfg.Weight
		}
	}
	return false
}

// countFlows counts the recorded flows that movements concern.
func (e *Engine) countFlows(moved map[*service]*movement) {
	if len(moved) == 0 {
		return
	}
	for f := range e.Dataplane.Flows() {
		b := e.numbers.backend(f.Backend)
		if b == nil || moved[b.service] == nil || f.Age > e.cfg.Flows.Idle {
			continue
		}
		m := moved[b.service]
		if !m.stays[b.id] && !(m.lingers && b.lives) {
			m.plan.FlowsLost++
		}
		if m.moves == nil {
			continue
		}
		first, last := f.Slots(len(m.moves))
		if slices.Contains(m.moves[first:last+1], true) {
			m.plan.FlowsMoved++
		}
	}
}

// warnings are what is to be known of a change beside the slots that move.
func (e *Engine) warnings(cfg *config.Config, d *draft) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, s := range d.services {
		if s.was == nil || s.same {
			continue
		}
		was := s.was.cfg
		if s.cfg.Affinity != was.Affinity {
			add("service %s: with another affinity every client may get another backend: connections break", s.cfg.Name)
		}
		if s.cfg.Listens() != was.Listens() {
			add("service %s: connections to %s that is no longer in %s end", s.cfg.Name, was.Listens(), s.cfg.Listens())
		}
		if is := s.was.size(); is != 0 && s.size != is {
			add("service %s: its table goes from %d to %d slots: its flows are recorded for %s before, for which limits.flows (%d) must do",
				s.cfg.Name, is, s.size, cfg.Flows.Idle, cfg.Limits.Flows)
		}
	}
	for _, s := range d.services {
		for _, b := range s.backends {
			for _, known := range e.byAddr[b.cfg.Address] {
				if known.hop.known && !known.hop.good {
					add("backend %s/%s has no next hop: %s", s.cfg.Name, b.cfg.Name, known.hop.reason)
					break
				}
			}
		}
	}
	return out
}
