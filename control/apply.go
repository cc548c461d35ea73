package control

import (
	"fmt"
	"slices"

	"github.com/xlb-project/xlb/maps"
)

// apply brings the data path to what is known now, service by service.
func (e *Engine) apply() error {
	for _, s := range e.services {
		if !s.dirty {
			continue
		}
		if err := e.applyService(s); err != nil {
			return err
		}
		s.dirty = false
	}
	if e.serving || slices.ContainsFunc(e.services, func(s *service) bool { return !s.settled() }) {
		return nil
	}
	return e.serve()
}

// applyService writes in the order that keeps every slot's owner resolved: next
// hops that became known, then the slots, then next hops that were lost.
func (e *Engine) applyService(s *service) error {
	for _, b := range s.backends {
		b.next.Up = b.live() > 0
	}
	if err := e.writeBackends(s, func(b *backend) bool { return b.next.Forward != maps.Unresolved }); err != nil {
		return err
	}
	if err := e.writeSlots(s); err != nil {
		return err
	}
	return e.writeBackends(s, func(b *backend) bool { return b.next.Forward == maps.Unresolved })
}

func (e *Engine) writeBackends(s *service, which func(*backend) bool) error {
	for _, b := range s.backends {
		if b.next == b.row || !which(b) {
			continue
		}
		if err := e.Dataplane.SetBackend(b.id, b.next); err != nil {
			return fmt.Errorf("write backend %s: %w", b, err)
		}
		b.row = b.next
	}
	return nil
}

func (e *Engine) writeSlots(s *service) error {
	live := make([]float64, len(s.backends))
	for i, b := range s.backends {
		live[i] = b.live()
	}
	owners := make([]int32, s.home.Size())
	if err := s.home.Resolve(live, owners); err != nil {
		return fmt.Errorf("compute slots of service %s: %w", s.cfg, err)
	}
	if slices.Equal(owners, s.owners) {
		return nil
	}
	ids := make([]maps.BackendID, len(owners))
	for slot, owner := range owners {
		if owner >= 0 {
			ids[slot] = s.backends[owner].id
		}
	}
	if err := e.Dataplane.SetSlots(s.id, ids); err != nil {
		return fmt.Errorf("write slots of service %s: %w", s.cfg, err)
	}
	moved := 0
	for slot, owner := range s.owners {
		if owner != owners[slot] {
			moved++
		}
	}
	if e.serving {
		e.Log.Info("slots moved", "service", s.cfg.Name, "slots", moved, "of", len(owners))
	}
	s.owners = owners
	return nil
}

// serve makes the VIPs xlb's. Before the first verdicts their packets go to the
// kernel, afterwards a service without backends drops with that reason.
func (e *Engine) serve() error {
	if e.serving {
		return nil
	}
	var listeners []maps.Listener
	for _, s := range e.services {
		listeners = append(listeners, s.listeners()...)
	}
	if err := e.Dataplane.SetListeners(listeners); err != nil {
		return fmt.Errorf("publish services: %w", err)
	}
	e.serving = true
	e.Log.Info("serving", "services", len(e.services))
	return nil
}
