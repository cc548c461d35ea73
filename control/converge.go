package control

import (
	"fmt"
	"slices"

	"github.com/xlb-project/xlb/control/transition"
	"github.com/xlb-project/xlb/maps"
)

// converge brings a service's part of the data path to what is known of its
// backends. The order keeps every slot's owner resolved: next hops that became
// known and what backends let in, then slots, then next hops that were lost.
func (e *Engine) converge(s *service) error {
	e.judge(s)
	if len(s.changed) == 0 && !s.torn {
		return nil
	}
	if err := e.writeRows(s); err != nil || !e.mayWrite(s) {
		return err
	}
	if err := e.writeSlots(s); err != nil {
		return err
	}
	if err := e.writeLost(s); err != nil {
		return err
	}
	s.changed = s.changed[:0]
	return nil
}

// mayWrite says whether a service's slots are written: before there are verdicts on
// all backends packets do not come, and would see tables in between. Rows are
// written before: probes take their way.
func (e *Engine) mayWrite(s *service) bool { return s.serving || !e.pending }

// writeRows writes rows but for next hops that were lost, of which it writes all
// else.
func (e *Engine) writeRows(s *service) error {
	for _, b := range s.changed {
		row := b.wanted()
		if row.Forward == maps.Unresolved && (b.found || b.row.Forward != maps.Unresolved) {
			if err := e.writeState(b, row); err != nil {
				return err
			}
		} else if err := e.writeRow(b, row); err != nil {
			return err
		}
		if b.leaving && !b.lives {
			continue // slots may name it until they are written; see removeBackends
		}
		if err := e.writeName(b); err != nil {
			return err
		}
	}
	return nil
}

// writeLost writes that there is no next hop, where that is known.
func (e *Engine) writeLost(s *service) error {
	for _, b := range s.changed {
		if b.next.Forward != maps.Unresolved || !b.hop.known || b.hop.assumed {
			continue
		}
		if err := e.writeRow(b, b.wanted()); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) writeRow(b *backend, row maps.Backend) error {
	if !b.found && row == b.row {
		return nil
	}
	if err := e.Dataplane.SetBackend(b.id, row); err != nil {
		return fmt.Errorf("write backend %s: %w", b, err)
	}
	b.row, b.found = row, false
	return nil
}

// writeState writes what a row lets in and leaves its next hop.
func (e *Engine) writeState(b *backend, row maps.Backend) error {
	if b.row.Up == row.Up && b.row.Accepts == row.Accepts {
		return nil
	}
	if err := e.Dataplane.SetBackendState(b.id, maps.BackendState{Up: row.Up, Accepts: row.Accepts}); err != nil {
		return fmt.Errorf("write state of backend %s: %w", b, err)
	}
	b.row.Up, b.row.Accepts = row.Up, row.Accepts
	return nil
}

func (e *Engine) writeName(b *backend) error {
	entry := b.named()
	if entry == b.entry {
		return nil
	}
	if err := e.Dataplane.NameBackend(entry); err != nil {
		return fmt.Errorf("name backend %s: %w", b, err)
	}
	b.entry = entry
	return nil
}

// writeSlots computes a service's slots for what its backends take, and writes
// those that differ.
func (e *Engine) writeSlots(s *service) error {
	if s.torn {
		if err := e.mend(s); err != nil {
			return err
		}
	}
	if s.home == nil {
		return e.clearSlots(s)
	}
	live := s.fractions()
	if s.table != nil && slices.Equal(live, s.table.live) {
		return e.moveSlots(s, s.slots.ChangeSlots(e.now(), nil, nil, s.mourns(), e.lives))
	}
	to, moved, err := s.home.resolve(s.table, live)
	if err != nil {
		return fmt.Errorf("compute slots of service %s: %w", s.cfg, err)
	}
	if err := e.publishSlots(s, to.owners, moved); err != nil {
		return fmt.Errorf("write slots of service %s: %w", s.cfg, err)
	}
	s.table = to
	return nil
}

// publishSlots writes a service's first table as a whole, later what moves. All
// owners count where nothing was resolved from the present home before.
func (e *Engine) publishSlots(s *service, owners, moved []int32) error {
	if s.slots != nil && s.table != nil {
		ids := make([]maps.BackendID, len(moved))
		for i, slot := range moved {
			ids[i] = s.owner(owners[slot])
		}
		return e.moveSlots(s, s.slots.ChangeSlots(e.now(), moved, ids, s.mourns(), e.lives))
	}
	ids := make([]maps.BackendID, len(owners))
	for slot, owner := range owners {
		ids[slot] = s.owner(owner)
	}
	switch {
	case s.slots == nil:
		s.slots = transition.New(tracked(e.cfg, s.cfg), ids)
	case s.slots.Size() == len(ids):
		return e.moveSlots(s, s.slots.Change(e.now(), ids, e.lives))
	default:
		s.slots = s.slots.Resize(e.now(), ids, e.lives)
	}
	s.torn = true
	return e.mend(s)
}

// mourns says, once, whether a backend of the service has died since its slots were
// changed last.
func (s *service) mourns() bool {
	died := s.died
	s.died = false
	return died
}

// owner is the number of the backend at an index of the home table.
func (s *service) owner(index int32) maps.BackendID {
	if index < 0 {
		return 0
	}
	return s.backends[index].id
}

// lives says whether a backend has flows.
func (e *Engine) lives(id maps.BackendID) bool {
	b := e.numbers.backend(id)
	return b != nil && b.lives
}

func (e *Engine) moveSlots(s *service, moves []maps.Move) error {
	if len(moves) == 0 {
		return nil
	}
	s.torn = true
	if err := e.Dataplane.MoveSlots(s.id, moves); err != nil {
		return err
	}
	s.torn = false
	if s.serving {
		e.moved += len(moves)
	}
	return nil
}

// mend writes a service's table as a whole.
func (e *Engine) mend(s *service) error {
	if err := e.Dataplane.SetSlotTable(s.id, s.slots.Slots()); err != nil {
		return err
	}
	s.torn = false
	return nil
}

// clearSlots leaves a service that has no backends without owners.
func (e *Engine) clearSlots(s *service) error {
	if s.slots == nil {
		return nil
	}
	return e.moveSlots(s, s.slots.Change(e.now(), make([]maps.BackendID, s.slots.Size()), e.lives))
}
