package transition

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/control/balance/sim"
	"github.com/xlb-project/xlb/maps"
)

func TestChangingTheSlotsThatDifferIsChangingAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := newTwins(t, Settings{})
		some := New(all.table.settings, all.owners)
		now := time.Duration(0)
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			now += time.Duration(rapid.IntRange(0, 5).Draw(t, "seconds")) * time.Second
			died := false
			for b := 1; b <= backends; b++ {
				is := sim.Phase(rapid.IntRange(int(sim.Down), int(sim.Up)).Draw(t, "phase"))
				died = died || is == sim.Down && all.phases[b] != sim.Down
				all.phases[b] = is
			}
			var slots []int32
			var owners []maps.BackendID
			for s, b := range all.drawOwners(len(all.owners)) {
				if rapid.Bool().Draw(t, "moves") {
					all.owners[s] = b
				}
				if all.owners[s] != some.current[s] || rapid.Bool().Draw(t, "named all the same") {
					slots, owners = append(slots, int32(s)), append(owners, all.owners[s])
				}
			}
			want := all.table.Change(now, all.owners, all.lives)
			got := some.ChangeSlots(now, slots, owners, died, all.lives)
			if !slices.Equal(got, want) || !slices.Equal(some.Slots(), all.table.Slots()) {
				t.Fatalf("moves %+v, want %+v", got, want)
			}
		}
	})
}

// A conversation that goes on while records are made stays where it is when the size changes, and is not disturbed by
// what changes meanwhile.
func TestRecordedFlowsStayWhenTheSizeChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTwins(t, Settings{})
		w.path.phases = w.phases
		owners := map[uint64]maps.BackendID{}
		for i := range 40 {
			hash := hashOf(i)
			owners[hash] = w.path.route(0, hash, sim.Packet{Hash: hash, SYN: true})
		}
		talk := func() {
			t.Helper()
			for hash, owner := range owners {
				if got := w.path.route(w.now, hash, sim.Packet{Hash: hash}); owner != 0 && w.lives(owner) && got != owner {
					t.Fatalf("at %s flow %x goes to %d, not %d", w.now, hash, got, owner)
				}
			}
		}
		w.path.store(w.table.Record(w.now))
		for w.now < idle+2*time.Second {
			w.now += 2 * time.Second
			talk()
			if rapid.Bool().Draw(t, "moves") {
				w.owners = w.drawOwners(len(w.owners))
				w.path.store(w.table.Change(w.now, w.owners, w.lives))
			}
			w.path.store(w.table.Sweep(w.now, w.scan(false)))
			talk()
		}
		w.owners = w.drawOwners(rapid.IntRange(1, 12).Draw(t, "new size"))
		w.table = w.table.Resize(w.now, w.owners, w.lives)
		w.path.slots = w.table.Slots()
		for range 20 {
			talk()
			w.now += 5 * time.Second
			w.path.store(w.table.Learn(w.now))
			w.path.store(w.table.Sweep(w.now, w.scan(true)))
		}
	})
}

func TestASlotIsFormerlyTheOneThatCoversItsMiddle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, former := rapid.IntRange(1, 70_000).Draw(t, "size"), rapid.IntRange(1, 70_000).Draw(t, "former")
		s := rapid.IntRange(0, size-1).Draw(t, "slot")
		got := formerSlot(s, size, former)
		if want := (2*s + 1) * former / (2 * size); got != want && (2*s+1)*former%(2*size) != 0 && got != want-1 {
			t.Fatalf("slot %d of %d was %d of %d, want %d", s, size, got, former, want)
		}
	})
}
