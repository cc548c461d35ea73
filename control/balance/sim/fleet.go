package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/xlb-project/xlb/control/balance"
)

// Kind is a kind of change.
type Kind uint8

//go:generate go tool stringer -type=Kind -linecomment -output=kind_string.go
const (
	ServerDied     Kind = iota // server died
	ServerReturned             // server returned
	Drained                    // drained
	Undrained                  // undrained
	Reweighted                 // weight 100 -> 50 -> 100
	Added                      // added
	Removed                    // removed
	Replaced                   // rolling replacement
	NodeLost                   // xlb node lost
	kinds                      // how many
)

// weight is the configured weight of every backend.
const weight = 100

// state is all that the control plane knows of a backend. The zero state is a backend that is not there.
type state struct {
	configured bool
	phase      Phase
	fraction   float64 // of its weight, 0 to 1
}

// live is the live fraction.
func (s state) live() float64 {
	if s.configured && s.phase == Up {
		return s.fraction
	}
	return 0
}

// step is one change of the service.
type step struct {
	at    time.Duration
	kind  Kind
	edits map[Backend]state
}

// fleet is the backends, by identifier, and when each died last.
type fleet struct {
	states []state
	died   []time.Duration // -1: never
}

// newFleet has n backends up, and identifiers for total.
func newFleet(n, total int) *fleet {
	f := &fleet{states: make([]state, total), died: slices.Repeat([]time.Duration{-1}, total)}
	for i := range n {
		f.states[i] = state{configured: true, phase: Up, fraction: 1}
	}
	return f
}

func (f *fleet) apply(at time.Duration, s *step) {
	for b, to := range s.edits {
		if f.states[b].phase != Down && to.phase == Down {
			f.died[b] = at
		}
		f.states[b] = to
	}
}

func (f *fleet) phases() []Phase {
	phases := make([]Phase, len(f.states))
	for b, s := range f.states {
		phases[b] = s.phase
	}
	return phases
}

// pick returns the backends that weigh more than 0, as package balance wants them, and their identifiers.
func (f *fleet) pick(weigh func(state) float64) (members []balance.Backend, ids []Backend) {
	for b, s := range f.states {
		if w := weigh(s); w > 0 {
			members = append(members, balance.Backend{Key: key(Backend(b)), Weight: uint32(w)})
			ids = append(ids, Backend(b))
		}
	}
	return members, ids
}

func key(b Backend) string { return fmt.Sprintf("10.1.%d.%d", b/256, b%256) }
