package health

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var errRefused = errors.New("connection refused")

// proberFunc stands in for the network, which is a matter of chance and time here.
type proberFunc func(ctx context.Context) (string, error)

func (f proberFunc) Probe(ctx context.Context) (string, error) { return f(ctx) }

// script is a prober that passes (P), fails (F), cannot be sent (N) or hangs (H), one
// letter per probe, and repeats the last one. It notes when each probe started.
type script struct {
	letters string
	starts  []time.Time
}

func (s *script) Probe(ctx context.Context) (string, error) {
	at := min(len(s.starts), len(s.letters)-1)
	s.starts = append(s.starts, time.Now())
	switch s.letters[at] {
	case 'P':
		return "200 OK", nil
	case 'F':
		return "", errRefused
	case 'N':
		return "", fmt.Errorf("%w: too many open files", ErrNotSent)
	default:
		<-ctx.Done()
		return "", context.Cause(ctx)
	}
}

// every returns a check that runs once a second.
func every(p Prober) Check {
	return Check{Probe: p, Interval: time.Second, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3}
}

// keyed returns the same with a key.
func keyed(key string, p Prober) Check {
	check := every(p)
	check.Key = key
	return check
}

// middle makes every pause but the first exactly an interval, and the first half of one.
func middle() float64 { return 0.5 }

// bubble runs f with fake time and a Checker that is closed at its end.
func bubble(t *testing.T, random func() float64, f func(t *testing.T, c *Checker)) {
	t.Helper()
	fakeTime(t, func(t *testing.T) {
		c := NewChecker(random)
		defer c.Close()
		f(t, c)
	})
}

// fakeTime is synctest.Test. The timers of a bubble share one context of the race detector,
// which crashes where two of them run on two processors at a time (golang.org/issue/78156).
func fakeTime(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if raceDetector {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, f)
}

func set(t *testing.T, c *Checker, id TargetID, check Check) {
	t.Helper()
	if err := c.Set(id, check); err != nil {
		t.Fatal(err)
	}
}

// after lets d pass and everything due by then happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func status(t *testing.T, c *Checker, id TargetID) Status {
	t.Helper()
	s, ok := c.Status(id)
	if !ok {
		t.Fatalf("target %s is not there", id)
	}
	return s
}

func wantChanges(t *testing.T, c *Checker, want ...Change) {
	t.Helper()
	if diff := cmp.Diff(want, c.Changes()); diff != "" {
		t.Fatalf("changes (-want +got):\n%s", diff)
	}
}

func wantToken(t *testing.T, c *Checker, want bool) {
	t.Helper()
	select {
	case <-c.Ready():
		if !want {
			t.Fatal("ready although nothing changed")
		}
	default:
		if want {
			t.Fatal("not ready although a target changed")
		}
	}
}
