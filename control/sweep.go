package control

import (
	"time"

	"github.com/xlb-project/xlb/control/transition"
	"github.com/xlb-project/xlb/maps"
)

const (
	// sweepTime is how often the flow table is gone through while it matters, idleSweep
	// how often otherwise: records whose clock would come round have to go before.
	sweepTime = 2 * time.Second
	idleSweep = 5 * time.Minute
	// sweepShare bounds the part of the engine's time that sweeps take.
	sweepShare = 20
)

// sweeper is when the flow table is gone through, and what the last pass found.
type sweeper struct {
	swept    bool          // once at least
	last     time.Duration // when the latest pass began
	ended    time.Duration // and ended
	recorded int
	tickBase uint64 // of the data path's clock
}

// startTick goes on with the clock of flow records where a former daemon left it:
// what packets wrote meanwhile carries that time.
func (e *Engine) startTick() {
	e.sweeper.tickBase = e.Dataplane.Tick() + 1
	e.setTick()
}

func (e *Engine) setTick() {
	e.Dataplane.SetTick(e.sweeper.tickBase + uint64(e.now()/time.Second))
}

// forgetStrangers removes the records of numbers that nobody has, before they are given.
func (e *Engine) forgetStrangers() {
	e.Dataplane.ForgetFlows(func(f maps.Flow) bool { return e.numbers.backend(f.Backend) == nil })
}

// tick does what comes with time.
func (e *Engine) tick() {
	e.setTick()
	e.tellOverruns()
	e.reattach()
	e.endDrains()
	e.endLeaving()
	e.retrySources()
	for _, s := range e.services {
		e.watchClients(s)
		if s.slots == nil {
			continue
		}
		if err := e.advance(s); err != nil {
			e.isBroken(err)
		}
	}
	if e.sweepIsDue() {
		e.sweep()
	}
	e.retry()
}

// advance moves the transitions and the size of a service's table on.
func (e *Engine) advance(s *service) error {
	if err := e.advanceResize(s); err != nil {
		return err
	}
	return e.moveSlots(s, s.slots.Learn(e.now()))
}

// sweepIsDue says whether it is time for the next pass. What matters may have begun
// to matter since the last one.
func (e *Engine) sweepIsDue() bool {
	pause := idleSweep
	if e.sweepMatters() {
		pause = sweepTime
	}
	return !e.sweeper.swept || e.now()-e.sweeper.ended >= max(pause, sweepShare*(e.sweeper.ended-e.sweeper.last))
}

// sweepMatters says whether somebody waits for what records tell.
func (e *Engine) sweepMatters() bool {
	// Records that no transition needs any more have to go, or they would mislead a
	// connection that has the addresses of a former one in a later transition.
	if len(e.numbers.held) > 0 || e.draining() || e.sweeper.recorded > 0 {
		return true
	}
	for _, s := range e.services {
		if s.slots != nil && s.slots.Tracks() || len(s.lingering()) > 0 {
			return true
		}
	}
	return false
}

// sweep goes through the flow table once: it forgets what has ended, counts, and
// ends the transitions that nobody needs.
func (e *Engine) sweep() {
	e.sweeper.last = e.now()
	scan := transition.NewScan(e.sweeper.last, e.scanned())
	e.Dataplane.ForgetFlows(scan.See)
	e.sweeper.recorded = 0
	for _, s := range e.services {
		for _, b := range s.all() {
			b.flows = scan.Flows(b.id)
			e.sweeper.recorded += b.flows
		}
		if s.slots == nil {
			continue
		}
		if err := e.moveSlots(s, s.slots.Sweep(e.now(), scan)); err != nil {
			e.isBroken(err)
		}
	}
	for _, id := range e.numbers.release(e.now(), func(id maps.BackendID) bool { return scan.Named(id) || e.slotsName(id) }) {
		if err := e.Dataplane.NameBackend(maps.BackendEntry{ID: id}); err != nil {
			e.isBroken(err)
		}
	}
	e.sweeper.swept, e.sweeper.ended = true, e.now()
}

// scanned is what a scan has to know of backends, by number.
func (e *Engine) scanned() []transition.Backend {
	rows := make([]transition.Backend, len(e.numbers.backends))
	for id, b := range e.numbers.backends {
		if b != nil && b.service.slots != nil {
			rows[id] = transition.Backend{Table: b.service.slots, Lives: b.lives}
		}
	}
	return rows
}

// slotsName says whether a slot names a number that is in quarantine. The slots
// of its service are written anew before it gets there, so that only a table that
// could not be written may.
func (e *Engine) slotsName(id maps.BackendID) bool {
	entry := e.numbers.held[id]
	if int(entry.Service) >= len(e.numbers.services) {
		return false
	}
	s := e.numbers.services[entry.Service]
	return s != nil && s.torn
}

// retry writes again what could not be written.
func (e *Engine) retry() {
	if e.broken == "" {
		return
	}
	err := e.reconcile()
	if err == nil {
		err = e.remove()
	}
	if err == nil {
		err = e.watch()
	}
	if err == nil {
		err = e.save(nil)
	}
	if err != nil {
		e.isBroken(err)
		return
	}
	e.broken = ""
	e.tell(EventState, nil, nil, "the data path is as it should be again")
}

// tellMoved sums up what moved in a round.
func (e *Engine) tellMoved() {
	if e.moved == 0 {
		return
	}
	open := 0
	for _, s := range e.services {
		open += s.transitions()
	}
	e.tell(EventTransition, nil, nil, "%d slots changed, %d are in transition", e.moved, open)
	e.moved = 0
}
