package control

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/maps"
)

// Drain keeps new flows from a backend until it has none left or time is up; then
// it is out. It returns ErrRefused if no other backend of the service accepts.
func (e *Engine) Drain(ctx context.Context, edit Edit, service, name string, opts DrainOptions) (uint64, error) {
	return e.order(ctx, edit, service, name, func(b *backend) (admin, string, error) {
		is := admin{state: AdminDraining, since: e.wall(), actor: edit.Actor}
		switch {
		case opts.Timeout < 0:
			return is, "", faultf(ErrInvalid, "drain %s: a timeout of %s: write a positive one, or none", b, opts.Timeout)
		case b.admin.out():
			return is, "", faultf(ErrInvalid, "drain %s: it is %s already", b, b.admin.state)
		case !opts.Force && b.admin.in() && b.service.accepting(b) == 0:
			return is, "", faultf(ErrRefused, "drain %s: no other backend of service %s accepts connections: use --force to do it all the same", b, b.service.cfg.Name)
		}
		text := "is drained until it has no flows"
		if opts.Timeout > 0 {
			is.deadline = e.wall().Add(opts.Timeout)
			text = fmt.Sprintf("is drained, for %s at most", opts.Timeout)
		}
		if b.admin.state == AdminDraining {
			is.since = b.admin.since
		}
		return is, text, nil
	})
}

// Undrain takes a drain back.
func (e *Engine) Undrain(ctx context.Context, edit Edit, service, name string) (uint64, error) {
	return e.order(ctx, edit, service, name, func(b *backend) (admin, string, error) {
		if b.admin.state == AdminDisabled {
			return admin{}, "", faultf(ErrInvalid, "undrain %s: it is disabled: enable it", b)
		}
		return admin{}, "is no longer drained", nil
	})
}

// Enable brings back a backend that was disabled or drained.
func (e *Engine) Enable(ctx context.Context, edit Edit, service, name string) (uint64, error) {
	return e.order(ctx, edit, service, name, func(*backend) (admin, string, error) { return admin{}, "is enabled", nil })
}

// Disable takes a backend out at once; its flows break. It returns ErrRefused as
// Drain does.
func (e *Engine) Disable(ctx context.Context, edit Edit, service, name string, force bool) (uint64, error) {
	return e.order(ctx, edit, service, name, func(b *backend) (admin, string, error) {
		if !force && b.service.accepting(b) == 0 {
			return admin{}, "", faultf(ErrRefused, "disable %s: no other backend of service %s accepts connections: use --force to do it all the same", b, b.service.cfg.Name)
		}
		return admin{state: AdminDisabled, since: e.wall(), actor: edit.Actor}, "is disabled", nil
	})
}

// order gives a backend the administrative state that decide returns. It is on
// the disk before packets see it.
func (e *Engine) order(ctx context.Context, edit Edit, service, name string, decide func(*backend) (admin, string, error)) (uint64, error) {
	var revision uint64
	var err error
	if ended := e.do(ctx, func() { revision, err = e.give(edit, service, name, decide) }); ended != nil {
		return 0, ended
	}
	return revision, err
}

func (e *Engine) give(edit Edit, service, name string, decide func(*backend) (admin, string, error)) (uint64, error) {
	if err := e.sees(edit.Revision); err != nil {
		return 0, err
	}
	b, err := e.find(service, name)
	if err != nil {
		return 0, err
	}
	is, text, err := decide(b)
	if err != nil {
		return 0, err
	}
	was := b.admin
	if is.state == was.state && is.deadline.Equal(was.deadline) {
		return e.revision, nil
	}
	e.revision++
	b.admin = is
	if err := e.save(nil); err != nil {
		b.admin = was
		e.revision--
		return 0, err
	}
	b.stale()
	kind := EventAdmin
	if is.state == AdminDraining || was.state == AdminDraining {
		kind = EventDrain
	}
	e.event(Event{Kind: kind, Text: text, Actor: edit.Actor, Revision: e.revision}, nil, b)
	e.follow()
	return e.revision, nil
}

// sees returns ErrConflict if the configuration is not that of the revision that
// a writer saw.
func (e *Engine) sees(revision uint64) error {
	if revision != 0 && revision != e.revision {
		return faultf(ErrConflict, "the configuration has changed: you saw revision %d, now it is %d: look at it again", revision, e.revision)
	}
	return nil
}

// findService finds a service by name.
func (e *Engine) findService(name string) (*service, error) {
	names := make([]string, len(e.services))
	for i, s := range e.services {
		if s.cfg.Name == name {
			return s, nil
		}
		names[i] = s.cfg.Name
	}
	return nil, Unknown("no service", name, names)
}

// find finds a backend of a service by name or address.
func (e *Engine) find(service, name string) (*backend, error) {
	s, err := e.findService(service)
	if err != nil {
		return nil, err
	}
	addr, _ := netip.ParseAddr(name)
	names := make([]string, len(s.backends))
	for i, b := range s.backends {
		if b.cfg.Name == name || b.cfg.Address == addr {
			return b, nil
		}
		names[i] = b.cfg.Name
	}
	return nil, Unknown("service "+service+" has no backend", name, names)
}

// draining says whether some backend is being drained.
func (e *Engine) draining() bool {
	for _, s := range e.services {
		for _, b := range s.backends {
			if b.admin.state == AdminDraining {
				return true
			}
		}
	}
	return false
}

// endDrains takes out the backends that have no flows left, and those whose time
// is up.
func (e *Engine) endDrains() {
	for _, s := range e.services {
		for _, b := range s.backends {
			if b.admin.state != AdminDraining {
				continue
			}
			switch {
			case !b.admin.deadline.IsZero() && !e.wall().Before(b.admin.deadline):
				e.endDrain(b, "its time is up")
			case e.drained(b):
				e.endDrain(b, "it has no flows left")
			}
		}
	}
}

func (e *Engine) endDrain(b *backend, why string) {
	was := b.admin
	b.admin = admin{state: AdminDrained, since: e.wall(), actor: was.actor}
	if err := e.save(nil); err != nil {
		b.admin = was // and again with the next tick
		e.isBroken(err)
		return
	}
	b.stale()
	e.tell(EventDrain, nil, b, "is drained and out: %s; %d recorded flows break", why, b.flows)
}

// drained says whether a draining backend has no flows any more. Those without a
// record are known to be over when none of its former slots is in transition any
// more; those that QUIC routes by connection ID when it got no packet for the idle
// time.
func (e *Engine) drained(b *backend) bool {
	s := b.service
	if counter := e.Dataplane.BackendCounter(b.id); counter != b.quiet.counter || b.quiet.since == 0 {
		b.quiet = quiet{counter, e.now()}
	}
	if s.slots == nil || b.flows > 0 || s.slots.Names(b.id) || b.live > 0 || e.sweeper.last <= b.closed {
		return false // what was counted before it took its last flow says nothing
	}
	return len(b.cfg.ServerID) == 0 || e.now()-b.quiet.since > e.cfg.Flows.Idle
}

// quiet is since when a backend got no packets.
type quiet struct {
	counter maps.Counter
	since   time.Duration
}
