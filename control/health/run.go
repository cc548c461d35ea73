package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// jitterShare is how far an interval may stray from its nominal length, as a share
// of it, so that targets with one interval do not come to be probed in step.
const jitterShare = 0.1

// New probes start at once as long as they are no more than startBurst, and otherwise one
// every startPause: thousands at one instant would find targets slow that are not, and this
// node is what would be too slow.
const (
	startBurst = 100
	startPause = 100 * time.Microsecond
)

// run sends one check's probes on behalf of all targets that have it.
type run struct {
	check Check
	stop  context.CancelFunc // called with Checker.mu held: results that come later do not count
	done  chan struct{}      // closed once none of its probes is under way, nor any of the run it replaced
	hurry chan struct{}      // holds a token while the next probe is wanted at once

	// Guarded by Checker.mu.
	targets []*target
	last    *result // nil before the first that says something about the target
}

// result is what a probe came to.
type result struct {
	start  time.Time
	took   time.Duration
	answer string // or the error
	err    error
}

// join makes t a target of check's run, and starts that if it is the first. former, if not
// nil, is closed once the target's former run has ended.
func (c *Checker) join(t *target, check Check, former <-chan struct{}) {
	if r := c.runs[check.Key]; r != nil && check.Key != "" {
		t.run = r
		r.targets = append(r.targets, t)
		if r.last != nil {
			c.judge(t, r.last)
		}
		return
	}
	ctx, stop := context.WithCancel(c.ctx)
	r := &run{check: check, stop: stop, done: make(chan struct{}), hurry: make(chan struct{}, 1), targets: []*target{t}}
	t.run = r
	if check.Key != "" {
		c.runs[check.Key] = r
	}
	pause := time.Until(c.startAt())
	c.wg.Go(func() {
		defer close(r.done)
		if former != nil {
			<-former // probes of one target never overlap
		}
		if pause <= 0 || sleep(ctx, pause) {
			c.watch(ctx, r)
		}
	})
}

// startAt returns when the next new probe may start.
func (c *Checker) startAt() time.Time {
	now := time.Now()
	if c.started.Before(now) {
		c.started = now
	}
	c.started = c.started.Add(startPause)
	return c.started.Add(-startBurst * startPause)
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// leave takes t out of its run, which ends with its last target. It returns the channel
// that is closed then, nil if the run goes on.
func (c *Checker) leave(t *target) (ended <-chan struct{}) {
	r := t.run
	t.run = nil
	r.targets = slices.DeleteFunc(r.targets, func(other *target) bool { return other == t })
	if len(r.targets) > 0 {
		return nil
	}
	r.stop()
	if c.runs[r.check.Key] == r {
		delete(c.runs, r.check.Key)
	}
	return r.done
}

// hurried asks for a probe at once.
func (r *run) hurried() {
	select {
	case r.hurry <- struct{}{}:
	default: // it is asked for already
	}
}

// watch probes by the run's schedule until ctx ends.
func (c *Checker) watch(ctx context.Context, r *run) {
	var timer *time.Timer
	for ctx.Err() == nil {
		start := time.Now()
		answer, err := probe(ctx, r.check)
		interval := c.record(ctx, r, start, answer, err)
		pause := time.Until(start.Add(c.pause(interval, timer == nil)))
		if timer == nil {
			timer = time.NewTimer(pause)
			defer timer.Stop()
		} else {
			timer.Reset(pause)
		}
		select {
		case <-timer.C:
		case <-r.hurry:
		case <-ctx.Done():
		}
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

// minLag is how late this node must at least be to have been too slow itself.
const minLag = 250 * time.Millisecond

// probe sends one probe. That it ran out of time counts only if this node noticed about when
// it did: a node that stands still for a second must not take all its targets down.
func probe(ctx context.Context, check Check) (string, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, check.Timeout, timeoutError(check.Timeout))
	defer cancel()
	answer, err := check.Probe.Probe(ctx)
	var timeout timeoutError
	if lag := time.Since(start) - check.Timeout; errors.As(err, &timeout) && lag > max(check.Timeout/2, minLag) {
		return "", fmt.Errorf("%w: %w", ErrNotSent, lateError(lag))
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // passed, but too late
	}
	return answer, err
}

// record takes in the result of a probe unless ctx, the run it belongs to, has ended. It
// returns the interval to the next one.
func (c *Checker) record(ctx context.Context, r *run, start time.Time, answer string, err error) time.Duration {
	res := &result{start: start, took: time.Since(start), answer: answer, err: err}
	if err != nil {
		res.answer = err.Error()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil { // with mu held: run.stop and Checker.close are called under it
		return r.check.Interval
	}
	if !errors.Is(err, ErrNotSent) {
		r.last = res
	}
	interval := r.check.Interval
	for _, t := range r.targets {
		c.judge(t, res)
		if r.check.FastInterval > 0 && t.machine.failing() {
			interval = r.check.FastInterval
		}
	}
	return interval
}

// judge takes in what a probe says about one target.
func (c *Checker) judge(t *target, res *result) {
	t.status.LastProbe, t.status.Took, t.status.Answer = res.start, res.took, res.answer
	switch {
	case errors.Is(res.err, ErrNotSent):
		t.status.NotSent++
		return
	case res.err == nil:
		t.status.Passed++
	default:
		t.status.Failed++
	}
	if !t.machine.observe(res.err == nil, t.rise, t.fall) {
		return
	}
	t.status.Since, t.status.Reason = time.Now(), res.answer
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
