package model

import (
	"math/rand/v2"
	"slices"

	"github.com/xlb-project/xlb/maps"
)

// RandomChange changes the slots of one service and whether one backend is up and
// accepts, and says which: what goes to SetTransition and SetBackend. The rest of
// a running state cannot change.
func RandomChange(r *rand.Rand, s *State) (maps.ServiceID, maps.BackendID) {
	service := maps.ServiceID(1 + r.IntN(len(s.Services)))
	slots := slotsOf(s, service)
	if len(slots) == 0 {
		slots = make([]maps.Slot, r.IntN(20))
	}
	s.Transitions[service] = changedSlots(r, slots, familyBackends(s, isIPv6(s, service)))
	if backends := ownersOf(slots); len(slots) == fewSlots && len(backends) > 0 && r.IntN(2) == 0 {
		s.Transitions[service] = maps.Steady(byScores(r, s, backends))
	}
	delete(s.Slots, service)

	id := maps.BackendID(1 + r.IntN(len(s.Backends)))
	b := s.Backends[id]
	randomHealth(r, &b)
	s.Backends[id] = b
	return service, id
}

// randomHealth is mostly what the control plane may say, which is never that a
// backend takes new flows and no old ones.
func randomHealth(r *rand.Rand, b *maps.Backend) {
	b.Up = r.IntN(4) != 0
	b.Accepts = b.Up && r.IntN(4) != 0
	if r.IntN(20) == 0 {
		b.Accepts = !b.Accepts
	}
}

// ownersOf are the first few current owners of slots, in the order of their numbers.
func ownersOf(slots []maps.Slot) (ids []maps.BackendID) {
	for _, slot := range slots {
		if slot.Current != 0 && len(ids) < 3 && !slices.Contains(ids, slot.Current) {
			ids = append(ids, slot.Current)
		}
	}
	slices.Sort(ids)
	return ids
}

// familyBackends are all of a family, in order.
func familyBackends(s *State, v6 bool) (ids []maps.BackendID) {
	for id, b := range s.Backends {
		if b.IPv6 == v6 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// changedSlots begins, continues and ends transitions of a table's slots.
func changedSlots(r *rand.Rand, old []maps.Slot, backends []maps.BackendID) []maps.Slot {
	owner := func() maps.BackendID {
		if len(backends) == 0 || r.IntN(20) == 0 {
			return 0
		}
		return pick(r, backends)
	}
	slots := slices.Clone(old)
	for i := range slots {
		slot := &slots[i]
		switch r.IntN(6) {
		case 0:
			*slot = maps.Slot{Current: slot.Current, Previous: slot.Current}
		case 1:
			slot.Learned = slot.Transition
		case 2, 3:
			*slot = maps.Slot{Current: owner(), Previous: slot.Current, Transition: true}
		case 4:
			*slot = maps.Slot{Current: owner(), Previous: owner(), Transition: true, Learned: r.IntN(2) == 0}
		}
	}
	return slots
}
