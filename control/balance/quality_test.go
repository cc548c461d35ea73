package balance

import (
	"math"
	"testing"
)

// The tests here hold the table to the figures of the design on fixed pools, so they cannot flicker. Each logs what it
// measured.

// downFirst returns n fractions of which the first k are 0.
func downFirst(n, k int) []float64 {
	live := allLive(n)
	clear(live[:k])
	return live
}

// moved returns the share of slots that differ, in percent.
func moved(a, b []int32) float64 {
	n := 0
	for s := range a {
		if a[s] != b[s] {
			n++
		}
	}
	return 100 * float64(n) / float64(len(a))
}

// imbalance returns by how much, in percent, the fullest backend exceeds its share, which is proportional to share[i].
func imbalance(table []int32, share []float64) float64 {
	var total float64
	count := make([]float64, len(share))
	for _, f := range share {
		total += f
	}
	for _, b := range table {
		count[b]++
	}
	worst := 0.0
	for i, f := range share {
		if f > 0 {
			worst = max(worst, count[i]/(float64(len(table))*f/total))
		}
	}
	return 100 * (worst - 1)
}

func TestMovementAndImbalanceAreAsDesigned(t *testing.T) {
	throttled := allLive(100)
	throttled[0] = 0.9
	for _, c := range []struct {
		name                    string
		size                    int
		live                    []float64
		least, most, imbalanced float64 // percent
	}{
		{"all live", 65_537, allLive(100), 0, 0, 0.2},
		{"1 of 100 down", 65_537, downFirst(100, 1), 0.99, 1.01, 1.3},
		{"10 of 100 down", 65_537, downFirst(100, 10), 9.99, 10.02, 4.2},
		{"1 of 100 at 0.9", 65_537, throttled, 0.07, 0.12, 1.8},
		{"90 of 100 down", 65_537, downFirst(100, 90), 89.95, 90.05, 4},
		{"99 of 100 down", 65_537, downFirst(100, 99), 98.99, 99.01, 0.001},
		{"1 of 100 down, small", 10_007, downFirst(100, 1), 0.98, 1.02, 6},
		{"10 of 100 down, large", 1_048_583, downFirst(100, 10), 9.99, 10.01, 0.8},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := mustHome(t, c.size, pool(100))
			table := mustResolve(t, h, c.live)
			movement, uneven := moved(h.slots, table), imbalance(table, c.live)
			t.Logf("M = %d: moved %.3f %%, imbalance +%.2f %%", c.size, movement, uneven)
			if movement < c.least || movement > c.most {
				t.Errorf("moved %.3f %%, want %v to %v %%", movement, c.least, c.most)
			}
			if uneven > c.imbalanced {
				t.Errorf("imbalance +%.2f %%, want at most %v %%", uneven, c.imbalanced)
			}
		})
	}
}

// TestSharesFollowWeightTimesFraction covers pools so small that a backend is often its own next candidate, and fractions so
// small that the fallback decides.
func TestSharesFollowWeightTimesFraction(t *testing.T) {
	for name, c := range map[string]struct {
		weights []uint32
		live    []float64
	}{
		"two, one at half":             {[]uint32{1, 1}, []float64{1, 0.5}},
		"two, both at half":            {[]uint32{1, 1}, []float64{0.5, 0.5}},
		"three, mixed":                 {[]uint32{1, 2, 3}, []float64{0.3, 1, 0.6}},
		"all nearly down":              {[]uint32{1, 2, 3}, []float64{1e-3, 1e-3, 1e-3}},
		"all nearly down, not alike":   {[]uint32{5, 2, 3}, []float64{1e-6, 2e-6, 4e-6}},
		"live ones too light to reach": {[]uint32{1, 3, 1 << 31}, []float64{1, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			backends, share := pool(len(c.weights)), make([]float64, len(c.weights))
			for i, w := range c.weights {
				backends[i].Weight = w
				share[i] = float64(w) * c.live[i]
			}
			table := mustResolve(t, mustHome(t, 65_537, backends), c.live)
			if uneven := imbalance(table, share); uneven > 2 {
				t.Errorf("imbalance +%.2f %%, want at most 2 %%", uneven)
			}
		})
	}
}

func TestChangeOfTheConfiguredSetMovesFewSlotsNeedlessly(t *testing.T) {
	const size = 65_537
	old := mustHome(t, size, pool(100))
	for _, c := range []struct {
		name   string
		change func([]Backend) []Backend
		ideal  float64 // percent
		most   float64
	}{
		{"one added", func([]Backend) []Backend { return pool(101) }, 100.0 / 101, 1.5},
		{"one removed", func(b []Backend) []Backend { return b[:99] }, 1, 1.5},
		{"weight 100 to 90", func(b []Backend) []Backend { b[99].Weight = 90; return b }, 0.1, 0.6},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := mustHome(t, size, c.change(pool(100)))
			needless := moved(old.slots, h.slots) - c.ideal
			t.Logf("moved %.2f %%, of these needlessly %.2f %%", needless+c.ideal, needless)
			if needless > c.most {
				t.Errorf("moved %.2f %% needlessly, want at most %v %%", needless, c.most)
			}
		})
	}
}

func TestOneBackendMayOutweighAllOthers(t *testing.T) {
	backends := pool(100)
	backends[0].Weight = math.MaxUint32
	h := mustHome(t, 65_537, backends)
	for s := range h.Size() {
		if h.Owner(s) != 0 {
			t.Fatalf("slot %d is owned by %d, whose share is less than a slot", s, h.Owner(s))
		}
	}
}
