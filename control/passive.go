package control

import (
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/passive"
	"github.com/xlb-project/xlb/maps"
)

// clients judges a service's backends by the handshakes of its clients.
type clients struct {
	cfg   config.Passive
	judge *passive.Judge[maps.BackendID]
}

func newClients(cfg config.Passive) *clients {
	return &clients{cfg, passive.New[maps.BackendID](passive.Options{
		SuspectBelow: cfg.SuspectBelow, MinConnections: cfg.MinConnections,
		Eject: cfg.Eject, MaxEjected: cfg.MaxEjected, EjectFor: cfg.EjectFor,
	})}
}

// passive is what a service's configuration says of its clients' handshakes, nil for nothing.
func (s *service) passive() *config.Passive {
	if s.cfg.Health == nil {
		return nil
	}
	return s.cfg.Health.Passive
}

// watchClients brings a service's judge up to date, and does what it says.
func (e *Engine) watchClients(s *service) {
	cfg := s.passive()
	switch {
	case cfg == nil && s.clients == nil:
		return
	case cfg == nil || s.clients == nil || s.clients.cfg != *cfg:
		s.clients = nil
		for _, b := range s.backends {
			b.eject(false)
		}
		if cfg == nil {
			return
		}
		s.clients = newClients(*cfg)
	}
	samples, byID := make([]passive.Sample[maps.BackendID], len(s.backends)), make(map[maps.BackendID]*backend, len(s.backends))
	for i, b := range s.backends {
		c := e.Dataplane.SignalCounter(b.id)
		samples[i] = passive.Sample[maps.BackendID]{
			Backend: b.id,
			Counts:  passive.Counts{SYNs: c.SYNs, Completed: c.Completed, Retransmitted: c.Retransmitted},
			Serving: b.lives && b.hop.known && b.hop.good && b.admin.in(),
		}
		byID[b.id] = b
	}
	for _, c := range s.clients.judge.Observe(e.epoch.Add(e.now()), samples) {
		b := byID[c.Backend]
		b.eject(c.State == passive.Ejected)
		switch c.State {
		case passive.Clear:
			e.tell(EventPassive, s, b, "no longer %s: %s", c.Was, c.Reason)
		case passive.Suspected:
			e.warn(EventPassive, s, b, "%s: %s", c.State, c.Reason)
			e.Checker.Hurry(b.target())
		case passive.Ejected:
			e.warn(EventPassive, s, b, "%s: %s", c.State, c.Reason)
		}
	}
}

func (b *backend) eject(is bool) {
	if b.ejected != is {
		b.ejected = is
		b.stale()
	}
}

// suspicion is what clients' handshakes say against a backend, "" for nothing.
func (b *backend) suspicion() string {
	if b.service.clients == nil {
		return ""
	}
	if s, _ := b.service.clients.judge.State(b.id); s != passive.Clear {
		return s.String()
	}
	return ""
}

// handshakes are those of a backend's clients, nil if they do not count.
func (e *Engine) handshakes(b *backend) *Handshakes {
	if b.service.clients == nil {
		return nil
	}
	c := e.Dataplane.SignalCounter(b.id)
	h := &Handshakes{SYNs: c.SYNs, Completed: c.Completed, Retransmitted: c.Retransmitted, Missed: c.Missed}
	if s, until := b.service.clients.judge.State(b.id); s == passive.Ejected {
		h.EjectedUntil = &until
	}
	return h
}

// What clients' handshakes say against a backend, as BackendStatus.Clients.
var (
	ClientsSuspect = passive.Suspected.String()
	ClientsEjected = passive.Ejected.String()
)
