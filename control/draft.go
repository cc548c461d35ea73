package control

import (
	"net/netip"
	"slices"

	"github.com/xlb-project/xlb/control/config"
)

// draft is what the engine's services become under a configuration. Making one
// changes nothing; commit brings it in.
type draft struct {
	cfg      *config.Config
	services []draftService
	back     bool // a change is taken back
}

type draftService struct {
	cfg      *config.Service
	listed   int      // how many of its backends are configured, the others were discovered
	was      *service // nil: new
	same     bool     // nothing changes for it; of the rest size and listed alone are set
	backends []draftBackend
	home     *home // nil without backends
	size     int   // that the configuration asks for
}

type draftBackend struct {
	cfg *config.Backend
	was *backend // nil: new
}

// draft works out what a configuration means for the services that there are. It
// returns an ErrInvalid that names the service or the limit that does not fit.
func (e *Engine) draft(cfg *config.Config) (*draft, error) {
	d := &draft{cfg: cfg}
	known, same := e.known(), e.sameNode(cfg)
	for i := range cfg.Services {
		s := draftService{cfg: &cfg.Services[i], listed: len(cfg.Services[i].Backends)}
		s.was = find(known[s.cfg.Name], s.cfg)
		s.cfg = e.extended(s.cfg, cfg.Limits.Backends, s.was)
		if same && s.was != nil && !s.was.leaving && s.was.cfg.Same(s.cfg) {
			s.same, s.size = true, s.was.wantedSize()
			d.services = append(d.services, s)
			continue
		}
		servers := s.was.servers()
		for j := range s.cfg.Backends {
			b := &s.cfg.Backends[j]
			s.backends = append(s.backends, draftBackend{b, servers[b.Address]})
		}
		if err := e.draftHome(&s); err != nil {
			return nil, faultf(ErrInvalid, "add service %s: %v", s.cfg, err)
		}
		d.services = append(d.services, s)
	}
	return d, e.fits(d)
}

// sameNode says whether a configuration has the node's settings that services
// depend on.
func (e *Engine) sameNode(cfg *config.Config) bool {
	return cfg.Source == e.cfg.Source && cfg.GUE == e.cfg.GUE && cfg.Flows == e.cfg.Flows && cfg.Health == e.cfg.Health
}

// known returns all services by name: the wanted one first, then those that are
// on their way out, which a change that is taken back wants again.
func (e *Engine) known() map[string][]*service {
	known := map[string][]*service{}
	for _, s := range slices.Concat(e.services, e.gone) {
		known[s.cfg.Name] = append(known[s.cfg.Name], s)
	}
	return known
}

// find returns the service that a configured one continues. With VIPs of the
// other family it is a new one: the rows of its backends are of one family.
func find(known []*service, cfg *config.Service) *service {
	for _, s := range known {
		if s.cfg.VIP.Addr().Is6() == cfg.VIP.Addr().Is6() {
			return s
		}
	}
	return nil
}

// servers returns a service's backends by address, those on their way out among them.
func (s *service) servers() map[netip.Addr]*backend {
	servers := map[netip.Addr]*backend{}
	if s != nil {
		for _, b := range s.all() {
			servers[b.cfg.Address] = b
		}
	}
	return servers
}

// draftHome picks the home table. While a service that serves prepares another
// size, the present one stays, if its backends have room in it.
func (e *Engine) draftHome(s *draftService) error {
	size, err := tableSize(s.cfg)
	if err != nil || size == 0 {
		return err
	}
	s.size = size
	if s.was != nil && s.was.serving && s.cfg.Tracking != config.TrackNever && s.was.size() >= len(s.backends) {
		size = s.was.size()
	}
	s.home, err = e.homes.get(size, members(s.cfg.Backends))
	return err
}

// fits holds a draft against the sizes of the tables. What goes is there until
// what comes has taken its place.
func (e *Engine) fits(d *draft) error {
	stay := map[*service]bool{}
	slots, largest, newServices, newBackends := 0, 0, 0, 0
	for _, s := range d.services {
		is := s.was.size()
		stay[s.was] = true
		if is != 0 && is != s.size {
			largest = max(largest, s.size)
		}
		if slots += max(s.size, is); slots > d.cfg.Limits.Slots {
			return faultf(ErrInvalid, "add service %s: up to here there are %d slots, and limits.slots is %d: raise limits.slots, or give services fewer slots",
				s.cfg, slots, d.cfg.Limits.Slots)
		}
		if s.was == nil {
			newServices++
		}
		for _, b := range s.backends {
			if b.was == nil {
				newBackends++
			}
		}
	}
	for _, s := range slices.Concat(e.services, e.gone) {
		if !stay[s] {
			slots += s.size()
		}
	}
	if slots+largest > d.cfg.Limits.Slots {
		return faultf(ErrInvalid, "the change needs room for %d slots, with those of tables that it replaces, and limits.slots is %d: raise limits.slots, or make the change in two steps",
			slots+largest, d.cfg.Limits.Slots)
	}
	return e.numbers.fit(d.cfg.Limits, newServices, newBackends)
}

