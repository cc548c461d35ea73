// Package passive judges backends by the handshakes of their clients.
//
// The data path sees what clients send, and nothing of the answers: handshakes that begin,
// those that the client completes, and SYNs sent again because nobody had answered. How many
// complete says more about the clients and the network than about a backend: in a flood of
// SYNs nearly none do. So a backend is compared with its siblings of the same service over
// the same time, to which the same clients come by chance. If all suffer alike, nobody is
// suspected.
//
// A backend is suspected if far fewer of its handshakes complete, or far more of its SYNs
// are repeated, than would at its siblings, if that is more than chance explains, and if it
// is so twice in a row. A suspect wants a probe at once. With Options.Eject it is ejected
// if it is suspected still when the next judgement is due: it should take no new connections
// for a while, which doubles with each time in a row. Only a share of a service is ejected
// at one time, the worst first.
//
// The package keeps no clock and touches nothing; its caller samples counters, and acts.
package passive

import (
	"time"
)

// Counts are a backend's handshakes, as counters that only rise.
type Counts struct {
	SYNs          uint64 // handshakes begun
	Completed     uint64 // of these, by the client
	Retransmitted uint64 // SYNs of these sent again
}

// Options say when a backend is suspected, and what of it.
type Options struct {
	SuspectBelow   int           // percent of what its siblings would complete
	MinConnections int           // completed handshakes to expect before a judgement
	Eject          bool          // suspects are ejected
	MaxEjected     int           // percent of a service's backends; at least one of three or more
	EjectFor       time.Duration // doubles with each time in a row, up to maxDoublings times
}

// State is what is thought of a backend.
type State uint8

//go:generate go tool stringer -type=State -linecomment -output=state_string.go
const (
	Clear     State = iota // clear
	Suspected              // suspected
	Ejected                // ejected
)

// Sample is what is known about a backend at one time.
type Sample[K comparable] struct {
	Backend K
	Counts  Counts
	Serving bool // but for an ejection, it takes new connections
}

// Change says that something else is thought of a backend now.
type Change[K comparable] struct {
	Backend K
	State   State
	Was     State
	Reason  string    // in a few words
	Until   time.Time // of Ejected: when it takes connections again
}

// Period is how far two judgements are apart at least. Samples between them are ignored.
const Period = 2 * time.Second

// How many periods a judgement looks back: over the fewest that have handshakes enough.
const (
	minPeriods = 3
	maxPeriods = 15
)

// sigmas is how unlikely a difference must be by chance, in standard deviations: a large
// node makes millions of judgements a day.
const sigmas = 5

// minVariance is the least variance that is expected of each handshake, even where nearly all
// complete: clients are not independent of each other, and how many are under way when a
// time begins and ends is chance.
const minVariance = 0.5

// maxDoublings bounds how long ejections become.
const maxDoublings = 6
