package control

import (
	"fmt"
	"time"
)

// resize is the preparation of another size of a service's table: see
// docs/decisions/0013-a-table-grows-once-its-flows-are-known.md.
type resize struct {
	size  int
	since time.Duration // all flows are recorded since then
	began bool
}

// want notes which size a service's table should have. It is prepared from the
// next tick on, unless there is no table yet, or the home table has it already.
func (s *service) want(size int) {
	switch {
	case s.home == nil || s.home.Size() == size:
		if s.resize != nil && s.slots != nil {
			s.slots.Stop()
		}
		s.resize = nil
	case s.resize == nil:
		s.resize = &resize{size: size}
	default:
		s.resize.size = size
	}
}

// advanceResize brings a service nearer to the size that it should have: first
// all its flows are recorded, for as long as a silent one may live; then the other
// table takes over, in which every flow is found by its record.
func (e *Engine) advanceResize(s *service) error {
	r := s.resize
	if r == nil || s.slots == nil {
		return nil
	}
	if !r.began {
		r.began, r.since = true, e.now()
		e.tell(EventTransition, s, nil, "the slot table goes from %d to %d slots: all flows are recorded for %s first", s.slots.Size(), r.size, e.cfg.Flows.Idle)
		return e.moveSlots(s, s.slots.Record(e.now()))
	}
	if e.now()-r.since <= e.cfg.Flows.Idle {
		return nil
	}
	home, err := e.homes.get(r.size, members(s.cfg.Backends))
	if err != nil {
		return fmt.Errorf("compute slots of service %s: %w", s.cfg, err)
	}
	s.home, s.table, s.resize = home, nil, nil
	e.homes.keep(e.services)
	if err := e.writeSlots(s); err != nil {
		return err
	}
	e.tell(EventTransition, s, nil, "the slot table has %d slots", s.slots.Size())
	return nil
}
