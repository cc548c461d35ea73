package control

import "github.com/xlb-project/xlb/control/config"

// A backend that is no longer wanted keeps the flows that it has: it lives on like
// one that is drained, followed and checked, until it has none left, dies, or the
// transitions of its slots end by the clock. Only then are its row and number given
// back. Where a service does not track, nobody could tell its flows from others.

// leave lets go of the backends that are not to stay.
func (s *service) leave(stay map[*backend]bool) {
	kept := s.gone[:0]
	for _, b := range s.gone {
		if !stay[b] {
			kept = append(kept, b)
		}
	}
	s.gone = kept
	for _, b := range s.backends {
		if !stay[b] {
			b.leaving = true
			s.gone = append(s.gone, b)
			b.stale()
		}
	}
}

// readmit has backends that come back while they linger begin without the orders
// of their former life.
func readmit(d draftService) {
	for _, b := range d.backends {
		if b.was != nil && b.was.leaving {
			b.was.admin = admin{}
		}
	}
}

// lingers says whether a backend on its way out still has flows to serve. One that
// has stopped does not begin again.
func (e *Engine) lingers(b *backend) bool {
	s := b.service
	if !b.lives || s.cfg.Tracking == config.TrackNever {
		return false
	}
	if s.cfg.Health == nil && !(b.hop.known && b.hop.good) {
		return false
	}
	return b.health.known && b.health.good
}

// endLeaving gives back what those have that are out.
func (e *Engine) endLeaving() {
	ended := false
	for _, s := range e.services {
		for _, b := range s.gone {
			if !b.lives || e.drained(b) {
				b.lives, ended = false, true
			}
		}
	}
	if !ended {
		return
	}
	if err := e.writeSettings(); err != nil { // server IDs name them no longer
		e.isBroken(err)
		return
	}
	e.cleanUp()
	if err := e.watch(); err != nil {
		e.isBroken(err)
	}
}

// lingering are the backends on their way out that still have flows.
func (s *service) lingering() []*backend {
	var out []*backend
	for _, b := range s.gone {
		if b.lives {
			out = append(out, b)
		}
	}
	return out
}
