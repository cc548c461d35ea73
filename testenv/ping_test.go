package testenv

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

func TestPingIsAnsweredByWhoeverHoldsTheAddress(t *testing.T) {
	lab := newLab(t, NewRouted, Options{VIPs: both})
	g, ctx := errgroup.WithContext(within(t, 20*time.Second))
	for range 10 {
		for _, to := range []netip.Addr{DefaultVIP, DefaultVIP6, lab.LBAddr, lab.LBAddr6} {
			g.Go(func() error { return lab.Client.Ping(ctx, to) })
		}
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestPingWithoutAReplyEndsWithItsContext(t *testing.T) {
	lab := New(t, NewRouted, Options{Backends: 1, VIPs: both})
	for _, to := range []netip.Addr{DefaultVIP, DefaultVIP6} {
		// The balancer is no router: it drops what is for the VIP in silence.
		if err := lab.Client.Ping(within(t, 50*time.Millisecond), to); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want %v", to, err, context.DeadlineExceeded)
		}
	}
}
