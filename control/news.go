package control

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/maps"
)

func (e *Engine) healthChanged(changes []health.Change) {
	alike := map[befallen][]*backend{}
	for _, c := range changes {
		b, ok := e.byTarget[c.ID]
		if !ok {
			continue
		}
		was := b.health
		b.health = verdict{known: true, good: c.Healthy, reason: c.Reason, since: c.At}
		b.stale()
		if ev, changed := told(EventHealth, was, b.health); changed {
			key := befallen{b.cfg.Address, ev.Level, ev.Text}
			alike[key] = append(alike[key], b)
		}
	}
	for what, backends := range alike {
		e.tellAlike(EventHealth, what, backends)
	}
}

// befallen is what happened to a machine.
type befallen struct {
	addr  netip.Addr
	level slog.Level
	text  string
}

// mostTold is of how many services a machine may be a backend for what befalls it
// to be told for each: there is room for so many events only.
const mostTold = 16

// tellAlike tells of backends at one address that the same happened to.
func (e *Engine) tellAlike(kind EventKind, what befallen, backends []*backend) {
	ev := Event{Kind: kind, Level: what.level, Text: what.text}
	if n := len(backends); n > mostTold {
		ev.Text = fmt.Sprintf("%s, a backend of %d services: %s", what.addr, n, what.text)
		e.event(ev, nil, nil)
		return
	}
	for _, b := range backends {
		e.event(ev, b.service, b)
	}
}

func (e *Engine) hopChanged(u neighbour.Update) {
	alike := map[befallen][]*backend{}
	for _, b := range e.byAddr[u.Addr] {
		was := b.hop
		b.way = u
		e.reroute(b)
		e.rerouted = append(e.rerouted, b)
		if ev, changed := told(EventNextHop, was, b.hop); changed {
			key := befallen{u.Addr, ev.Level, ev.Text}
			alike[key] = append(alike[key], b)
		}
	}
	for what, backends := range alike {
		e.tellAlike(EventNextHop, what, backends)
	}
}

// reroute works out a backend's row from the way to it.
func (e *Engine) reroute(b *backend) {
	if !b.way.Addr.IsValid() {
		return // not known yet
	}
	was, next := b.hop, maps.Backend{}
	b.hop = verdict{known: true, good: b.way.Err == nil, since: e.wall()}
	if b.way.Err != nil {
		b.hop.reason = b.way.Err.Error()
	} else if row, err := e.route(b, b.way.Hop); err != nil {
		b.hop.good, b.hop.reason = false, err.Error()
	} else {
		next, b.hop.reason = row, describeHop(b.way.Hop)
	}
	if was.known && was.good == b.hop.good {
		b.hop.since = was.since
	}
	if next != b.next || was.known != b.hop.known || was.assumed || b.found {
		b.next = next
		b.stale()
	}
}

// rerouteAnew is reroute for another configuration, which may reach the backend or not.
func (e *Engine) rerouteAnew(b *backend) {
	was := b.hop
	e.reroute(b)
	if ev, changed := told(EventNextHop, was, b.hop); changed {
		e.event(ev, b.service, b)
	}
}

// told is the event of a change of a condition, an outage as a warning. That a
// backend is well from the start is none: a large node has a hundred thousand.
func told(kind EventKind, was, is verdict) (_ Event, changed bool) {
	if was.known == is.known && was.good == is.good && was.reason == is.reason {
		return Event{}, false
	}
	what := map[EventKind]string{EventHealth: "health", EventNextHop: "next hop"}[kind]
	ev := Event{Kind: kind, Level: slog.LevelInfo, Text: fmt.Sprintf("%s is good: %s", what, is.reason)}
	switch {
	case !is.good:
		ev.Level, ev.Text = slog.LevelWarn, fmt.Sprintf("%s is bad: %s", what, is.reason)
	case !was.known || was.good:
		ev.Level = slog.LevelDebug
	}
	return ev, true
}
