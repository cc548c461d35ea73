package balance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pool returns n backends of the same weight, named as addresses.
func pool(n int) []Backend {
	backends := make([]Backend, n)
	for i := range backends {
		backends[i] = Backend{Key: fmt.Sprintf("10.1.%d.%d", i/256, i%256), Weight: 100}
	}
	return backends
}

// fataler is what the helpers need of both *testing.T and *rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func mustHome(t fataler, size int, backends []Backend) *Home {
	t.Helper()
	h, err := NewHome(size, backends)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustResolve(t fataler, h *Home, live []float64) []int32 {
	t.Helper()
	dst := make([]int32, h.Size())
	if err := h.Resolve(live, dst); err != nil {
		t.Fatal(err)
	}
	return dst
}

// allLive returns n fractions of 1.
func allLive(n int) []float64 {
	live := make([]float64, n)
	for i := range live {
		live[i] = 1
	}
	return live
}

func TestSizeGivesEachBackendAHundredSlots(t *testing.T) {
	for _, size := range sizes {
		if !prime(size) {
			t.Errorf("%d is not a prime", size)
		}
	}
	if !slices.IsSorted(sizes[:]) {
		t.Errorf("sizes are not in order: %v", sizes)
	}
	for n, want := range map[int]int{
		1: 4_099, 40: 4_099, 41: 10_007, 100: 10_007, 101: 65_537, 655: 65_537, 656: 262_147, 2_621: 262_147,
		2_622: 1_048_583, 10_000: 1_048_583, 41_943: 4_194_319, 167_772: 16_777_259,
	} {
		if got, err := Size(n); err != nil || got != want {
			t.Errorf("Size(%d) = %d, %v; want %d", n, got, err, want)
		}
	}
	for _, n := range []int{-1, 0, 167_773} {
		if got, err := Size(n); err == nil {
			t.Errorf("Size(%d) = %d, want an error", n, got)
		}
	}
}

func TestPrimeAgreesWithASieve(t *testing.T) {
	composite := make([]bool, 20_000)
	for n := 2; n < len(composite); n++ {
		if prime(n) == composite[n] {
			t.Fatalf("prime(%d) = %v", n, prime(n))
		}
		for m := n * n; m < len(composite); m += n {
			composite[m] = true
		}
	}
	for _, n := range []int{-7, 0, 1} {
		if prime(n) {
			t.Errorf("prime(%d) = true", n)
		}
	}
}

func TestNewHomeRefusesBadInput(t *testing.T) {
	two := pool(2)
	for name, c := range map[string]struct {
		size     int
		backends []Backend
		want     string
	}{
		"no backend":     {4_099, nil, "at least one"},
		"composite size": {4_100, two, "prime"},
		"size 0":         {0, two, "prime"},
		"negative size":  {-7, two, "prime"},
		"too few slots":  {2, pool(3), "prime"},
		"too many slots": {16_777_289, two, "16777259"},
		"weight 0":       {4_099, []Backend{{Key: "a", Weight: 1}, {Key: "b"}}, "b has weight 0"},
		"duplicate key":  {4_099, []Backend{{Key: "a", Weight: 1}, {Key: "a", Weight: 2}}, "a occurs twice"},
		"empty key":      {4_099, []Backend{{Weight: 1}}, "no key"},
	} {
		if _, err := NewHome(c.size, c.backends); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one about %q", name, err, c.want)
		}
	}
}

func TestResolveRefusesBadInputAndLeavesTheTableAlone(t *testing.T) {
	h := mustHome(t, 101, pool(2))
	for name, c := range map[string]struct {
		live  []float64
		slots int
	}{
		"too few fractions":  {[]float64{1}, 101},
		"too many fractions": {[]float64{1, 1, 1}, 101},
		"short table":        {[]float64{1, 1}, 100},
		"long table":         {[]float64{1, 1}, 102},
		"negative":           {[]float64{1, -0.1}, 101},
		"above one":          {[]float64{1, 1.1}, 101},
		"not a number":       {[]float64{math.NaN(), 1}, 101},
		"infinite":           {[]float64{1, math.Inf(1)}, 101},
	} {
		dst := slices.Repeat([]int32{7}, c.slots)
		if err := h.Resolve(c.live, dst); err == nil {
			t.Errorf("%s: no error", name)
		}
		if slices.ContainsFunc(dst, func(b int32) bool { return b != 7 }) {
			t.Errorf("%s: the table was written", name)
		}
	}
}

