package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"
)

// ErrClosed is returned by Set once the Checker is closed.
var ErrClosed = errors.New("health checker is closed")

// jitterShare is how far an interval may stray from its nominal length, as a share
// of it, so that targets with one interval do not come to be probed in step.
const jitterShare = 0.1

// Checker probes targets and keeps their states. Each target has a goroutine of its
// own, so that a slow one delays no other. All methods may be called concurrently.
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
	queue   []*target // in the order of their first change that was not taken
}

// target is guarded by Checker.mu.
type target struct {
	id       TargetID
	check    Check
	machine  machine
	status   Status // but for State and InRow, which machine holds
	reported State  // what Changes last said
	queued   bool
	stop     context.CancelFunc // called with Checker.mu held: results that come later do not count
	done     chan struct{}      // closed once no probe of the present check or an earlier one runs
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
	}
}

// Set adds the target, or replaces its check. The first probe is sent at once, the
// second after a random part of the interval, which spreads targets that were set
// together, and the others every interval, give or take a tenth, from start to start.
//
// Setting a check equal to the present one (by reflect.DeepEqual) changes nothing. With
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
		t = &target{id: id, status: Status{ID: id, Since: time.Now()}}
		c.targets[id] = t
	} else {
		if reflect.DeepEqual(t.check, check) {
			return nil
		}
		t.stop()
		t.machine.forget()
		former = t.done
	}
	ctx, stop := context.WithCancel(c.ctx)
	done := make(chan struct{})
	t.check, t.stop, t.done = check, stop, done
	c.wg.Go(func() {
		defer close(done)
		if former != nil {
			<-former // probes of one target never overlap
		}
		c.watch(ctx, t, check)
	})
	return nil
}

// Remove forgets the target, if there is one. Once it has returned, Changes no longer
// mentions the target; a probe under way is cancelled and its result discarded.
func (c *Checker) Remove(id TargetID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.targets[id]
	if t == nil {
		return
	}
	t.stop()
	delete(c.targets, id)
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

// watch probes t by its schedule until ctx ends.
func (c *Checker) watch(ctx context.Context, t *target, check Check) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first := true; ; first = false {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		start := time.Now()
		answer, err := probe(ctx, check)
		c.record(ctx, t, start, answer, err)
		timer.Reset(time.Until(start.Add(c.pause(check.Interval, first))))
	}
}

// pause returns the time from the start of one probe to the start of the next.
func (c *Checker) pause(interval time.Duration, first bool) time.Duration {
	share := c.random() // the first pause is any part of an interval
	if !first {
		share = 1 + jitterShare*(2*share-1)
	}
	return time.Duration(share * float64(interval))
}

func probe(ctx context.Context, check Check) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, check.Timeout, timeoutError(check.Timeout))
	defer cancel()
	answer, err := check.Probe.Probe(ctx)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // passed, but too late
	}
	return answer, err
}

// record takes in the result of a probe unless ctx, the run it belongs to, has ended.
func (c *Checker) record(ctx context.Context, t *target, start time.Time, answer string, err error) {
	now := time.Now()
	if err != nil {
		answer = err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil { // with mu held: target.stop and Checker.close are called under it
		return
	}
	t.status.LastProbe, t.status.Took, t.status.Answer = start, now.Sub(start), answer
	switch {
	case errors.Is(err, ErrNotSent):
		t.status.NotSent++
		return
	case err == nil:
		t.status.Passed++
	default:
		t.status.Failed++
	}
	if !t.machine.observe(err == nil, t.check.Rise, t.check.Fall) {
		return
	}
	t.status.Since, t.status.Reason = now, answer
	t.status.Changes++
	if !t.queued {
		t.queued = true
		c.queue = append(c.queue, t)
	}
	select {
	case c.ready <- struct{}{}:
	default: // the consumer has not come for the last token yet
	}
}

func (t *target) snapshot() Status {
	s := t.status
	s.State, s.InRow = t.machine.state, t.machine.inRow
	return s
}
