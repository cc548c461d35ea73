package passive

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWhateverIsCountedEjectionsStayWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{
			SuspectBelow:   rapid.IntRange(1, 100).Draw(t, "suspect_below"),
			MinConnections: rapid.IntRange(1, 50).Draw(t, "min_connections"),
			Eject:          rapid.Bool().Draw(t, "eject"),
			MaxEjected:     rapid.IntRange(1, 100).Draw(t, "max_ejected"),
			EjectFor:       time.Duration(rapid.IntRange(1, 60).Draw(t, "eject_for")) * time.Second,
		}
		j := New[int](o)
		now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		states := map[int]State{}
		n := rapid.IntRange(0, 12).Draw(t, "backends")
		counts := make([]Counts, n)
		for range rapid.IntRange(1, 80).Draw(t, "seconds") {
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			var samples []Sample[int]
			serving := map[int]bool{}
			for i := range counts {
				switch rapid.IntRange(0, 30).Draw(t, "what") {
				case 0:
					delete(states, i)
					continue // not there
				case 1:
					counts[i] = Counts{} // begins anew
				}
				syns := rapid.Uint64Range(0, 100).Draw(t, "syns")
				counts[i].SYNs += syns
				counts[i].Completed += min(syns, uint64(i)*syns/8) // the first ones are bad
				counts[i].Retransmitted += rapid.Uint64Range(0, 1+syns).Draw(t, "retransmitted") / 4
				serving[i] = rapid.IntRange(0, 20).Draw(t, "serving") > 0
				samples = append(samples, Sample[int]{Backend: i, Counts: counts[i], Serving: serving[i]})
			}
			for _, c := range j.Observe(now, samples) {
				if c.Was != states[c.Backend] || c.State == c.Was {
					t.Fatalf("backend %d was %s, and becomes %s from %s", c.Backend, states[c.Backend], c.State, c.Was)
				}
				if c.State == Suspected && c.Was != Clear || c.State == Ejected && (c.Was != Suspected || !o.Eject) {
					t.Fatalf("backend %d becomes %s from %s", c.Backend, c.State, c.Was)
				}
				if (c.State == Ejected) != c.Until.After(now) || c.Reason == "" {
					t.Fatalf("backend %d is %s until %v at %v: %q", c.Backend, c.State, c.Until, now, c.Reason)
				}
				states[c.Backend] = c.State
			}
			ejected, others := 0, 0
			for _, s := range samples {
				state, until := j.State(s.Backend)
				switch {
				case state != states[s.Backend]:
					t.Fatalf("backend %d is %s, last told %s", s.Backend, state, states[s.Backend])
				case state == Ejected && !until.After(now):
					t.Fatalf("backend %d is ejected until %v at %v", s.Backend, until, now)
				case state == Suspected && !s.Serving:
					t.Fatalf("backend %d is suspected and serves nobody", s.Backend)
				case state == Ejected:
					ejected++
				case s.Serving:
					others++
				}
			}
			most := (ejected + others) * o.MaxEjected / 100
			if ejected+others >= 3 {
				most = max(most, 1)
			}
			if ejected > most || ejected > 0 && others == 0 {
				t.Fatalf("%d ejected and %d others, with at most %d percent", ejected, others, o.MaxEjected)
			}
		}
	})
}

func TestNobodyIsSuspectedOfWhatAllSufferFrom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		alike := member{
			rate:     rapid.Float64Range(0.1, 15).Draw(rt, "rate"),
			complete: rapid.Float64Range(0, 1).Draw(rt, "complete"),
			repeat:   rapid.Float64Range(0, 1).Draw(rt, "repeat"),
			flood:    rapid.SampledFrom([]float64{0, 1, 30, 200}).Draw(rt, "flood"),
			slow:     rapid.Bool().Draw(rt, "slow"),
		}
		n := rapid.IntRange(2, 12).Draw(rt, "backends")
		w := newWorld(t, rapid.Uint64().Draw(rt, "seed"), usual, n, alike)
		w.run(90)
		for _, c := range w.changes {
			rt.Fatalf("backend %d is %s: %s", c.Backend, c.State, c.Reason)
		}
	})
}

func TestSickBackendIsFoundAndNobodyElse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		alike := member{
			rate:     rapid.Float64Range(5, 20).Draw(rt, "rate"),
			complete: rapid.Float64Range(0.6, 1).Draw(rt, "complete"),
			flood:    rapid.SampledFrom([]float64{0, 1, 30}).Draw(rt, "flood"),
			slow:     rapid.Bool().Draw(rt, "slow"),
		}
		n := rapid.IntRange(3, 12).Draw(rt, "backends")
		w := newWorld(t, rapid.Uint64().Draw(rt, "seed"), usual, n, alike)
		w.run(rapid.IntRange(0, 40).Draw(rt, "before"))
		w.members[0].complete *= rapid.Float64Range(0, 0.15).Draw(rt, "sick")
		w.run(50)
		found := false
		for _, c := range w.changes {
			if c.Backend != 0 {
				rt.Fatalf("backend %d is %s: %s", c.Backend, c.State, c.Reason)
			}
			found = found || c.State == Ejected
		}
		if !found {
			rt.Fatalf("not found in 50 s: %+v", w.changes)
		}
	})
}
