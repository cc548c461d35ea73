package demo

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"github.com/xlb-project/xlb/testenv"
)

// counter counts what each source asks, and whether it asks twice at a time.
type counter struct {
	mu          sync.Mutex
	asked       map[netip.AddrPort]int
	busy        map[netip.AddrPort]bool
	overlapping bool
}

func (c *counter) ask(_ context.Context, from netip.AddrPort) (string, error) {
	c.mu.Lock()
	c.overlapping = c.overlapping || c.busy[from]
	c.asked[from]++
	c.busy[from] = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.busy[from] = false
	}()
	if from.Port()%2 == 1 {
		return "", errors.New("refused")
	}
	return "backend1", nil
}

func crowd(n int) (*counter, *clients, *tally) {
	c := &counter{asked: map[netip.AddrPort]int{}, busy: map[netip.AddrPort]bool{}}
	s := scene
	s.Sources = n
	return c, &clients{sources: testenv.Sources(n), ask: c.ask}, newTally(s, nil)
}

func TestEverySourceAsksOnceAndFailuresAreCounted(t *testing.T) {
	for _, n := range []int{1, atOnce - 1, atOnce, 100} {
		counter, clients, tally := crowd(n)
		if err := clients.once(t.Context(), tally); err != nil {
			t.Fatal(err)
		}
		for from, times := range counter.asked {
			if times != 1 {
				t.Errorf("%s asked %d times", from, times)
			}
		}
		p := tally.progress()
		if len(counter.asked) != n || p.Requests != n || p.Failed != n/2 || p.PerBackend[0] != n-n/2 {
			t.Errorf("%d of %d sources asked, progress %+v", len(counter.asked), n, p)
		}
	}
}

func TestSourcesAskRoundAfterRoundUntilTheWorkIsDone(t *testing.T) {
	counter, clients, tally := crowd(20)
	err := clients.meanwhile(t.Context(), tally, func(ctx context.Context) error {
		return tally.await(ctx, 200)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := tally.progress().Requests; n < 200 {
		t.Errorf("%d requests, want at least 200", n)
	}
	if counter.overlapping {
		t.Error("a source asked before it had its answer")
	}
}

func TestWorkThatFailsEndsTheRequests(t *testing.T) {
	_, clients, tally := crowd(20)
	failed := errors.New("failed")
	if err := clients.meanwhile(t.Context(), tally, func(context.Context) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want %v", err, failed)
	}
}

func TestInterruptedRequestsAreNotFailures(t *testing.T) {
	_, clients, tally := crowd(20)
	ctx, cancel := context.WithCancel(t.Context())
	clients.ask = func(ctx context.Context, _ netip.AddrPort) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}
	if err := clients.once(ctx, tally); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if p := tally.progress(); p.Requests != 0 {
		t.Errorf("%d requests counted", p.Requests)
	}
}
