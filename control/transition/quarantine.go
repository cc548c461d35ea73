package transition

import (
	"slices"
	"time"

	"github.com/xlb-project/xlb/maps"
)

// Quarantine keeps the numbers of backends that are gone from being given anew while a record, a slot or a server ID may
// name them, or a packet on its way that has read one.
type Quarantine struct {
	idle  time.Duration
	since map[maps.BackendID]time.Duration // when each was last known to be named
}

// NewQuarantine returns an empty one. A number is free once nothing has named it for longer than idle.
func NewQuarantine(idle time.Duration) *Quarantine {
	return &Quarantine{idle: idle, since: map[maps.BackendID]time.Duration{}}
}

// Set changes the idle timeout.
func (q *Quarantine) Set(idle time.Duration) { q.idle = idle }

// Add takes in a number whose backend is gone.
func (q *Quarantine) Add(now time.Duration, id maps.BackendID) { q.since[id] = now }

// Holds returns whether a number must not be given.
func (q *Quarantine) Holds(id maps.BackendID) bool {
	_, ok := q.since[id]
	return ok
}

// Release returns, in order, the numbers that may be given again and lets go of them. named tells which ones something
// names now.
func (q *Quarantine) Release(now time.Duration, named func(maps.BackendID) bool) []maps.BackendID {
	var free []maps.BackendID
	for id, since := range q.since {
		if named(id) {
			q.since[id] = now
		} else if now-since > q.idle {
			free = append(free, id)
			delete(q.since, id)
		}
	}
	slices.Sort(free)
	return free
}
