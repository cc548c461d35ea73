package control

import (
	"fmt"
	"slices"

	"github.com/xlb-project/xlb/maps"
)

// apply brings the data path to what is known now, service by service. Before
// there are verdicts nothing is: no packet would see the tables in between.
func (e *Engine) apply() error {
	if !e.serving && !e.waited && slices.ContainsFunc(e.services, func(s *service) bool { return !s.settled() }) {
		return nil
	}
	for _, s := range e.services {
		if !s.dirty {
			continue
		}
		if err := e.applyService(s); err != nil {
			return err
		}
		s.dirty = false
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
	if slices.Equal(live, s.live) {
		return nil
	}
	owners, err := s.home.resolve(live)
	if err != nil {
		return fmt.Errorf("compute slots of service %s: %w", s.cfg, err)
	}
	moved, err := e.publishSlots(s, owners)
	if err != nil {
		return fmt.Errorf("write slots of service %s: %w", s.cfg, err)
	}
	s.live, s.owners = live, owners
	if e.serving && moved > 0 {
		e.Log.Info("slots moved", "service", s.cfg.Name, "slots", moved, "of", len(owners))
	}
	return nil
}

// publishSlots writes a service's first table as a whole, then what moves, and
// returns how many slots that were.
func (e *Engine) publishSlots(s *service, owners []int32) (int, error) {
	id := func(owner int32) maps.BackendID {
		if owner < 0 {
			return 0
		}
		return s.backends[owner].id
	}
	if s.owners == nil {
		ids := make([]maps.BackendID, len(owners))
		for slot, owner := range owners {
			ids[slot] = id(owner)
		}
		return 0, e.Dataplane.SetSlots(s.id, ids)
	}
	var moves []maps.Move
	for slot, owner := range s.owners {
		if owners[slot] != owner {
			moves = append(moves, maps.Move{Slot: slot, Owner: id(owners[slot])})
		}
	}
	return len(moves), e.Dataplane.MoveSlots(s.id, moves)
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
