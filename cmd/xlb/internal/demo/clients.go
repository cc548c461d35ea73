package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// atOnce is how many requests are under way at a time: enough to keep two
	// cores busy, few enough to leave health checks their turn.
	atOnce = 8
	// requestTime is how long a request may take before it counts as failed.
	requestTime = 5 * time.Second
)

// clients ask the service, each of the sources one request at a time.
type clients struct {
	sources []netip.AddrPort
	// ask sends one request from a source, and returns the name of the backend that answered.
	ask func(ctx context.Context, from netip.AddrPort) (string, error)
}

// once has every source ask once. It returns an error only when ctx ends.
func (c *clients) once(ctx context.Context, t *tally) error {
	return c.run(ctx, t, nil)
}

// meanwhile has the sources ask round after round while f runs, and returns f's error.
func (c *clients) meanwhile(ctx context.Context, t *tally, f func(context.Context) error) error {
	stop := make(chan struct{})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.run(ctx, t, stop) })
	g.Go(func() error {
		defer close(stop)
		return f(ctx)
	})
	return g.Wait()
}

// run has the sources ask until stop is closed, or once if it is nil. Every
// worker has sources of its own, so that no source is in use twice at a time.
func (c *clients) run(ctx context.Context, t *tally, stop <-chan struct{}) error {
	g, ctx := errgroup.WithContext(ctx)
	for worker := range min(atOnce, len(c.sources)) {
		g.Go(func() error {
			for {
				for i := worker; i < len(c.sources); i += atOnce {
					select {
					case <-stop:
						return nil
					default:
					}
					if err := c.request(ctx, t, i); err != nil {
						return err
					}
				}
				if stop == nil {
					return nil
				}
			}
		})
	}
	return g.Wait()
}

// request has one source ask. What fails is counted; only the end of ctx is an error.
func (c *clients) request(ctx context.Context, t *tally, source int) error {
	limited, cancel := context.WithTimeoutCause(ctx, requestTime, fmt.Errorf("no answer within %s", requestTime))
	defer cancel()
	began := time.Now()
	name, err := c.ask(limited, c.sources[source])
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	if err != nil {
		t.failed(failure{began, time.Now(), err})
	} else {
		t.answered(source, name)
	}
	return nil
}
