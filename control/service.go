package control

import (
	"slices"

	"github.com/xlb-project/xlb/control/balance"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/transition"
	"github.com/xlb-project/xlb/maps"
)

// service is a wanted service with what is known about it, or one on its way out.
type service struct {
	id       maps.ServiceID
	cfg      *config.Service
	backends []*backend // as cfg lists them
	listed   int        // of these, the first so many are configured, the others were discovered
	seeks    bool       // its source of backends has not said anything yet
	gone     []*backend // no longer wanted, their numbers not yet given back

	home   *home             // nil without backends
	table  *table            // owners as they were last computed from home, nil before
	slots  *transition.Table // as published, nil before
	resize *resize           // another size is wanted, nil if not
	torn   bool              // slots may not be what packets see: the table is to be written as a whole

	leaving bool         // no longer wanted
	named   bool         // in the identity map
	serving bool         // its listeners are published
	grows   bool         // the share of some backend grows with time
	clients *clients     // what their handshakes tell, nil if nobody asks
	panics  bool         // too few backends are healthy: all count as healthy
	written writtenSetup // what the data path knows beside slots and backends
	died    bool         // a backend has, since slots were changed last
	changed []*backend   // more is known of them than was written
}

// writtenSetup is what was written of a service's settings.
type writtenSetup struct {
	known    bool
	settings maps.Service
	tracked  transition.Settings
	rules    []maps.Rule
	ids      []maps.ServerID
}

// members are a service's backends as its home table sees them.
func members(backends []config.Backend) []balance.Backend {
	out := make([]balance.Backend, len(backends))
	for i, b := range backends {
		out[i] = balance.Backend{Key: b.Address.String(), Weight: uint32(b.Weight)}
	}
	return out
}

// tableSize is the size that a configuration asks for; without backends 0.
func tableSize(s *config.Service) (int, error) {
	switch {
	case len(s.Backends) == 0:
		return 0, nil
	case s.Slots != 0:
		return s.Slots, nil
	}
	return balance.Size(len(s.Backends))
}

// wantedSize is the size that the configuration asks for, 0 without backends.
func (s *service) wantedSize() int {
	switch {
	case s.resize != nil:
		return s.resize.size
	case s.home != nil:
		return s.home.Size()
	}
	return 0
}

// all are the wanted backends and those that have to go.
func (s *service) all() []*backend { return append(slices.Clip(s.backends), s.gone...) }

// settled says whether it is known which backends there are, with a first verdict
// on each.
func (s *service) settled() bool {
	if s.seeks {
		return false
	}
	for _, b := range s.backends {
		if !b.settled() {
			return false
		}
	}
	return true
}

// size is that of the published table, 0 before.
func (s *service) size() int {
	if s == nil || s.slots == nil {
		return 0
	}
	return s.slots.Size()
}

// transitions is how many slots are in transition.
func (s *service) transitions() int {
	if s.slots == nil {
		return 0
	}
	return s.slots.Open()
}

// accepting counts the backends that take new flows, but for one.
func (s *service) accepting(except *backend) int {
	n := 0
	for _, b := range s.backends {
		if b != except && b.live > 0 {
			n++
		}
	}
	return n
}

// tracked are the settings of a service's transitions.
func tracked(cfg *config.Config, s *config.Service) transition.Settings {
	return transition.Settings{
		Tracking: map[config.Tracking]transition.Tracking{
			config.TrackAlways: transition.Always, config.TrackNever: transition.Never,
		}[s.Tracking], // Change is the zero value
		BySource: s.Affinity.BySource,
		Idle:     cfg.Flows.Idle, Learn: cfg.Flows.Learn, Limit: cfg.Flows.MaxTransition,
	}
}
