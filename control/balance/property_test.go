package balance

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/maps"
)

// checkMoves fails unless every slot that changed its owner had a reason.
func checkMoves(t *rapid.T, oldLive, newLive []float64, old, new []int32) {
	t.Helper()
	for s := range old {
		from, to := old[s], new[s]
		if from == to {
			continue
		}
		fell := from != nobody && newLive[from] < oldLive[from]
		rose := to != nobody && newLive[to] > oldLive[to]
		if !fell && !rose {
			t.Fatalf("slot %d moved from %d to %d without a reason", s, from, to)
		}
	}
}

// checkOwners fails unless every slot is owned by a live backend, or by nobody if there is none.
func checkOwners(t *rapid.T, live []float64, table []int32) {
	t.Helper()
	any := slices.ContainsFunc(live, func(f float64) bool { return f > 0 })
	for s, b := range table {
		if any && (b == nobody || live[b] == 0) || !any && b != nobody {
			t.Fatalf("slot %d is owned by %d although fractions are %v", s, b, live)
		}
	}
}

func TestOnlySlotsWithAReasonMoveInAnySequenceOfChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, backends := drawHome(t)
		live := allLive(len(backends))
		table := mustResolve(t, h, live)
		for range rapid.IntRange(1, 5).Draw(t, "changes") {
			next := drawLive(t, len(live))
			nextTable := mustResolve(t, h, next)
			checkOwners(t, next, nextTable)
			checkMoves(t, live, next, table, nextTable)
			live, table = next, nextTable
		}
	})
}

func TestOneBackendsChangeMovesSlotsOnlyFromItOrOnlyToIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, backends := drawHome(t)
		live := drawLive(t, len(backends))
		table := mustResolve(t, h, live)
		for range rapid.IntRange(1, 5).Draw(t, "changes") {
			b := int32(rapid.IntRange(0, len(live)-1).Draw(t, "backend"))
			next := slices.Clone(live)
			next[b] = fraction.Draw(t, "fraction")
			nextTable := mustResolve(t, h, next)
			for s := range table {
				from, to := table[s], nextTable[s]
				if from == to {
					continue
				}
				if next[b] > live[b] && to != b || next[b] < live[b] && from != b || next[b] == live[b] {
					t.Fatalf("backend %d went from %v to %v: slot %d moved from %d to %d", b, live[b], next[b], s, from, to)
				}
			}
			live, table = next, nextTable
		}
	})
}

func TestFormerFractionsBringBackTheFormerTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, backends := drawHome(t)
		live := drawLive(t, len(backends))
		want := mustResolve(t, h, live)
		dst := make([]int32, h.Size()) // used again and again, as a caller would
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			if err := h.Resolve(drawLive(t, len(backends)), dst); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Resolve(live, dst); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(dst, want) {
			t.Fatal("the table depends on what was resolved before")
		}
	})
}

func TestAllLiveIsTheHomeTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, backends := drawHome(t)
		for s, b := range mustResolve(t, h, allLive(len(backends))) {
			if b != h.Owner(s) {
				t.Fatalf("slot %d is owned by %d, at home by %d", s, b, h.Owner(s))
			}
		}
	})
}

func TestListingOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, backends := drawHome(t)
		live := drawLive(t, len(backends))
		index := make([]int, len(backends))
		for i := range index {
			index[i] = i
		}
		index = rapid.Permutation(index).Draw(t, "order")
		shuffled, shuffledLive := make([]Backend, len(index)), make([]float64, len(index))
		for to, from := range index {
			shuffled[to], shuffledLive[to] = backends[from], live[from]
		}
		other := mustHome(t, h.Size(), shuffled)
		want := keysOf(mustResolve(t, h, live), backends)
		if got := keysOf(mustResolve(t, other, shuffledLive), shuffled); !slices.Equal(got, want) {
			t.Fatal("the table depends on the order in which backends are listed")
		}
	})
}

