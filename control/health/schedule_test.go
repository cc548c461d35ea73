package health

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

func TestHangingTargetFailsByTimeoutAndDelaysNobody(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		start := time.Now()
		good := &script{letters: "P"}
		set(t, c, "hanging", every(&script{letters: "H"}))
		set(t, c, "good", every(good))
		after(10 * time.Second)
		s := status(t, c, "hanging")
		if s.State != Down || s.Answer != "timeout after 500ms" || s.Took != 500*time.Millisecond {
			t.Errorf("hanging target: %+v", s)
		}
		for i, at := range good.starts[1:] {
			if want := start.Add(time.Duration(i)*time.Second + 500*time.Millisecond); !at.Equal(want) {
				t.Errorf("probe %d of the good target at %v, want %v", i+2, at, want)
			}
		}
	})
}

func TestPassThatComesTooLateHasFailed(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		set(t, c, "late", every(proberFunc(func(context.Context) (string, error) {
			time.Sleep(501 * time.Millisecond) // deaf to its context
			return "200 OK", nil
		})))
		after(time.Second)
		if s := status(t, c, "late"); s.State != Down || s.Answer != "timeout after 500ms" {
			t.Errorf("got %+v", s)
		}
	})
}

func TestNodeThatWasTooSlowItselfSaysNothing(t *testing.T) {
	for _, tc := range []struct {
		late time.Duration
		want State
	}{{200 * time.Millisecond, Down}, {300 * time.Millisecond, Unknown}} {
		bubble(t, middle, func(t *testing.T, c *Checker) {
			set(t, c, "a", every(proberFunc(func(ctx context.Context) (string, error) {
				<-ctx.Done()
				time.Sleep(tc.late) // stands for a process that got no time to run
				return "", context.Cause(ctx)
			})))
			after(900 * time.Millisecond)
			s := status(t, c, "a")
			if s.State != tc.want || s.State == Unknown && s.Answer != "not sent: this node was 300ms late" {
				t.Errorf("late by %v: %+v", tc.late, s)
			}
		})
	}
}

func TestPausesAreMeasuredFromStartToStartWithinATenth(t *testing.T) {
	for _, tc := range []struct {
		name        string
		random      float64
		first, then time.Duration
	}{
		{"shortest", 0, 0, 900 * time.Millisecond},
		{"middle", 0.5, 500 * time.Millisecond, time.Second},
		{"longest", 1, time.Second, 1100 * time.Millisecond},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func() float64 { return tc.random }, func(t *testing.T, c *Checker) {
				const took = 300 * time.Millisecond
				var starts []time.Time
				set(t, c, "a", every(proberFunc(func(context.Context) (string, error) {
					starts = append(starts, time.Now())
					time.Sleep(took)
					return "200 OK", nil
				})))
				after(10 * time.Second)
				if got := starts[1].Sub(starts[0]); got != max(tc.first, took) {
					t.Errorf("first pause %v, want %v", got, max(tc.first, took))
				}
				for i := 2; i < len(starts); i++ {
					if got := starts[i].Sub(starts[i-1]); got != tc.then {
						t.Errorf("pause %d is %v, want %v", i, got, tc.then)
					}
				}
			})
		})
	}
}

func TestProbesOfOneTargetNeverOverlap(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		var running, probes int
		slow := proberFunc(func(context.Context) (string, error) {
			running++
			defer func() { running-- }()
			if running > 1 {
				t.Error("two probes at a time")
			}
			probes++
			time.Sleep(1500 * time.Millisecond) // longer than the interval, deaf to its context
			return "200 OK", nil
		})
		check := every(slow)
		check.Timeout = 2 * time.Second
		set(t, c, "a", check)
		for range 5 {
			after(700 * time.Millisecond)
			check.Rise++ // another check, in the middle of a probe
			set(t, c, "a", check)
		}
		after(10 * time.Second)
		if probes < 5 {
			t.Errorf("only %d probes", probes)
		}
	})
}

func TestManyTargetsKeepTheirScheduleAndSpread(t *testing.T) {
	const (
		interval = 2 * time.Second
		tenths   = 10
	)
	targets := 10_000
	if raceDetector {
		targets = 1_000
	}
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return rng.Float64()
	}
	bubble(t, random, func(t *testing.T, c *Checker) {
		starts := make([][]time.Time, targets)
		for i := range starts {
			set(t, c, TargetID(fmt.Sprint(i)), Check{
				Probe: proberFunc(func(ctx context.Context) (string, error) {
					starts[i] = append(starts[i], time.Now())
					if i%10 == 0 { // a tenth of all hang
						<-ctx.Done()
						return "", context.Cause(ctx)
					}
					time.Sleep(time.Millisecond)
					return "200 OK", nil
				}),
				Interval: interval, Timeout: time.Second, Rise: 2, Fall: 3,
			})
		}
		begin := time.Now()
		after(20 * time.Second)
		var perTenth [tenths]int
		for i, s := range starts {
			if got, want := s[0].Sub(begin), max(0, time.Duration(i+1-startBurst)*startPause); got != want {
				t.Fatalf("target %d: first probe after %v, want %v", i, got, want)
			}
			perTenth[min(s[1].Sub(s[0])*tenths/interval, tenths-1)]++
			for n := 2; n < len(s); n++ {
				if pause := s[n].Sub(s[n-1]); pause < interval*9/10 || pause > interval*11/10 {
					t.Fatalf("target %d: pause of %v before probe %d", i, pause, n+1)
				}
			}
			if len(s) < 9 {
				t.Fatalf("target %d: only %d probes", i, len(s))
			}
		}
		for i, n := range perTenth {
			if n < targets/tenths*6/10 || n > targets/tenths*19/10 { // hanging ones pile up behind their timeout
				t.Errorf("%d second probes in tenth %d of the interval", n, i)
			}
		}
		if changes := c.Changes(); len(changes) != targets {
			t.Errorf("%d changes, want %d", len(changes), targets)
		}
	})
}

// The race detector sees the bubbles of fake time on one processor only.
func TestManyTargetsAndCallersAtATime(t *testing.T) {
	const targets, callers, rounds = 50, 4, 20
	c := NewChecker(rand.Float64)
	defer c.Close()
	probed := make(chan TargetID)
	check := func(id TargetID) Check {
		passed := false
		return Check{
			Key: string(id[:1]), // targets of one initial share a probe
			Probe: proberFunc(func(ctx context.Context) (string, error) {
				select {
				case probed <- id:
				case <-ctx.Done():
				}
				if passed = !passed; passed {
					return "200 OK", nil
				}
				return "", errRefused
			}),
			Interval: time.Millisecond, FastInterval: time.Millisecond / 2, Timeout: time.Minute, Rise: 1, Fall: 1,
		}
	}
	var ids []TargetID
	for i := range targets {
		ids = append(ids, TargetID(fmt.Sprintf("%c%d", 'a'+i%10, i)))
		set(t, c, ids[i], check(ids[i]))
	}
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			for i := n; i < targets*rounds; i++ {
				id := ids[i%targets]
				switch i % 7 {
				case 0:
					c.Remove(id)
				case 1:
					c.Snapshot()
				case 2:
					c.Status(id)
				case 3:
					c.Hurry(id)
				case 4:
					c.Changes()
				default:
					if err := c.Set(id, check(id)); err != nil {
						t.Error(err)
					}
				}
				<-probed
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		set(t, c, id, check(id))
	}
	seen := map[TargetID]bool{}
	for len(seen) < targets {
		select {
		case <-probed:
		case <-c.Ready():
			for _, change := range c.Changes() {
				seen[change.ID] = true
			}
		}
	}
}
