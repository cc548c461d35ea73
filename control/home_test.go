package control

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/control/balance"
)

func TestASharedHomeGivesEachServiceItsTableAndWhatMovedInIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := make([]balance.Backend, rapid.IntRange(1, 4).Draw(t, "backends"))
		for i := range members {
			members[i] = balance.Backend{Key: fmt.Sprint(i), Weight: 1}
		}
		all := homes{}
		tables := make([]*table, rapid.IntRange(1, 3).Draw(t, "services"))
		seen := make([][]int32, len(tables)) // as packets see them
		var shared *home
		for range tables {
			var err error
			if shared, err = all.get(101, members); err != nil {
				t.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 20).Draw(t, "changes") {
			s := rapid.IntRange(0, len(tables)-1).Draw(t, "service")
			live := make([]float64, len(members))
			for i := range live {
				live[i] = float64(rapid.IntRange(0, 1).Draw(t, "live"))
			}
			to, moved, err := shared.resolve(tables[s], live)
			if err != nil {
				t.Fatal(err)
			}
			if tables[s] == nil {
				seen[s] = slices.Clone(to.owners)
			}
			for _, slot := range moved {
				if seen[s][slot] == to.owners[slot] {
					t.Fatalf("slot %d moved from %d to itself", slot, to.owners[slot])
				}
				seen[s][slot] = to.owners[slot]
			}
			tables[s] = to
			want := make([]int32, shared.Size())
			if err := shared.Resolve(live, want); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(seen[s], want) || !slices.Equal(to.owners, want) || !slices.Equal(to.live, live) {
				t.Fatalf("service %d under %v: not the table that resolve gives", s, live)
			}
			for other, is := range tables {
				if is != nil && !slices.Equal(is.owners, seen[other]) {
					t.Fatalf("service %d's change touched service %d", s, other)
				}
			}
		}
	})
}