func TestExponentialFollowsTheLogarithmAndIsAboveZero(t *testing.T) {
	check := func(x uint64) {
		got, want := exponential(x), 64*math.Ln2-math.Log(float64(x|1))
		if !(got > 0) || math.Abs(got-want) > 4e-6 {
			t.Fatalf("exponential(%#x) = %v, want %v", x, got, want)
		}
	}
	for shift := range 64 {
		for _, x := range []uint64{1 << shift, 1<<shift - 1, 1<<shift + 1, math.MaxUint64 >> shift, 3 << shift} {
			check(x)
		}
	}
	for i := range uint64(100_000) {
		check(mix(i))
	}
}

// --- generators ---

// testSizes are small primes: a table that is scarce in slots has more corner cases. The last is filled by Maglev.
var testSizes = []int{251, 1_009, 4_099, 5_003}

func drawBackends(t *rapid.T) []Backend {
	n := rapid.OneOf(rapid.IntRange(1, 8), rapid.IntRange(1, 200)).Draw(t, "backends")
	keys := rapid.SliceOfNDistinct(rapid.StringN(1, 8, -1), n, n, rapid.ID[string]).Draw(t, "keys")
	weight := rapid.SampledFrom([]*rapid.Generator[uint32]{
		rapid.Just(uint32(100)), rapid.SampledFrom([]uint32{50, 100, 300}), rapid.Uint32Range(1, 1_000), rapid.Uint32Min(1),
	}).Draw(t, "weights")
	backends := make([]Backend, n)
	for i, key := range keys {
		backends[i] = Backend{Key: key, Weight: weight.Draw(t, "weight")}
	}
	return backends
}

var fraction = rapid.OneOf(
	rapid.Just(1.0), rapid.Just(0.0), rapid.Float64Range(0, 1),
	rapid.Float64Range(0, 0.01), // few accept: the fallback decides
	rapid.SampledFrom([]float64{math.SmallestNonzeroFloat64, math.Nextafter(1, 0)}),
)

// drawLive draws fractions from one of several moods, among them "nearly all down", where the fallback decides.
func drawLive(t *rapid.T, n int) []float64 {
	live := make([]float64, n)
	usual := rapid.SampledFrom([]float64{0, 1, 0.5, 0.001}).Draw(t, "usual")
	odd := rapid.SampledFrom([]int{1, 3, 20}).Draw(t, "one odd in")
	for i := range live {
		live[i] = usual
		if rapid.IntRange(1, odd).Draw(t, "odd") == 1 {
			live[i] = fraction.Draw(t, "fraction")
		}
	}
	return live
}

func drawHome(t *rapid.T) (*Home, []Backend) {
	backends := drawBackends(t)
	return mustHome(t, rapid.SampledFrom(testSizes).Draw(t, "size"), backends), backends
}

// keysOf names the owners, so that tables over differently ordered backends can be compared.
func keysOf(table []int32, backends []Backend) []string {
	keys := make([]string, len(table))
	for s, b := range table {
		if b != nobody {
			keys[s] = backends[b].Key
		}
	}
	return keys
}

// turnOrder deals the slots out as the package documentation says, without a heap: all turns sorted by time.
func turnOrder(size int, backends []Backend) []int32 {
	type turn struct {
		half, weight uint64
		b            int32
	}
	var turns []turn
	for b, backend := range backends {
		for k := range size {
			turns = append(turns, turn{uint64(2*k + 1), uint64(backend.Weight), int32(b)})
		}
	}
	slices.SortFunc(turns, func(x, y turn) int {
		return cmp.Or(cmp.Compare(x.half*y.weight, y.half*x.weight), cmp.Compare(y.weight, x.weight),
			cmp.Compare(keyHash(backends[x.b].Key), keyHash(backends[y.b].Key)))
	})
	owners := make([]int32, size)
	for i, turn := range turns[:size] {
		owners[i] = turn.b
	}
	return owners
}
