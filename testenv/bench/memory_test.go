package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkMemory is what a step of a chain of random loads takes, one per cache line, over as many MiB: what memory costs
// on this machine at this time, beside which the results of cases that memory decides are to be read.
func BenchmarkMemory(b *testing.B) {
	const line = 8 // words
	for _, mib := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprint(mib, "MiB"), func(b *testing.B) {
			chain := make([]uint64, mib<<20/8)
			order := rand.Perm(len(chain) / line)
			for i, at := range order {
				chain[at*line] = uint64(order[(i+1)%len(order)] * line)
			}
			at := uint64(0)
			for b.Loop() {
				at = chain[at]
			}
		})
	}
}
