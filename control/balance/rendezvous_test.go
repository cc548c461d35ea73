package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/maps"
)

// seeded returns a backend for each seed.
func seeded(t fataler) (backends [256]Backend) {
	t.Helper()
	missing := 255
	for i := range 1 << 16 {
		key := fmt.Sprintf("10.2.%d.%d", i>>8, i&0xff)
		if b := &backends[maps.Seed(key)]; b.Key == "" {
			*b = Backend{Key: key, Weight: 1}
			missing--
		}
	}
	if missing > 0 {
		t.Fatal("some seeds have no key")
	}
	return backends
}

// drawSeeds returns one to three backends of different seeds, among which those that are small multiples of others, which
// a score that is a product would not tell apart well.
func drawSeeds(t *rapid.T, bySeed *[256]Backend) []Backend {
	first := rapid.IntRange(1, 255).Draw(t, "first")
	other := rapid.OneOf(rapid.IntRange(1, 255), rapid.Map(rapid.IntRange(2, 9), func(m int) int { return first * m % 256 }))
	seeds := map[int]bool{first: true}
	backends := []Backend{bySeed[first]}
	for range rapid.IntRange(0, 2).Draw(t, "others") {
		if s := other.Draw(t, "other"); s > 0 && !seeds[s] {
			seeds[s] = true
			backends = append(backends, bySeed[s])
		}
	}
	return backends
}

// TestOwnersOfFewBackendsFollowFromSeedsAndCutoffs finds the cutoffs from table and keys alone.
func TestOwnersOfFewBackendsFollowFromSeedsAndCutoffs(t *testing.T) {
	bySeed := seeded(t)
	rapid.Check(t, func(t *rapid.T) {
		backends := drawSeeds(t, &bySeed)
		h := mustHome(t, 4_099, backends)
		score := func(slot, b int) uint32 { return maps.SlotScore(slot, maps.Seed(backends[b].Key)) }
		cutoffs := make([]uint32, len(backends)) // above all that the backend has refused
		for slot := range h.Size() {
			owner := int(h.Owner(slot))
			for b := range backends {
				if score(slot, b) > score(slot, owner) {
					cutoffs[b] = max(cutoffs[b], score(slot, b)>>26+1)
				}
			}
		}
		if !slices.Contains(cutoffs, 0) || slices.Max(cutoffs) > 63 {
			t.Fatalf("cutoffs are %v", cutoffs)
		}
		for slot := range h.Size() {
			winner, best := -1, uint32(0)
			for b := range backends {
				if s := score(slot, b); s >= cutoffs[b]<<26 && s >= best {
					winner, best = b, s
				}
			}
			if winner != int(h.Owner(slot)) {
				t.Fatalf("cutoffs %v: slot %d is owned by %d, by scores by %d", cutoffs, slot, h.Owner(slot), winner)
			}
		}
	})
}

func TestEqualWeightsGiveTheSamePreferencesBothWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		backends := drawBackends(t)
		for i := range backends {
			backends[i].Weight = 1
		}
		if len(backends) < 2 {
			return
		}
		h := mustHome(t, 251, backends)
		c := h.newContest(backends)
		for b := range c.cutoffs {
			c.cutoffs[b] = rapid.Uint64().Draw(t, "cutoff")
		}
		c.cutoffs[rapid.IntRange(0, len(backends)-1).Draw(t, "takes all")] = 0
		for slot := range h.Size() {
			c.weights = nil
			winner, bid := c.prefers(slot)
			c.weights = slices.Repeat([]float64{1}, len(backends))
			if w, b := c.prefers(slot); w != winner || b != bid {
				t.Fatalf("slot %d prefers %d (%d), by exponentials %d (%d)", slot, winner, bid, w, b)
			}
		}
	})
}

func TestLogarithmsThatAreSkippedAreAboveTheBound(t *testing.T) {
	check := func(score uint32) {
		if e, bound := exponential(uint64(score)<<32), float64(1<<32-uint64(score))/(1<<32); e < bound*(1+1e-9) {
			t.Fatalf("exponential(%#x << 32) = %v, bound %v", score, e, bound)
		}
	}
	for shift := range 32 {
		for _, score := range []uint32{1 << shift, 1<<shift - 1, math.MaxUint32 >> shift, math.MaxUint32 << shift} {
			check(score)
		}
	}
	for i := range uint64(100_000) {
		check(uint32(mix(i)))
	}
}

// --- figures ---

