// Package health finds out which targets are fit to serve: it probes each one on
// its own schedule and turns the answers into a state by rise and fall counts.
//
// A target starts Unknown. Its first answer decides at once: passed means Up,
// failed means Down, unless it is trusted. From then on Rise passed probes in a row bring a Down target
// Up, and Fall failed ones bring an Up target Down. A probe that this node could
// not send at all (see ErrNotSent) says nothing about the target and leaves its
// state and counts alone.
//
// The package knows nothing of services or backends: the caller names targets and
// maps them to whatever hangs on their health.
package health

import (
	"context"
	"errors"
	"time"
)

// TargetID names a target. The caller chooses it; the Checker only compares it.
type TargetID string

// State is what the probes say about a target.
type State uint8

//go:generate go tool stringer -type=State -linecomment -output=state_string.go
const (
	Unknown State = iota // unknown
	Down                 // down
	Up                   // up
)

// Prober sends one probe. A nil error means that the target passed; answer then says
// in a few words what it said ("200 OK"). Otherwise the error says in a few words why
// not ("connection refused"); both are shown to people.
//
// Probe must return soon after ctx ends, and then with context.Cause(ctx), wrapped or
// not: for a probe out of time that reads "timeout after 1s". It returns an error that
// wraps ErrNotSent if this node could not send the probe. It is never called twice at
// a time for one target, but may be for two targets that share the Prober.
type Prober interface {
	Probe(ctx context.Context) (answer string, err error)
}

// ErrNotSent is what a Prober's error wraps if this node lacked the means to probe
// (file descriptors, source ports, memory). A node short of something must not declare
// all its targets down.
var ErrNotSent = errors.New("not sent")

// Check says how a target is probed and judged.
type Check struct {
	// Key stands for all but Rise and Fall: checks that agree in it send the same probe by
	// the same schedule. Empty: the check is like no other.
	Key string

	Probe        Prober
	Interval     time.Duration // from the start of one probe to the start of the next
	FastInterval time.Duration // the same while the target is Down or failed its last probe; 0: Interval
	Timeout      time.Duration // a probe that takes longer has failed
	Rise         int           // passed probes in a row that bring a Down target Up, at least 1
	Fall         int           // failed probes in a row that bring an Up target Down, at least 1
	Trusted      bool          // a new target is known to have been well: it takes Fall failures, not one, to find it Down
}

// Change reports that a target's state has become another one than last reported.
type Change struct {
	ID      TargetID
	Healthy bool
	Reason  string    // the answer or error of the deciding probe
	At      time.Time // when that probe ended
}

// Status is all that is known about a target.
type Status struct {
	ID     TargetID
	State  State
	Since  time.Time // when State was reached; for Unknown, when the target was set
	Reason string    // the answer or error of the probe that led to State; empty for Unknown
	InRow  int       // how many judged probes in a row ended like the last one, with the present Check

	LastProbe time.Time     // start of the last finished probe; zero before the first
	Took      time.Duration // how long it took
	Answer    string        // its answer or error

	// Totals since the target was set.
	Passed, Failed, NotSent, Changes uint64
}

func (c Check) validate() error {
	switch {
	case c.Probe == nil:
		return errors.New("no prober given")
	case c.Interval <= 0:
		return errors.New("interval must be positive")
	case c.FastInterval < 0:
		return errors.New("fast interval must not be negative")
	case c.Timeout <= 0:
		return errors.New("timeout must be positive")
	case c.Rise < 1:
		return errors.New("rise must be at least 1")
	case c.Fall < 1:
		return errors.New("fall must be at least 1")
	}
	return nil
}
