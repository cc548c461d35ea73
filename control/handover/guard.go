package handover

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Guard turns away streams that were taken in before, and what is too old. One guard is for all streams that a node takes
// in. It needs clocks that agree better than its window.
type Guard struct {
	window time.Duration
	now    func() time.Time

	mu   sync.Mutex
	seen map[[nameSize]byte]time.Time // until when to remember a stream
}

// NewGuard returns a guard by which a stream may have begun, and records may have been sent, so long ago at most.
func NewGuard(window time.Duration) *Guard {
	return &Guard{window: window, now: time.Now, seen: map[[nameSize]byte]time.Time{}}
}

// admit lets a stream in once. What it remembers is bounded by the streams that peers begin within two windows: only
// they can seal the first frame.
func (g *Guard) admit(name [nameSize]byte, began time.Time) error {
	if _, err := g.timely(began); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for name, until := range g.seen {
		if now.After(until) {
			delete(g.seen, name)
		}
	}
	if _, again := g.seen[name]; again {
		return errors.New("a stream that was taken in before")
	}
	g.seen[name] = now.Add(2 * (g.window + time.Second))
	return nil
}

// timely returns how long ago something was sent, in whole seconds as that is. Too long ago, or in the future, is an error.
func (g *Guard) timely(sent time.Time) (time.Duration, error) {
	late := g.now().Sub(sent).Truncate(time.Second)
	if late.Abs() > g.window {
		return 0, fmt.Errorf("it was sent at %s, %s away from this node's clock, and %s is the most: set both clocks",
			sent.UTC().Format(time.RFC3339), late.Abs(), g.window)
	}
	return max(late, 0), nil
}
