package control

import (
	"iter"
	"net/netip"

	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/maps"
)

// Dataplane is what the engine writes to; maps.Tables is one.
type Dataplane interface {
	ServiceEntries() []maps.ServiceEntry
	BackendEntries() []maps.BackendEntry
	NameService(maps.ServiceEntry) error
	NameBackend(maps.BackendEntry) error

	SetRules(maps.ServiceID, []maps.Rule) error
	SetServerIDs(maps.ServiceID, maps.ServerIDLengths, []maps.ServerID) error
	SetService(maps.ServiceID, maps.Service) error
	RemoveService(maps.ServiceID) error
	SetListeners([]maps.Listener) error

	ServerIDs(maps.ServiceID) []maps.ServerID
	Backend(maps.BackendID) maps.BackendState
	SetBackend(maps.BackendID, maps.Backend) error
	SetBackendState(maps.BackendID, maps.BackendState) error
	SlotTable(maps.ServiceID) []maps.Slot
	SetSlotTable(maps.ServiceID, []maps.Slot) error
	MoveSlots(maps.ServiceID, []maps.Move) error

	Tick() uint64
	SetTick(seconds uint64)
	Flows() iter.Seq[maps.Flow]
	FlowsIn(first, end int) iter.Seq[maps.Flow]
	AddFlows(flows []maps.Flow, lowBits int) int
	FlowBits() int
	ForgetFlows(func(maps.Flow) bool) int
	FlowCapacity() int

	ReasonCounter(maps.Reason) maps.Counter
	BackendCounter(maps.BackendID) maps.Counter
	SignalCounter(maps.BackendID) maps.SignalCounter
	ResetBackendCounter(maps.BackendID)
	Forwarded() maps.Counter
}

// Plane is the program in the kernel, which a change of the configuration may
// have to replace.
type Plane interface {
	Tables() Dataplane
	// Egress gives interfaces, by index, the numbers by which rows name them.
	Egress() map[int]uint32
	// Prepare loads a program with other options aside. Its tables may be those in
	// use, or others that have to be filled before it takes over.
	Prepare(maps.PlaneOptions) (Staged, error)
	// Publish puts to work what was loaded aside when the plane was opened, if it was.
	Publish() error
	// Mend puts the program on interfaces again that were away, and says whether it had to.
	Mend() (bool, error)
}

// Staged is a program that stands aside until Publish or Discard.
type Staged interface {
	Tables() Dataplane
	Anew() bool // some of the tables hold less than those in use
	Egress() map[int]uint32
	Publish() error // on an error everything is as before
	Discard() error
}

// Checker tells which backends are fit to serve; *health.Checker is one.
type Checker interface {
	Set(health.TargetID, health.Check) error
	Remove(health.TargetID)
	Hurry(health.TargetID)
	Ready() <-chan struct{}
	Changes() []health.Change
	Status(health.TargetID) (health.Status, bool)
}

// Neighbours tells how packets leave for an address; *neighbour.Watcher is one.
type Neighbours interface {
	Watch([]netip.Addr)
	Updates() <-chan []neighbour.Update
	Stats() neighbour.Stats
}
