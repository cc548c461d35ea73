package passive

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Judge judges the backends of one service. It is not safe for concurrent use.
type Judge[K comparable] struct {
	options  Options
	backends map[K]*backend[K]
	last     time.Time // the last judgement
}

// backend is what is known about one.
type backend[K comparable] struct {
	key     K
	seen    bool // in the present sample
	serving bool
	history history

	state     State
	worse     bool    // at the last judgement
	confirmed bool    // a suspect then, and at the one before
	ratio     float64 // of what its siblings would complete, at the last judgement

	until    time.Time     // of an ejection
	ejected  time.Duration // how long the last ejection was
	released time.Time     // when it ended
}

// New returns a judge of a service's backends.
func New[K comparable](o Options) *Judge[K] {
	return &Judge[K]{options: o, backends: map[K]*backend[K]{}}
}

// State returns what is thought of a backend, and until when it is ejected.
func (j *Judge[K]) State(k K) (State, time.Time) {
	b := j.backends[k]
	if b == nil {
		return Clear, time.Time{}
	}
	return b.state, b.until
}

// Observe takes in a sample of all backends of the service, and returns what changed.
// Backends that are not in it are forgotten. It should be called about once a second; now
// must not go back.
func (j *Judge[K]) Observe(now time.Time, samples []Sample[K]) []Change[K] {
	order := j.take(samples)
	var changes []Change[K]
	change := func(b *backend[K], to State, reason string) {
		changes = append(changes, Change[K]{Backend: b.key, State: to, Was: b.state, Reason: reason, Until: b.until})
		b.state = to
	}
	for _, b := range order {
		switch {
		case b.state == Ejected && !now.Before(b.until):
			j.release(b, now)
			change(b, Clear, "its time is over")
		case b.state == Suspected && !b.serving:
			change(b, Clear, "it takes no connections")
		}
	}
	for _, b := range j.surplus(order) {
		j.release(b, now)
		change(b, Clear, "too few others serve")
	}
	if now.Sub(j.last) < Period {
		return changes
	}
	j.last = now
	counts := make(map[K]Counts, len(samples))
	for _, s := range samples {
		counts[s.Backend] = s.Counts
	}
	for _, b := range order {
		if b.serving && b.state != Ejected {
			b.history.add(counts[b.key])
		} else {
			b.history = history{}
			b.worse = false
		}
	}
	j.judge(order, change)
	j.eject(order, now, change)
	return changes
}

// take brings the list of backends up to date, and returns them in the sample's order.
func (j *Judge[K]) take(samples []Sample[K]) []*backend[K] {
	for _, b := range j.backends {
		b.seen = false
	}
	order := make([]*backend[K], 0, len(samples))
	for _, s := range samples {
		b := j.backends[s.Backend]
		if b == nil {
			b = &backend[K]{key: s.Backend}
			j.backends[s.Backend] = b
		}
		if !b.seen {
			order = append(order, b)
		}
		b.seen, b.serving = true, s.Serving
	}
	for k, b := range j.backends {
		if !b.seen {
			delete(j.backends, k)
		}
	}
	return order
}

// release ends an ejection.
func (j *Judge[K]) release(b *backend[K], now time.Time) {
	b.until, b.released = time.Time{}, now
	b.history, b.worse = history{}, false
}

// judge compares each backend with its siblings.
func (j *Judge[K]) judge(order []*backend[K], change func(*backend[K], State, string)) {
	var all [maxPeriods + 1]sums
	for _, b := range order {
		for periods := minPeriods; periods <= b.history.periods(); periods++ {
			all[periods] = all[periods].plus(b.history.over(periods))
		}
	}
	for _, b := range order {
		if b.state == Ejected {
			continue
		}
		was := b.worse
		found := j.compare(b, &all)
		b.worse, b.ratio = found.worse, found.ratio
		switch {
		case b.state == Clear && b.worse && was:
			b.confirmed = false
			change(b, Suspected, found.reason)
		case b.state == Suspected && found.well:
			change(b, Clear, "no worse than its siblings")
		case b.state == Suspected:
			b.confirmed = b.worse
		}
	}
}

// finding is what a comparison comes to. Neither worse nor well: hard to say.
type finding struct {
	worse, well bool
	ratio       float64
	reason      string
}

