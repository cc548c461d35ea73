package control

import (
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/transition"
	"github.com/xlb-project/xlb/maps"
)

// numbers are who has which number in the data path. A backend's number is given
// anew only when no flow record, slot or server ID may name it any more.
type numbers struct {
	services []*service // by number, nil: free
	backends []*backend // by number, nil: free or in quarantine; 0 is nobody's
	lowest   int        // no service number below is free
	free     int        // of backends, those in quarantine not counted

	quarantine *transition.Quarantine
	held       map[maps.BackendID]maps.BackendEntry // what the identity map says of numbers in quarantine
}

func newNumbers(services, backends int, idle time.Duration) *numbers {
	return &numbers{
		services: make([]*service, services), backends: make([]*backend, backends+1), free: backends,
		quarantine: transition.NewQuarantine(idle), held: map[maps.BackendID]maps.BackendEntry{},
	}
}

// grow makes room for limits that are larger.
func (n *numbers) grow(limits config.Limits) {
	services, backends := max(limits.Services, len(n.services)), max(limits.Backends+1, len(n.backends))
	n.free += backends - len(n.backends)
	n.services, n.backends = resized(n.services, services), resized(n.backends, backends)
}

// reach makes room for a number that is in use. Where limits have been lowered, the
// tables keep what they hold.
func (n *numbers) reach(service maps.ServiceID, backend maps.BackendID) {
	n.grow(config.Limits{Services: int(service) + 1, Backends: int(backend)})
}

// fit returns an ErrInvalid if under the limits there are not enough numbers for
// more services and backends.
func (n *numbers) fit(limits config.Limits, services, backends int) error {
	free, inUse := n.free+limits.Backends+1-len(n.backends), n.inUse()
	if inUse+services > limits.Services {
		return faultf(ErrInvalid, "%d new services beside the %d in use, and limits.services is %d: raise limits.services, or make the change in two steps",
			services, inUse, limits.Services)
	}
	if backends > max(free, 0) {
		return faultf(ErrInvalid, "%d new backends, and of limits.backends (%d) %d are free, as %d that were removed may still have connections: raise limits.backends, or wait for flows.idle",
			backends, limits.Backends, max(free, 0), len(n.held))
	}
	return nil
}

func resized[T any](old []T, size int) []T {
	out := make([]T, size)
	copy(out, old)
	return out
}

func (n *numbers) inUse() int {
	used := 0
	for _, s := range n.services {
		if s != nil {
			used++
		}
	}
	return used
}

func (n *numbers) backend(id maps.BackendID) *backend {
	if int(id) >= len(n.backends) {
		return nil
	}
	return n.backends[id]
}

// giveService gives a service the lowest free number; there is one.
func (n *numbers) giveService(s *service) {
	for n.services[n.lowest] != nil {
		n.lowest++
	}
	s.id = maps.ServiceID(n.lowest)
	n.services[n.lowest] = s
}

// freeService takes a service's number back.
func (n *numbers) freeService(s *service) {
	n.services[s.id] = nil
	n.lowest = min(n.lowest, int(s.id))
}

// giveBackends gives backends free numbers; there are enough. Small services' slots
// are kept in less memory if their backends' numbers are neighbours: see maps.Tables.
func (n *numbers) giveBackends(fresh []*backend) {
	lowest := maps.BackendID(1)
	for _, b := range fresh {
		for !n.isFree(lowest) {
			lowest++
		}
		if b.id = n.near(b.service); b.id == 0 {
			b.id = lowest
		}
		n.backends[b.id] = b
		n.free--
	}
}

func (n *numbers) isFree(id maps.BackendID) bool {
	return id > 0 && int(id) < len(n.backends) && n.backends[id] == nil && !n.quarantine.Holds(id)
}

// neighbours is how many backends with consecutive numbers make the smallest tables.
const neighbours = 3

// near returns a free number such that all of a small service's lie together, 0 if
// there is none.
func (n *numbers) near(s *service) maps.BackendID {
	if len(s.backends) > neighbours {
		return 0
	}
	least, most := ^maps.BackendID(0), maps.BackendID(0)
	for _, b := range s.backends {
		if b.id != 0 {
			least, most = min(least, b.id), max(most, b.id)
		}
	}
	if most == 0 || most-least >= neighbours {
		return 0
	}
	for id := most - min(most, neighbours-1); id < least+neighbours; id++ {
		if n.isFree(id) {
			return id
		}
	}
	return 0
}

// claimBackend notes that a backend has its number from before.
func (n *numbers) claimBackend(b *backend) {
	n.backends[b.id] = b
	n.free--
}

// isolate takes a backend's number out of use but not yet back.
func (n *numbers) isolate(now time.Duration, b *backend) {
	n.backends[b.id] = nil
	n.quarantine.Add(now, b.id)
	n.held[b.id] = b.entry
}

// hold keeps a number that nobody has from being given.
func (n *numbers) hold(now time.Duration, entry maps.BackendEntry) {
	n.quarantine.Add(now, entry.ID)
	n.held[entry.ID] = entry
	n.free--
}

// release gives back the numbers that nothing names any more.
func (n *numbers) release(now time.Duration, named func(maps.BackendID) bool) []maps.BackendID {
	ids := n.quarantine.Release(now, named)
	for _, id := range ids {
		delete(n.held, id)
	}
	n.free += len(ids)
	return ids
}
