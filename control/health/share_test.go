package health

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestOneProbeServesAllTargetsWithItsKey(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		start := time.Now()
		s := &script{letters: "PFFFPP"}
		strict := keyed("k", s)
		strict.Fall = 1
		set(t, c, "a", keyed("k", s))
		set(t, c, "b", strict)
		synctest.Wait()
		wantChanges(t, c,
			Change{ID: "a", Healthy: true, Reason: "200 OK", At: start},
			Change{ID: "b", Healthy: true, Reason: "200 OK", At: start})
		after(600 * time.Millisecond)
		wantChanges(t, c, Change{ID: "b", Reason: "connection refused", At: start.Add(500 * time.Millisecond)})
		after(2 * time.Second)
		wantChanges(t, c, Change{ID: "a", Reason: "connection refused", At: start.Add(2500 * time.Millisecond)})
		after(2 * time.Second)
		at := start.Add(4500 * time.Millisecond)
		wantChanges(t, c, Change{ID: "a", Healthy: true, Reason: "200 OK", At: at}, Change{ID: "b", Healthy: true, Reason: "200 OK", At: at})
		if len(s.starts) != 6 {
			t.Errorf("%d probes, want 6 for both", len(s.starts))
		}
		if a, b := status(t, c, "a"), status(t, c, "b"); a.Passed != 3 || b.Passed != 3 || a.Failed != 3 || b.Failed != 3 {
			t.Errorf("got %+v and %+v", a, b)
		}
	})
}

func TestTargetThatJoinsIsJudgedByTheLastAnswer(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		set(t, c, "a", keyed("k", &script{letters: "PNF"}))
		after(600 * time.Millisecond) // the second could not be sent
		now := time.Now()
		set(t, c, "b", keyed("k", unsent{}))
		wantToken(t, c, true)
		wantChanges(t, c, Change{ID: "a", Healthy: true, Reason: "200 OK", At: now.Add(-600 * time.Millisecond)},
			Change{ID: "b", Healthy: true, Reason: "200 OK", At: now})
		set(t, c, "was-up", every(&script{letters: "P"}))
		after(time.Second)
		set(t, c, "was-up", keyed("k", unsent{}))
		if s := status(t, c, "was-up"); s.State != Up || s.InRow != 1 || s.Failed != 1 {
			t.Errorf("a target that joined after a failure: %+v", s)
		}
	})
}

// unsent is the prober of a check that is the same as one before, and never sent.
type unsent struct{ Prober }

func TestSharedProbeGoesOnUntilItsLastTargetLeaves(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		s := &script{letters: "P"}
		for _, id := range []TargetID{"a", "b", "c"} {
			set(t, c, id, keyed("k", s))
		}
		after(time.Second)
		c.Remove("a")
		set(t, c, "b", keyed("l", &script{letters: "F"}))
		after(time.Second)
		if got := len(s.starts); got != 3 {
			t.Errorf("%d probes with one target left, want 3", got)
		}
		if s := status(t, c, "b"); s.Failed != 2 {
			t.Errorf("target with a check of its own now: %+v", s)
		}
		c.Remove("c")
		after(time.Minute)
		if got := len(s.starts); got != 3 {
			t.Errorf("%d probes, want none without targets", got-3)
		}
		c.Changes()
		again := &script{letters: "F"}
		set(t, c, "d", keyed("k", again))
		synctest.Wait()
		if s := status(t, c, "d"); s.State != Down || len(again.starts) != 1 {
			t.Errorf("key used again: %+v", s)
		}
	})
}

func TestFailingTargetIsProbedFast(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		s := &script{letters: "PFFFFPPP"}
		check := keyed("k", s)
		check.FastInterval = 100 * time.Millisecond
		set(t, c, "a", check)
		after(10 * time.Second)
		c.Remove("a")
		want := []time.Duration{
			0, 500 * time.Millisecond, // passed, then failed
			600 * time.Millisecond, 700 * time.Millisecond, // down
			800 * time.Millisecond, 900 * time.Millisecond, // passed once
			time.Second, // up
			2 * time.Second, 3 * time.Second,
		}
		for i, d := range want {
			if got := s.starts[i].Sub(s.starts[0]); got != d {
				t.Errorf("probe %d after %v, want %v", i+1, got, d)
			}
		}
	})
}

func TestHurriedTargetIsProbedAtOnce(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		start := time.Now()
		s := &script{letters: "PPHP"}
		set(t, c, "a", every(s))
		c.Hurry("nobody")
		after(600 * time.Millisecond)
		c.Hurry("a") // hangs until 1.1 s
		after(100 * time.Millisecond)
		c.Hurry("a")
		c.Hurry("a")
		after(10 * time.Second)
		for i, d := range []time.Duration{0, 500, 600, 1100, 2100} {
			if got := s.starts[i].Sub(start); got != d*time.Millisecond {
				t.Errorf("probe %d after %v, want %v", i+1, got, d*time.Millisecond)
			}
		}
	})
}
