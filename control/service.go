package control

import (
	"fmt"
	"time"

	"github.com/xlb-project/xlb/control/balance"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/maps"
)

// service is a configured service with what is known about it.
type service struct {
	id       maps.ServiceID
	cfg      *config.Service
	home     *home
	backends []*backend
	table    *table     // as published, nil before
	changed  []*backend // what is known of them is newer than what was written
}

// backend is a configured backend of one service.
type backend struct {
	id      maps.BackendID
	cfg     *config.Backend
	service *service

	health verdict
	hop    verdict
	next   maps.Backend // what its row should say, unresolved while hop is bad
	row    maps.Backend // what its row says
}

// verdict is what is known about one condition of a backend.
type verdict struct {
	known  bool
	good   bool
	reason string
	since  time.Time
}

// newService takes its home table from homes if a service before had the same.
func newService(id maps.ServiceID, first maps.BackendID, cfg *config.Service, homes homes) (*service, error) {
	s := &service{id: id, cfg: cfg}
	members := make([]balance.Backend, len(cfg.Backends))
	for i := range cfg.Backends {
		b := &backend{id: first + maps.BackendID(i), cfg: &cfg.Backends[i], service: s}
		if cfg.Health == nil {
			b.health = verdict{known: true, good: true, reason: "not checked", since: time.Now()}
		}
		s.backends = append(s.backends, b)
		members[i] = balance.Backend{Key: b.cfg.Address.String(), Weight: uint32(b.cfg.Weight)}
	}
	size := cfg.Slots
	if size == 0 {
		var err error
		if size, err = balance.Size(len(members)); err != nil {
			return nil, err
		}
	}
	var err error
	s.home, err = homes.get(size, members)
	s.changed = s.backends
	return s, err
}

// live is the share of a backend's slots that it takes, 0 to 1.
func (b *backend) live() float64 {
	if b.health.good && b.hop.good {
		return 1
	}
	return 0
}

// settled says whether there is a first verdict on every backend.
func (s *service) settled() bool {
	for _, b := range s.backends {
		if !b.health.known || !b.hop.known {
			return false
		}
	}
	return true
}

// stale notes that what is known of the backend changed.
func (b *backend) stale() { b.service.changed = append(b.service.changed, b) }

func (b *backend) String() string { return b.service.cfg.Name + "/" + b.cfg.Name }

func (b *backend) target() health.TargetID { return health.TargetID(b.String()) }

// row is the data path's row for a backend with a next hop.
func (e *Engine) row(b *backend, hop neighbour.NextHop) (maps.Backend, error) {
	number, ok := e.egress[hop.Index]
	if !ok {
		return maps.Backend{}, fmt.Errorf("%s is reached through %s, where xlb is not attached: add it to interfaces", b.cfg.Address, hop.Interface)
	}
	return planeBackend(e.cfg, b.service.cfg, b.cfg, hop, number)
}

func describeHop(hop neighbour.NextHop) string {
	if hop.Gateway.IsValid() {
		return fmt.Sprintf("%s via %s", hop.Interface, hop.Gateway)
	}
	return hop.Interface
}
