package control

import (
	"fmt"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/transition"
	"github.com/xlb-project/xlb/maps"
)

// adopt takes over what a former daemon left in the tables: who has which number,
// slots with their transitions, and what backends were fit for. Until there are
// verdicts of its own, the engine believes what it finds.
func (e *Engine) adopt() {
	services := map[maps.ServiceID]*service{}
	for _, entry := range e.Dataplane.ServiceEntries() {
		e.numbers.reach(entry.ID, 0)
		s := &service{id: entry.ID, named: true}
		s.cfg = e.formerService(entry.Name)
		e.numbers.services[entry.ID] = s
		services[entry.ID] = s
		e.services = append(e.services, s)
	}
	for _, entry := range e.Dataplane.BackendEntries() {
		e.numbers.reach(0, entry.ID)
		s := services[entry.Service]
		leaving := entry.Admin == adminGone
		if s == nil || leaving && !e.Dataplane.Backend(entry.ID).Up {
			e.numbers.hold(e.now(), entry)
			e.orphans = append(e.orphans, entry)
			continue
		}
		b := e.adoptBackend(s, entry)
		if b.leaving = leaving; leaving {
			s.gone = append(s.gone, b)
		} else {
			s.backends = append(s.backends, b)
		}
		e.numbers.claimBackend(b)
	}
	for _, s := range e.services {
		e.adoptServerIDs(s)
		e.adoptSlots(s)
	}
	e.adopted = len(e.services)
}

// formerService stands for the settings of a service that is found, of which the
// tables keep the name alone: those that are wanted now, if it is wanted.
func (e *Engine) formerService(name string) *config.Service {
	for i := range e.cfg.Services {
		if s := e.cfg.Services[i]; s.Name == name {
			s.Backends = nil
			return &s
		}
	}
	return &config.Service{Name: name}
}

func (e *Engine) adoptBackend(s *service, entry maps.BackendEntry) *backend {
	is := e.Dataplane.Backend(entry.ID)
	b := &backend{
		id: entry.ID, service: s, entry: entry, cfg: &config.Backend{Name: entry.Name, Address: entry.Address, Weight: entry.Weight},
		admin: admin{state: adminOf(entry.Admin), since: e.wall()},
		lives: is.Up, live: entry.Live, found: is.Resolved,
	}
	b.closed = e.now()
	if !is.Accepts {
		b.live = 0
	}
	b.row.Up, b.row.Accepts = is.Up, is.Accepts
	found := verdict{known: true, assumed: true, reason: "as before the daemon started", since: e.wall()}
	b.health, b.hop = found, found
	b.health.good = is.Up && entry.Admin&adminIll == 0 || entry.Admin == adminGone && is.Up
	b.hop.good = is.Resolved
	if over := s.cfg.SlowStart; over > 0 && b.live > 0 && b.live < 1 {
		b.growth = growth{true, e.now() - time.Duration(b.live*float64(over))}
	}
	return b
}

// adoptServerIDs gives backends the names by which QUIC packets find them: of those
// that were discovered or are on their way out, no configuration has these.
func (e *Engine) adoptServerIDs(s *service) {
	for _, id := range e.Dataplane.ServerIDs(s.id) {
		if b := e.numbers.backend(id.Backend); b != nil {
			b.cfg.ServerID = id.ID
		}
	}
}

func (e *Engine) adoptSlots(s *service) {
	slots := e.Dataplane.SlotTable(s.id)
	if len(slots) == 0 {
		return // it was not served yet
	}
	s.slots = transition.Adopt(e.now(), tracked(e.cfg, s.cfg), slots)
	s.serving = true
}

// clearOrphans finishes what a former daemon began: rows of backends whose
// service, or they themselves, had been removed. It comes before their service's
// number is given to another one.
func (e *Engine) clearOrphans() error {
	for _, entry := range e.orphans {
		if err := e.Dataplane.SetBackend(entry.ID, maps.Backend{}); err != nil {
			return fmt.Errorf("remove backend %s: %w", entry.Name, err)
		}
		entry.Admin, entry.Live = adminGone, 0
		if err := e.Dataplane.NameBackend(entry); err != nil {
			return fmt.Errorf("name backend %s: %w", entry.Name, err)
		}
		e.numbers.held[entry.ID] = entry
	}
	e.orphans = nil
	return nil
}
