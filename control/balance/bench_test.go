package balance

import (
	"fmt"
	"testing"
)

func BenchmarkNewHome(b *testing.B) {
	for _, c := range []struct {
		size, backends, weights int
	}{
		{4_099, 2, 1}, {4_099, 3, 1}, {4_099, 10, 1}, {4_099, 40, 1}, {4_099, 40, 3},
		{10_007, 100, 1}, {65_537, 10, 1}, {65_537, 100, 1}, {65_537, 100, 3}, {65_537, 100, 100},
		{262_147, 1_000, 1}, {1_048_583, 10_000, 1},
	} {
		b.Run(fmt.Sprintf("M=%d/backends=%d/weights=%d", c.size, c.backends, c.weights), func(b *testing.B) {
			backends := pool(c.backends)
			for i := range backends {
				backends[i].Weight += uint32(i % c.weights)
			}
			for b.Loop() {
				mustHome(b, c.size, backends)
			}
		})
	}
}

func BenchmarkResolve(b *testing.B) {
	throttled, half, mixed := allLive(100), make([]float64, 100), make([]float64, 100)
	throttled[0] = 0.5
	for i := range half {
		half[i], mixed[i] = 0.5, float64(i)/100
	}
	faint := make([]float64, 100)
	for i := range faint {
		faint[i] = 0.01
	}
	for _, c := range []struct {
		name string
		size int
		live []float64
	}{
		{"all live", 65_537, allLive(100)},
		{"one down", 65_537, downFirst(100, 1)},
		{"ten down", 65_537, downFirst(100, 10)},
		{"ninety down", 65_537, downFirst(100, 90)},
		{"one at half", 65_537, throttled},
		{"all at half", 65_537, half},
		{"all fractional", 65_537, mixed},
		{"all at one percent", 65_537, faint},
		{"one down", 10_007, downFirst(100, 1)},
		{"one down", 262_147, downFirst(1_000, 1)},
		{"one live", 262_147, downFirst(1_000, 999)},
	} {
		b.Run(fmt.Sprintf("%s/M=%d/backends=%d", c.name, c.size, len(c.live)), func(b *testing.B) {
			h := mustHome(b, c.size, pool(len(c.live)))
			dst := make([]int32, c.size)
			for b.Loop() {
				if err := h.Resolve(c.live, dst); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.size), "ns/slot")
		})
	}
}
