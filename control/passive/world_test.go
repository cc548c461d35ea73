package passive

import (
	"math/rand/v2"
	"testing"
	"time"
)

// usual are the options that the configuration has by default, with ejection.
var usual = Options{SuspectBelow: 50, MinConnections: 20, Eject: true, MaxEjected: 20, EjectFor: 30 * time.Second}

// world is a service whose backends get connections by chance, second by second.
type world struct {
	t       testing.TB
	rng     *rand.Rand
	judge   *Judge[int]
	now     time.Time
	members []*member
	changes []Change[int]
}

// member is a backend, and how it and its clients are doing.
type member struct {
	rate     float64 // connections a second
	complete float64 // share of them that the client completes
	repeat   float64 // share whose SYN is sent again
	flood    float64 // SYNs a second that nobody completes
	slow     bool    // clients complete a second later
	down     bool

	counts  Counts
	pending uint64 // handshakes that complete in the next second
}

func newWorld(t testing.TB, seed uint64, o Options, n int, like member) *world {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), judge: New[int](o), now: start}
	for range n {
		m := like
		w.members = append(w.members, &m)
	}
	return w
}

// run lets seconds pass.
func (w *world) run(seconds int) {
	for range seconds {
		w.now = w.now.Add(time.Second)
		for i, m := range w.members {
			if state, _ := w.judge.State(i); m.down || state == Ejected {
				continue
			}
			m.counts.Completed += m.pending
			m.pending = 0
			for range w.poisson(m.rate) {
				m.counts.SYNs++
				m.pending += w.chance(m.complete)
				m.counts.Retransmitted += w.chance(m.repeat)
			}
			if !m.slow {
				m.counts.Completed += m.pending
				m.pending = 0
			}
			m.counts.SYNs += uint64(w.poisson(m.flood))
		}
		w.observe()
	}
}

func (w *world) observe() {
	samples := make([]Sample[int], len(w.members))
	for i, m := range w.members {
		samples[i] = Sample[int]{Backend: i, Counts: m.counts, Serving: !m.down}
	}
	w.changes = append(w.changes, w.judge.Observe(w.now, samples)...)
}

// poisson draws how many events there are in a second.
func (w *world) poisson(rate float64) int {
	n := 0
	for left := w.rng.ExpFloat64(); left < rate; left += w.rng.ExpFloat64() {
		n++
	}
	return n
}

func (w *world) chance(p float64) uint64 {
	if w.rng.Float64() < p {
		return 1
	}
	return 0
}

func (w *world) state(i int) State {
	s, _ := w.judge.State(i)
	return s
}

// until lets time pass until a backend has come to a state, and returns how much.
func (w *world) until(i int, s State) time.Duration {
	w.t.Helper()
	start := w.now
	for w.state(i) != s {
		if w.run(1); w.now.Sub(start) > time.Hour {
			w.t.Fatalf("backend %d has not come to be %s within an hour; it is %s", i, s, w.state(i))
		}
	}
	return w.now.Sub(start)
}

func (w *world) wantQuiet() {
	w.t.Helper()
	for _, c := range w.changes {
		w.t.Fatalf("backend %d is %s: %s", c.Backend, c.State, c.Reason)
	}
}