func TestOnlyRatiosOfWeightsMatterAtHome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, backends := drawHome(t)
		scale := rapid.Uint32Range(2, 1_000).Draw(t, "scale")
		for i := range backends {
			backends[i].Weight = backends[i].Weight%1_000 + 1
		}
		h = mustHome(t, h.Size(), backends)
		for i := range backends {
			backends[i].Weight *= scale
		}
		if !slices.Equal(mustHome(t, h.Size(), backends).slots, h.slots) {
			t.Fatalf("all weights times %d give another table", scale)
		}
	})
}

func TestHomeSharesAreProportionalToWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, backends := drawHome(t)
		var total float64
		for _, b := range backends {
			total += float64(b.Weight)
		}
		count := make([]int, len(backends))
		for _, b := range h.slots {
			count[b]++
		}
		for i, b := range backends {
			share := float64(b.Weight) / total
			slack := 1.5 + share*float64(len(backends))/2
			switch {
			case mayBeComputed(h.Size(), backends):
				slack = 0.04 * float64(h.Size()) / float64(len(backends))
			case h.Size() <= fewSlots:
				slack = 1
			}
			if diff := float64(count[i]) - share*float64(h.Size()); diff > slack || diff < -slack {
				t.Fatalf("backend %d with share %v has %d of %d slots, off by %v", i, share, count[i], h.Size(), diff)
			}
		}
	})
}

// mayBeComputed tells for which tables the package documentation promises that each slot's owner follows from seeds and
// rounded cutoffs.
func mayBeComputed(size int, backends []Backend) bool {
	seeds := map[uint8]bool{}
	for _, b := range backends {
		seeds[maps.Seed(b.Key)] = true
	}
	return size == 4_099 && len(backends) <= 3 && len(seeds) == len(backends) &&
		!slices.ContainsFunc(backends, func(b Backend) bool { return b.Weight != backends[0].Weight })
}

// TestTableEqualsTheDocumentedOne computes both tables slowly, straight from the package documentation: home by deferred
// acceptance over sorted preferences, the owner of a slot as the backend with the best score.
func TestTableEqualsTheDocumentedOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		backends := drawBackends(t)
		if len(backends) > 40 {
			backends = backends[:40]
		}
		h := mustHome(t, testSizes[0], backends)
		live := drawLive(t, len(backends))
		home := documentedRendezvous(h.Size(), backends)
		table := mustResolve(t, h, live)
		for s := range table {
			if h.Owner(s) != home[s] {
				t.Fatalf("slot %d is at home with %d, documented %d", s, h.Owner(s), home[s])
			}
			if want := documentedOwner(s, home, backends, live); table[s] != want {
				t.Fatalf("slot %d is owned by %d, documented %d", s, table[s], want)
			}
		}
	})
}

// TestMaglevDealsSlotsOutAsDocumented computes the table from a sorted list of all turns.
func TestMaglevDealsSlotsOutAsDocumented(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		backends := drawBackends(t)
		if len(backends) > 40 {
			backends = backends[:40]
		}
		h := mustHome(t, testSizes[0], backends)
		h.fillByMaglev()
		if !slices.Equal(h.slots, documentedMaglev(h.Size(), backends)) {
			t.Fatalf("%v: not the documented table", backends)
		}
	})
}

func documentedMaglev(size int, backends []Backend) []int32 {
	home := slices.Repeat([]int32{nobody}, size)
	for _, b := range turnOrder(size, backends) {
		hash := keyHash(backends[b].Key)
		slot, skip := below(mix(hash+slotStep), size), 1+below(mix(hash+walkStep), size-1)
		for home[slot] != nobody {
			slot = (slot + skip) % size
		}
		home[slot] = b
	}
	return home
}