// compare compares a backend with its siblings, over the shortest time that tells.
func (j *Judge[K]) compare(b *backend[K], all *[maxPeriods + 1]sums) finding {
	f := finding{ratio: 1, well: b.history.periods() >= maxPeriods} // without handshakes, no suspicion
	for periods := minPeriods; periods <= b.history.periods(); periods++ {
		own := b.history.over(periods)
		others := all[periods].minus(own)
		expected := own.syns * others.completed / max(others.syns, 1)
		if least := float64(j.options.MinConnections); others.syns < least || expected < least {
			continue
		}
		if f = j.compareOver(own, others, expected); f.worse || f.well {
			break
		}
	}
	return f
}

func (j *Judge[K]) compareOver(own, others sums, expected float64) finding {
	f := j.weigh(own, others, own.completed, expected)
	f.reason = fmt.Sprintf("handshakes complete at %.0f %% of its siblings' rate", 100*f.ratio)
	if f.worse {
		return f
	}
	// Handshakes may complete, and yet only when the client has asked twice.
	again := j.weigh(own, others, own.prompt(), own.syns*others.prompt()/others.syns)
	again.reason = fmt.Sprintf("%.0f %% of its SYNs are repeated, %.0f %% of its siblings'", 100*own.repeated/own.syns, 100*others.repeated/others.syns)
	if again.worse {
		return again
	}
	f.well = f.well && again.well
	return f
}

// weigh compares how many handshakes came to a good end with how many were to be expected.
func (j *Judge[K]) weigh(own, others sums, got, expected float64) finding {
	below := float64(j.options.SuspectBelow) / 100
	each := max(1-expected/own.syns, minVariance)
	few := 1 + own.syns/others.syns // what is to be expected is uncertain itself, more so of few siblings
	deviation := math.Sqrt(expected * each * few)
	return finding{
		ratio: got / expected,
		worse: got < below*expected && expected-got >= sigmas*deviation,
		well:  got >= (1+below)/2*expected, // not at once when it is a little better again
	}
}

// eject ejects those that are suspected for longer than one judgement, the worst first, as
// far as there is room.
func (j *Judge[K]) eject(order []*backend[K], now time.Time, change func(*backend[K], State, string)) {
	if !j.options.Eject {
		return
	}
	var suspects []*backend[K]
	for _, b := range order {
		if b.state == Suspected && b.confirmed {
			suspects = append(suspects, b)
		}
	}
	slices.SortStableFunc(suspects, func(a, b *backend[K]) int { return cmp.Compare(a.ratio, b.ratio) })
	room := j.room(order)
	for _, b := range suspects {
		if room <= 0 {
			return
		}
		b.ejected = j.term(b, now)
		b.until = now.Add(b.ejected)
		change(b, Ejected, fmt.Sprintf("still far behind its siblings, for %s", b.ejected))
		room--
	}
}

// term returns how long the next ejection lasts. It is in a row with the last one if it
// comes sooner after that than that was long.
func (j *Judge[K]) term(b *backend[K], now time.Time) time.Duration {
	if b.ejected == 0 || now.Sub(b.released) > b.ejected {
		return j.options.EjectFor
	}
	return min(2*b.ejected, j.options.EjectFor<<maxDoublings)
}

// room returns how many more backends may be ejected; less than 0 if there are too many.
func (j *Judge[K]) room(order []*backend[K]) int {
	ejected, others := 0, 0
	for _, b := range order {
		switch {
		case b.state == Ejected:
			ejected++
		case b.serving:
			others++
		}
	}
	most := (ejected + others) * j.options.MaxEjected / 100
	if ejected+others >= 3 {
		most = max(most, 1)
	}
	if others == 0 {
		return -ejected
	}
	return min(most-ejected, others-1)
}

// surplus returns the ejected backends that must be let back in, those whose time is over
// soonest.
func (j *Judge[K]) surplus(order []*backend[K]) []*backend[K] {
	n := -j.room(order)
	if n <= 0 {
		return nil
	}
	var ejected []*backend[K]
	for _, b := range order {
		if b.state == Ejected {
			ejected = append(ejected, b)
		}
	}
	slices.SortStableFunc(ejected, func(a, b *backend[K]) int { return a.until.Compare(b.until) })
	return ejected[:n]
}
