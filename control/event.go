package control

import (
	"log/slog"
	"time"
)

// EventKind says what an event is about.
type EventKind string

// Kinds of events. Kinds are added, never renamed.
const (
	EventHealth     EventKind = "health"     // a probe's verdict on a backend changed
	EventNextHop    EventKind = "next_hop"   // a backend can or cannot be reached
	EventApply      EventKind = "apply"      // a configuration was applied
	EventReload     EventKind = "reload"     // the file was read again
	EventEdit       EventKind = "edit"       // one service or backend was changed at run time
	EventAdmin      EventKind = "admin"      // a backend was enabled or disabled
	EventDrain      EventKind = "drain"      // a drain began, ended or was taken back
	EventAdopt      EventKind = "adopt"      // what a former daemon left running was taken over
	EventTransition EventKind = "transition" // slots began or ended to move
	EventPanic      EventKind = "panic"      // too few backends are healthy: all are used, or no longer
	EventPassive    EventKind = "passive"    // a backend answers clients worse than its siblings
	EventDiscovery  EventKind = "discovery"  // a source of backends changed or failed
	EventOverrun    EventKind = "overrun"    // the kernel dropped news of routes and neighbours
	EventProgram    EventKind = "program"    // another program runs in the kernel
	EventState      EventKind = "state"      // the state file could not be read or written
	EventServing    EventKind = "serving"    // VIPs are forwarded
)

// EventKinds returns all kinds, in the order of the documentation.
func EventKinds() []EventKind {
	return []EventKind{
		EventHealth, EventNextHop, EventApply, EventReload, EventEdit, EventAdmin, EventDrain, EventAdopt, EventTransition, EventPanic,
		EventPassive, EventDiscovery, EventOverrun, EventProgram, EventState, EventServing,
	}
}

// Event is something that an operator may want to know, as `xlb events` prints
// it. Fields are added, never renamed.
type Event struct {
	Seq      uint64     `json:"seq"` // grows by one with each event of a daemon
	Time     time.Time  `json:"time"`
	Kind     EventKind  `json:"kind"`
	Level    slog.Level `json:"level"` // INFO, WARN or ERROR
	Service  string     `json:"service,omitempty"`
	Backend  string     `json:"backend,omitempty"`
	Text     string     `json:"text"`
	Actor    string     `json:"actor,omitempty"`    // who asked for it
	Revision uint64     `json:"revision,omitempty"` // of the configuration that it led to
}