// commit makes a draft what is wanted. Nothing is written.
func (e *Engine) commit(d *draft) {
	e.cfg = d.cfg
	e.numbers.quarantine.Set(d.cfg.Flows.Idle)
	e.numbers.grow(d.cfg.Limits)
	stay := map[*service]bool{}
	var services, changed []*service
	var fresh []*backend
	for _, ds := range d.services {
		s := ds.was
		if s == nil {
			s = &service{}
			e.numbers.giveService(s)
		}
		services = append(services, s)
		stay[s] = true
		s.listed = ds.listed
		if ds.same {
			continue
		}
		if !d.back {
			readmit(ds)
		}
		e.unindex(s)
		fresh = append(fresh, e.commitService(s, ds)...)
		changed = append(changed, s)
	}
	e.numbers.giveBackends(fresh)
	e.gone = slices.DeleteFunc(e.gone, func(s *service) bool { return stay[s] })
	for _, s := range e.services {
		if !stay[s] {
			e.unindex(s)
			s.leave(nil)
			s.backends, s.home, s.table, s.leaving = nil, nil, nil, true
			e.gone = append(e.gone, s)
		}
	}
	e.services, e.listed = services, false
	e.homes.keep(services)
	e.unwatched = append(e.unwatched, changed...)
	for _, s := range changed {
		e.index(s)
		for _, b := range s.backends {
			e.rerouteAnew(b)
		}
	}
}

// commitService gives a service its settings, and returns the backends that need
// a number.
func (e *Engine) commitService(s *service, ds draftService) (fresh []*backend) {
	rehomed := s.home != ds.home || len(s.backends) != len(ds.backends)
	stay := map[*backend]bool{}
	var backends []*backend
	s.cfg, s.leaving = ds.cfg, false
	for i, db := range ds.backends {
		b := db.was
		if b == nil {
			b = &backend{service: s}
			fresh = append(fresh, b)
		}
		rehomed = rehomed || s.backends[i] != b // owners are indexes
		b.cfg, b.leaving = db.cfg, false
		if db.was == nil {
			e.reorder(b)
		}
		e.recheck(b)
		b.stale()
		backends = append(backends, b)
		stay[b] = true
	}
	s.leave(stay)
	s.backends, s.home = backends, ds.home
	if rehomed {
		s.table = nil
	}
	s.want(ds.size)
	return fresh
}

// recheck notes whether a backend is checked at all. One that is from now on
// keeps its good name until the first answer.
func (e *Engine) recheck(b *backend) {
	if b.service.cfg.Health == nil {
		b.health = verdict{known: true, good: true, reason: notChecked, since: e.wall()}
	} else if b.health.reason == notChecked {
		b.health.assumed = true
	}
}

const notChecked = "not checked"

// index notes a service's backends among those that the engine finds by target
// and address. New ones learn the way to their address where others know it: a
// next hop is told of once, when it changes.
func (e *Engine) index(s *service) {
	for _, b := range slices.Concat(s.backends, s.lingering()) {
		e.byTarget[b.target()] = b
		siblings := e.byAddr[b.cfg.Address]
		if i := slices.IndexFunc(siblings, func(o *backend) bool { return o.way.Addr.IsValid() }); i >= 0 && !b.way.Addr.IsValid() {
			b.way = siblings[i].way
		}
		e.byAddr[b.cfg.Address] = append(siblings, b)
	}
}

// unindex takes them out.
func (e *Engine) unindex(s *service) {
	for _, b := range s.all() {
		e.unindexBackend(b)
	}
}

func (e *Engine) unindexBackend(b *backend) {
	if e.byTarget[b.target()] == b {
		delete(e.byTarget, b.target())
	}
	addr := b.cfg.Address
	e.byAddr[addr] = slices.DeleteFunc(e.byAddr[addr], func(o *backend) bool { return o == b })
	if len(e.byAddr[addr]) == 0 {
		delete(e.byAddr, addr)
	}
}
