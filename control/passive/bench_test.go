package passive

import (
	"testing"
	"time"
)

func BenchmarkObserve10000(b *testing.B) {
	w := newWorld(b, 1, usual, 10_000, fine)
	w.run(40)
	samples := make([]Sample[int], len(w.members))
	for i, m := range w.members {
		samples[i] = Sample[int]{Backend: i, Counts: m.counts, Serving: true}
	}
	for b.Loop() {
		w.now = w.now.Add(Period)
		for i := range samples {
			samples[i].Counts.SYNs += 20
			samples[i].Counts.Completed += 20
		}
		w.judge.Observe(w.now, samples)
	}
	b.ReportMetric(float64(b.Elapsed()/time.Duration(b.N)/10_000), "ns/backend")
}