// TestFewSlotsMoveAsDesignedWhereABackendIsAdded logs Maglev's figures as well.
func TestFewSlotsMoveAsDesignedWhereABackendIsAdded(t *testing.T) {
	const pools = 100
	for _, c := range []struct {
		backends             int
		weights              []uint32
		needless, imbalanced float64 // percent, the mean and at worst
	}{
		{2, []uint32{100}, 0.5, 0.5},
		{3, []uint32{100}, 0.7, 0.5},
		{7, []uint32{100}, 1.1, 0.2},
		{20, []uint32{100}, 1.6, 0.5},
		{39, []uint32{100}, 1.8, 1},
		{7, []uint32{100, 50}, 1.1, 0.2},
		{39, []uint32{100, 50}, 1.5, 1},
	} {
		var quotas, maglev addition
		for p := range pools {
			backends := make([]Backend, c.backends+1)
			for i := range backends {
				backends[i] = Backend{Key: fmt.Sprintf("10.%d.0.%d", p, i), Weight: c.weights[i%len(c.weights)]}
			}
			old, now := mustHome(t, 4_099, backends[:c.backends]), mustHome(t, 4_099, backends)
			quotas.add(old, now, backends)
			old.fillByMaglev()
			now.fillByMaglev()
			maglev.add(old, now, backends)
		}
		t.Logf("%d backends of weights %v: moved needlessly %.2f %% (%.2f %% at worst), imbalance +%.2f %% at worst; "+
			"by Maglev %.2f %% (%.2f %%), +%.2f %%",
			c.backends, c.weights, quotas.needless/pools, quotas.worst, quotas.uneven,
			maglev.needless/pools, maglev.worst, maglev.uneven)
		if mean := quotas.needless / pools; mean > c.needless {
			t.Errorf("%d backends: moved %.2f %% needlessly, want at most %v %%", c.backends, mean, c.needless)
		}
		if quotas.uneven > c.imbalanced {
			t.Errorf("%d backends: imbalance +%.2f %%, want at most %v %%", c.backends, quotas.uneven, c.imbalanced)
		}
	}
}

// addition is what the last of some backends costs the others, in percent.
type addition struct{ needless, worst, uneven float64 }

func (a *addition) add(old, now *Home, backends []Backend) {
	share := make([]float64, len(backends))
	for i, b := range backends {
		share[i] = float64(b.Weight)
	}
	last, n := len(backends)-1, 0
	for s, b := range now.slots {
		if b != old.slots[s] && int(b) != last {
			n++
		}
	}
	needless := 100 * float64(n) / float64(now.Size())
	a.needless, a.worst = a.needless+needless, max(a.worst, needless)
	a.uneven = max(a.uneven, imbalance(old.slots, share[:last]), imbalance(now.slots, share))
}

// TestRoundedCutoffsKeepSharesEven looks at all seeds that are small multiples of others, which a score that is a product
// would not tell apart well, and at some of the other pairs and of all triples.
func TestRoundedCutoffsKeepSharesEven(t *testing.T) {
	bySeed := seeded(t)
	rng := rand.New(rand.NewPCG(1, 0))
	var multiples, pairs, triples [][]int
	for a := 1; a < 256; a++ {
		for b := a + 1; b < 256; b++ {
			switch {
			case b%a == 0 && b/a < 10:
				multiples = append(multiples, []int{a, b})
			case rng.IntN(16) == 0:
				pairs = append(pairs, []int{a, b})
			}
		}
	}
	for range 2_000 {
		seeds := rng.Perm(255)[:3]
		triples = append(triples, []int{seeds[0] + 1, seeds[1] + 1, seeds[2] + 1})
	}
	for _, c := range []struct {
		name        string
		sets        [][]int
		mean, worst float64 // percent
	}{{"multiples", multiples, 0.12, 0.6}, {"other pairs", pairs, 0.12, 0.6}, {"triples", triples, 0.15, 0.8}} {
		mean, worst, above := 0.0, 0.0, 0
		var at []int
		for _, seeds := range c.sets {
			backends, share := make([]Backend, len(seeds)), make([]float64, len(seeds))
			for i, s := range seeds {
				backends[i], share[i] = bySeed[s], 1
			}
			uneven := imbalance(mustHome(t, 4_099, backends).slots, share)
			mean += uneven / float64(len(c.sets))
			if uneven > 1 {
				above++
			}
			if uneven > worst {
				worst, at = uneven, seeds
			}
		}
		t.Logf("%d %s: imbalance +%.3f %%, at worst +%.2f %% (seeds %v), above 1 %%: %d", len(c.sets), c.name, mean, worst, at, above)
		if mean > c.mean || worst > c.worst {
			t.Errorf("%s: imbalance +%.3f %%, at worst +%.2f %%, want at most %v and %v %%", c.name, mean, worst, c.mean, c.worst)
		}
	}
}
