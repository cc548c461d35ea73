package main

import (
	"context"
	"fmt"
	"time"

	"github.com/xlb-project/xlb/control/balance"
	"github.com/xlb-project/xlb/testenv/bench/report"
)

// repeats is how often a case is measured.
const repeats = 20

// benchTables measures the computation alone: a home table, and its slots with one
// backend down.
func benchTables(context.Context, options) ([]report.Result, error) {
	var results []report.Result
	for _, n := range []int{10, 100, 1_000, 10_000} {
		size, err := balance.Size(n)
		if err != nil {
			return nil, err
		}
		members, live := make([]balance.Backend, n), make([]float64, n)
		for i := range members {
			members[i], live[i] = balance.Backend{Key: backendAddr(i).String(), Weight: 100}, 1
		}
		live[n/2] = 0
		owners := make([]int32, size)
		var builds, resolves []float64
		for range repeats {
			start := time.Now()
			home, err := balance.NewHome(size, members)
			builds = append(builds, ms(time.Since(start)))
			if err != nil {
				return nil, err
			}
			start = time.Now()
			err = home.Resolve(live, owners)
			resolves = append(resolves, ms(time.Since(start)))
			if err != nil {
				return nil, err
			}
		}
		results = append(results,
			report.Of(fmt.Sprintf("table/home/%d", n), "ms", builds),
			report.Of(fmt.Sprintf("table/resolve/%d", n), "ms", resolves))
	}
	return results, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
