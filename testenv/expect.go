package testenv

import (
	"context"
	"fmt"
	"time"
)

// pollInterval is how often Eventually looks.
const pollInterval = 5 * time.Millisecond

// Eventually calls cond until it returns nil. When ctx ends first, the error names what was awaited and for how long, and
// wraps cond's last error.
func Eventually(ctx context.Context, what string, cond func() error) error {
	start := time.Now()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait %s for %s: %w", time.Since(start).Round(time.Millisecond), what, err)
		case <-tick.C:
		}
	}
}

// TB is what New needs of a *testing.T.
type TB interface {
	Helper()
	Fatal(args ...any)
	Error(args ...any)
	Cleanup(f func())
}

// New builds a lab for a test, and closes it with the test: New(t, NewRouted, Options{Backends: 5}).
func New(t TB, build func(Options) (*Lab, error), o Options) *Lab {
	t.Helper()
	l, err := build(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
