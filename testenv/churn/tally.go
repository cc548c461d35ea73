package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// Step is what happened to connections from the start of a change until the next one.
type Step struct {
	Name                string  `json:"name"`
	Seconds             float64 `json:"seconds"`
	Connections         int     `json:"connections"` // long-lived ones that were open: TCP, UDP flows and QUIC
	Exchanges           int64   `json:"exchanges"`   // messages answered on them
	Broken              int64   `json:"broken"`      // reset, closed, silent, or answered by another backend
	BrokenUnavoidable   int64   `json:"brokenUnavoidable"`
	NewConnections      int64   `json:"newConnections"`
	NewConnectionErrors int64   `json:"newConnectionErrors"`
	MaxStallMs          float64 `json:"maxStallMs"`  // longest wait for an answer on a connection that did not break
	PacketsLost         uint64  `json:"packetsLost"` // that xlb dropped
	Unanswered          int64   `json:"unanswered"`  // datagrams without an answer, wherever they were lost
	Death               bool    `json:"death"`       // the change kills a backend, or cuts the wire

	mu    sync.Mutex   // guards the counts but Exchanges, while traffic runs
	stall atomic.Int64 // ns
	start time.Time
}

// answered notes an exchange on a connection.
func (s *Step) answered(took time.Duration) {
	atomic.AddInt64(&s.Exchanges, 1)
	for {
		longest := s.stall.Load()
		if int64(took) <= longest || s.stall.CompareAndSwap(longest, int64(took)) {
			return
		}
	}
}

// broke notes the end of a connection, which nobody could avoid if its backend died.
func (s *Step) broke(unavoidable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Broken++
	if unavoidable {
		s.BrokenUnavoidable++
	}
}

// unanswered notes that a datagram to a live backend got no answer.
func (s *Step) unanswered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Unanswered++
}

// opened notes an attempt to open a connection.
func (s *Step) opened(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.NewConnections++
	if err != nil {
		s.NewConnectionErrors++
	}
}

// tally has the steps so far. Traffic charges what it meets to the step in which it sent.
type tally struct {
	current atomic.Pointer[Step]
	steps   []*Step

	mu     sync.Mutex
	deaths map[string]time.Time // when a backend died last
}

// begin starts a step.
func (t *tally) begin(name string, death bool) *Step {
	s := &Step{Name: name, Death: death, start: time.Now()}
	t.steps = append(t.steps, s)
	t.current.Store(s)
	return s
}

func (t *tally) now() *Step { return t.current.Load() }

// die notes that a backend is about to die: its connections will break.
func (t *tally) die(backend string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deaths[backend] = time.Now()
}

// diedSince tells whether a backend has died since a connection with it was opened.
func (t *tally) diedSince(backend string, opened time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.deaths[backend].After(opened)
}

// end closes the books of a step. Late answers may still come in until total is called.
func (s *Step) end(connections int, lost uint64) {
	s.Connections, s.PacketsLost = connections, lost
	s.Seconds = time.Since(s.start).Seconds()
}

// total sums up the steps; no traffic runs any more.
func (t *tally) total() *Step {
	sum := &Step{Name: "total"}
	for _, s := range t.steps {
		s.MaxStallMs = float64(s.stall.Load()) / float64(time.Millisecond)
		sum.Seconds += s.Seconds
		sum.Connections = max(sum.Connections, s.Connections)
		sum.Exchanges += s.Exchanges
		sum.Broken += s.Broken
		sum.BrokenUnavoidable += s.BrokenUnavoidable
		sum.NewConnections += s.NewConnections
		sum.NewConnectionErrors += s.NewConnectionErrors
		sum.PacketsLost += s.PacketsLost
		sum.Unanswered += s.Unanswered
		sum.MaxStallMs = max(sum.MaxStallMs, s.MaxStallMs)
	}
	return sum
}
