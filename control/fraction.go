package control

import "time"

// growth is how a backend's share grows after it came up.
type growth struct {
	growing bool
	from    time.Duration
}

// growthSteps is in how many steps a share grows: each moves slots.
const growthSteps = 16

// share is how much of its slots a growing backend takes. It never starts at 0,
// so that a service's only backend serves from the beginning.
func (g growth) share(now, over time.Duration) float64 {
	if !g.growing || over <= 0 {
		return 1
	}
	step := int64(now-g.from) * growthSteps / int64(over)
	return float64(min(max(step, 1), growthSteps)) / growthSteps
}

// judge works out what each backend of a service takes, from all that is known
// about it, and notes those for which that changed. Where there is no news
// and nobody grows, it has nothing to do.
//
// A backend lives, which is to say that it has flows, while it is healthy and no
// operator has taken it out. Without a next hop it goes on living, as its packets
// may find a way again before its health check fails: only where nothing else is
// checked does the next hop decide.
func (e *Engine) judge(s *service) {
	if len(s.changed) == 0 && !s.grows {
		return
	}
	e.judgePanic(s)
	s.grows = false
	for _, b := range s.backends {
		healthy := b.health.known && b.health.good || s.panics
		reached := b.hop.known && b.hop.good
		lives := healthy && !b.admin.out()
		if s.cfg.Health == nil {
			lives = lives && reached
		}
		live := 0.0
		if lives && reached && b.admin.in() && (!b.ejected || s.panics) {
			live = e.grown(b)
		}
		if !lives {
			b.growth = growth{}
		}
		s.grows = s.grows || b.growth.growing
		e.set(b, live, lives)
	}
	for _, b := range s.gone {
		e.set(b, 0, e.lingers(b))
	}
}

func (e *Engine) set(b *backend, live float64, lives bool) {
	if b.live == live && b.lives == lives {
		return
	}
	if live == 0 && b.live > 0 {
		b.closed = e.now()
	}
	b.service.died = b.service.died || b.lives && !lives
	b.live, b.lives = live, lives
	b.stale()
}

// grown is a fit backend's share. It grows from the moment that the backend came
// to life in a service that serves: its own start, or its return. One that lived
// all the time, such as one that an operator lets in again, is warm.
func (e *Engine) grown(b *backend) float64 {
	over := b.service.cfg.SlowStart
	if over == 0 || b.service.panics {
		b.growth = growth{}
		return 1
	}
	now := e.now()
	if !b.lives && b.service.serving {
		b.growth = growth{true, now}
	}
	share := b.growth.share(now, over)
	if share == 1 {
		b.growth = growth{}
	}
	return share
}

// judgePanic finds out whether so few backends are healthy that all have to
// serve. Those on which there is no verdict yet count as healthy, those that
// operators took out not at all.
func (e *Engine) judgePanic(s *service) {
	if s.cfg.Panic == 0 && !s.panics {
		return
	}
	was, in, healthy := s.panics, 0, 0
	for _, b := range s.backends {
		if !b.admin.in() {
			continue
		}
		in++
		if (!b.health.known || b.health.good) && (!b.hop.known || b.hop.good) {
			healthy++
		}
	}
	s.panics = in > 0 && healthy*100 < s.cfg.Panic*in
	switch {
	case s.panics && !was:
		e.warn(EventPanic, s, nil, "%d of %d backends are healthy, fewer than %d %%: all are used", healthy, in, s.cfg.Panic)
	case was && !s.panics:
		e.tell(EventPanic, s, nil, "%d of %d backends are healthy: the others are no longer used", healthy, in)
	}
}

// fractions are the shares that a service's slots are computed for. Where nobody
// accepts because all that are well have lost their next hop, the slots stay with
// those: their packets are dropped either way, and once a way is known again every
// flow finds its backend.
func (s *service) fractions() []float64 {
	live, any, stuck := make([]float64, len(s.backends)), false, false
	for i, b := range s.backends {
		live[i] = b.live
		any = any || b.live > 0
		stuck = stuck || b.stuck()
	}
	if any || !stuck {
		return live
	}
	for i, b := range s.backends {
		if b.stuck() {
			live[i] = 1
		}
	}
	return live
}

// stuck says that nothing but its next hop keeps a backend from serving.
func (b *backend) stuck() bool {
	return b.health.known && b.health.good && b.hop.known && !b.hop.good && b.admin.in()
}