// documentedRendezvous has all refused slots bid at once, where settle takes one after the other.
func documentedRendezvous(size int, backends []Backend) []int32 {
	var total uint64
	order := make([]int32, len(backends))
	for i, b := range backends {
		order[i] = int32(i)
		total += uint64(b.Weight)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(backends[b].Weight, backends[a].Weight),
			cmp.Compare(keyHash(backends[a].Key), keyHash(backends[b].Key)))
	})
	quotas, left := make([]int, len(backends)), size
	for i, b := range backends {
		quotas[i] = int(uint64(size) * uint64(b.Weight) / total)
		left -= quotas[i]
	}
	byRemainder := slices.Clone(order)
	slices.SortStableFunc(byRemainder, func(a, b int32) int {
		remainder := func(i int32) uint64 { return uint64(size) * uint64(backends[i].Weight) % total }
		return cmp.Compare(remainder(b), remainder(a))
	})
	for _, b := range byRemainder[:left] {
		quotas[b]++
	}

	score := func(slot int, b int32) uint32 { return maps.SlotScore(slot, maps.Seed(backends[b].Key)) }
	value := func(slot int, b int32) float64 {
		return exponential(uint64(score(slot, b))<<32) / float64(backends[b].Weight)
	}
	tie := func(slot int, b int32) uint64 { return mix(stepHash(slot, 65) ^ keyHash(backends[b].Key)) }
	preferences, bidding := make([][]int32, size), make([]int, size)
	for slot := range preferences {
		preferences[slot], bidding[slot] = slices.Clone(order), slot
		slices.SortStableFunc(preferences[slot], func(a, b int32) int {
			return cmp.Or(cmp.Compare(value(slot, a), value(slot, b)), cmp.Compare(tie(slot, b), tie(slot, a)))
		})
	}
	held := make([][]int, len(backends))
	for len(bidding) > 0 {
		for _, slot := range bidding {
			b := preferences[slot][0]
			held[b], preferences[slot] = append(held[b], slot), preferences[slot][1:]
		}
		bidding = nil
		for i := range held {
			b := int32(i)
			slices.SortFunc(held[b], func(x, y int) int {
				return cmp.Or(cmp.Compare(score(y, b), score(x, b)), cmp.Compare(y, x))
			})
			if kept := quotas[b]; len(held[b]) > kept {
				bidding = append(bidding, held[b][kept:]...)
				held[b] = held[b][:kept]
			}
		}
	}
	home := make([]int32, size)
	for b, slots := range held {
		for _, slot := range slots {
			home[slot] = int32(b)
		}
	}
	return home
}

func documentedOwner(slot int, home []int32, backends []Backend, live []float64) int32 {
	accepts := func(hash uint64, b int32) bool {
		u := new(big.Float).SetMantExp(new(big.Float).SetUint64(mix(hash^keyHash(backends[b].Key))>>11), -53)
		return u.Cmp(big.NewFloat(live[b])) < 0
	}
	winner, best := nobody, 0.0
	for i := range backends {
		b := int32(i)
		if live[b] == 0 {
			continue
		}
		// A score: 64 - step where the walk accepts, below 0 where the rendezvous decides.
		score := 0.0
		for step := candidates - 1; step >= 0; step-- {
			candidate := home[slot]
			if step > 0 {
				candidate = home[below(stepHash(slot, step), len(home))]
			}
			if candidate == b && accepts(stepHash(slot, step), b) {
				score = float64(candidates - step)
			}
		}
		if score == 0 {
			value := exponential(mix(stepHash(slot, candidates) ^ keyHash(backends[b].Key)))
			score = -value / (float64(backends[b].Weight) * math.Ceil(live[b]*0x1p53))
		}
		if winner == nobody || score > best {
			winner, best = b, score
		}
	}
	return winner
}

func TestUpdateGivesWhatResolveGivesAndNamesTheSlotsThatMoved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, backends := drawHome(t)
		live := drawLive(t, len(backends))
		table := mustResolve(t, h, live)
		for range rapid.IntRange(1, 5).Draw(t, "changes") {
			next := drawLive(t, len(live))
			want := mustResolve(t, h, next)
			var wantMoved []int32
			for s := range table {
				if table[s] != want[s] {
					wantMoved = append(wantMoved, int32(s))
				}
			}
			got := slices.Clone(table)
			moved, err := h.Update(live, next, got)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) || !slices.Equal(moved, wantMoved) {
				t.Fatalf("from %v to %v: update moved %v, want %v", live, next, moved, wantMoved)
			}
			live, table = next, want
		}
	})
}
