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
		if len(s.changed) == 0 {
			continue
		}
		if err := e.applyService(s); err != nil {
			return err
		}
		s.changed = nil
	}
	return e.serve()
}

// applyService writes in the order that keeps every slot's owner resolved: next
// hops that became known, then the slots, then next hops that were lost.
func (e *Engine) applyService(s *service) error {
	for _, b := range s.changed {
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
	for _, b := range s.changed {
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
	if s.table != nil && slices.Equal(live, s.table.live) {
		return nil
	}
	to, moved, err := s.home.resolve(s.table, live)
	if err != nil {
		return fmt.Errorf("compute slots of service %s: %w", s.cfg, err)
	}
	if err := e.publishSlots(s, to.owners, moved); err != nil {
		return fmt.Errorf("write slots of service %s: %w", s.cfg, err)
	}
	s.table = to
	if e.serving && len(moved) > 0 {
		e.Log.Info("slots moved", "service", s.cfg.Name, "slots", len(moved), "of", len(to.owners))
	}
	return nil
}

// publishSlots writes a service's first table as a whole, then what moves.
func (e *Engine) publishSlots(s *service, owners, moved []int32) error {
	id := func(owner int32) maps.BackendID {
		if owner < 0 {
			return 0
		}
		return s.backends[owner].id
	}
	if s.table == nil {
		slots := make([]maps.Slot, len(owners))
		for slot, owner := range owners {
			slots[slot].Current = id(owner)
		}
		return e.Dataplane.SetSlotTable(s.id, slots)
	}
	moves := make([]maps.Move, len(moved))
	for i, slot := range moved {
		moves[i] = maps.Move{Slot: int(slot), To: maps.Slot{Current: id(owners[slot])}}
	}
	return e.Dataplane.MoveSlots(s.id, moves)
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
