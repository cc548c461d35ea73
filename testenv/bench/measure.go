package main

import (
	"fmt"
	"slices"
	"time"
)

const (
	chunk  = 10_000  // packets per system call; a longer one is torn by the clock tick
	warmUp = 200_000 // packets before a sweep, which bring a case's own tables into the caches
	chunks = 5       // per round
	sweeps = 8
)

// result is what one case costs, in ns per packet over its control.
type result struct {
	Name    string  `json:"name"`
	Min     float64 `json:"min"`
	Median  float64 `json:"median"`
	Unit    string  `json:"unit"`
	Control float64 `json:"control"` // minimum of the control alone

	Instructions int `json:"-"` // of BPF that a packet executes, 0 for references
}

// samples are times of chunks, in ns per packet.
type samples struct{ measured, control []float64 }

// measure times all cases in rounds. They are split into sweeps over all cases, so
// that a busy minute of the machine hits every case alike; within a round case and
// control take turns.
func measure(st *stage, benches []*bench, rounds int) ([]result, error) {
	for range sweeps {
		for _, b := range benches {
			if err := b.measure(st, (rounds+sweeps-1)/sweeps); err != nil {
				return nil, err
			}
		}
	}
	var results []result
	for _, b := range benches {
		r, err := b.result()
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// measure adds rounds to a case's samples.
func (b *bench) measure(st *stage, rounds int) error {
	if err := st.during(b.programs(), func() error { return b.sweep(&b.times, rounds) }); err != nil {
		return fmt.Errorf("measure %s: %w", b.name, err)
	}
	return nil
}

// result is what all samples so far say.
func (b *bench) result() (result, error) {
	if err := b.settle(); err != nil {
		return result{}, fmt.Errorf("measure %s: %w", b.name, err)
	}
	m, c := b.times.measured, b.times.control
	r := result{Name: b.name, Unit: "ns", Control: slices.Min(c), Min: slices.Min(m) - slices.Min(c), Median: median(m) - median(c)}
	if b.way != nil {
		r.Instructions = b.way.Instructions
	}
	return r, nil
}

func (b *bench) sweep(s *samples, rounds int) error {
	if _, err := b.measured.time(b.traffic.frame, warmUp); err != nil {
		return err
	}
	for range rounds * chunks {
		m, err := b.measured.time(b.traffic.frame, chunk)
		if err != nil {
			return err
		}
		c, err := b.control.time(b.traffic.frame, chunk)
		if err != nil {
			return err
		}
		s.measured, s.control = append(s.measured, m), append(s.control, c)
	}
	return nil
}

// time returns ns per packet by the clock around the system call, since the kernel's
// own figure is whole ns. The call's own share, less than 1 ns, is the control's too.
func (w *wrapper) time(frame []byte, packets int) (float64, error) {
	start := time.Now()
	_, _, err := w.vary.Benchmark(frame, packets, nil)
	return float64(time.Since(start).Nanoseconds()) / float64(packets), err
}

func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
