package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrClosed is returned by Set once the Checker is closed.
var ErrClosed = errors.New("health checker is closed")

// Checker probes targets and keeps their states. Each probe has a goroutine of its own, so
// that a slow one delays no other; targets whose checks have one key share it. All methods
// may be called concurrently.
//
// Changes are pulled: Ready says that there are some, Changes takes them all. However
// slow the consumer, nothing waits for it, and what it takes is each target's latest
// state; a target that changed and changed back in between is not mentioned.
type Checker struct {
	random func() float64
	ready  chan struct{} // holds a token while queue may have news
	ctx    context.Context
	close  context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	targets map[TargetID]*target
	runs    map[string]*run // by Check.Key, but for those without
	queue   []*target       // in the order of their first change that was not taken
	started time.Time       // see startAt
}

// target is guarded by Checker.mu.
type target struct {
	id         TargetID
	run        *run
	rise, fall int
	machine    machine
	status     Status // but for State and InRow, which machine holds
	reported   State  // what Changes last said
	queued     bool
}

// NewChecker returns a Checker without targets. random gives numbers in [0, 1) for the
// schedule and must be safe for concurrent use, as math/rand/v2.Float64 is. The caller
// must call Close.
func NewChecker(random func() float64) *Checker {
	ctx, cancel := context.WithCancel(context.Background())
	return &Checker{
		random:  random,
		ready:   make(chan struct{}, 1),
		ctx:     ctx,
		close:   cancel,
		targets: make(map[TargetID]*target),
		runs:    make(map[string]*run),
	}
}

// Set adds the target, or replaces its check. The first probe is sent at once, or of many
// that are set together each a little later, the second after a random part of the interval, which spreads targets that were set
// together, and the others every interval, give or take a tenth, from start to start.
//
// If another target has a check with the same key, its probes count for both from now
// on, and what the last one said counts at once.
//
// Setting a check whose key is the present one's changes rise and fall alone. With
// another one the target keeps its state and totals, the schedule starts again, and
// results of the former check no longer count towards rise and fall.
//
// It returns an error that names the field if the check is incomplete, and ErrClosed
// after Close.
func (c *Checker) Set(id TargetID, check Check) error {
	if err := check.validate(); err != nil {
		return fmt.Errorf("set health check of %s: %w", id, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return fmt.Errorf("set health check of %s: %w", id, ErrClosed)
	}
	t := c.targets[id]
	var former <-chan struct{}
	if t == nil {
		t = &target{id: id, machine: machine{trusted: check.Trusted}, status: Status{ID: id, Since: time.Now()}}
		c.targets[id] = t
	} else if check.Key == "" || check.Key != t.run.check.Key {
		former = c.leave(t)
		t.machine.forget()
	}
	t.rise, t.fall = check.Rise, check.Fall
	if t.run == nil {
		c.join(t, check, former)
	}
	return nil
}

// Remove forgets the target, if there is one. Once it has returned, Changes no longer
// mentions the target; a probe under way for it alone is cancelled and its result discarded.
func (c *Checker) Remove(id TargetID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.targets[id]
	if t == nil {
		return
	}
	c.leave(t)
	delete(c.targets, id)
}

// Hurry has the target probed at once, or again at once if a probe is under way, as if its
// interval were over. It does nothing if there is no such target.
func (c *Checker) Hurry(id TargetID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.targets[id]; t != nil {
		t.run.hurried()
	}
}

// Ready returns the channel that receives a token when there are changes to take. One
// token may stand for many changes, and now and then for none.
func (c *Checker) Ready() <-chan struct{} { return c.ready }

// Changes takes all changes since it was last called, at most one per target, the
// target that changed first coming first. It returns nil if there are none.
func (c *Checker) Changes() []Change {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changes []Change
	for _, t := range c.queue {
		t.queued = false
		if c.targets[t.id] != t || t.machine.state == t.reported {
			continue // removed, or changed back, before anybody looked
		}
		t.reported = t.machine.state
		changes = append(changes, Change{
			ID:      t.id,
			Healthy: t.machine.state == Up,
			Reason:  t.status.Reason,
			At:      t.status.Since,
		})
	}
	c.queue = nil
	return changes
}

// Status returns what is known about the target, and false if there is no such target.
func (c *Checker) Status(id TargetID) (Status, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.targets[id]
	if t == nil {
		return Status{}, false
	}
	return t.snapshot(), true
}

// Snapshot returns what is known about all targets, sorted by ID.
func (c *Checker) Snapshot() []Status {
	c.mu.Lock()
	all := make([]Status, 0, len(c.targets))
	for _, t := range c.targets {
		all = append(all, t.snapshot())
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Close cancels the probes under way, discards their results and waits until all have
// ended. What was known stays readable. Closing again does nothing.
func (c *Checker) Close() {
	c.mu.Lock()
	c.close()
	c.mu.Unlock()
	c.wg.Wait()
}

func (t *target) snapshot() Status {
	s := t.status
	s.State, s.InRow = t.machine.state, t.machine.inRow
	return s
}
