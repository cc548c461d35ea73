package control

import "github.com/xlb-project/xlb/control/config"

// Plan says what a change of the configuration does, or did. Fields are added,
// never renamed.
type Plan struct {
	Revision uint64        `json:"revision"` // a plan: of the configuration that it starts from; once applied: of the new one
	Empty    bool          `json:"empty"`    // there is nothing to do
	Changes  []Change      `json:"changes"`
	Services []ServicePlan `json:"services"` // those that are added, changed or removed
	Program  *ProgramPlan  `json:"program,omitempty"`
	Warnings []string      `json:"warnings,omitempty"` // what is wrong outside the configuration, such as a backend without next hop
}

// Action says what becomes of an object.
type Action = config.Action

// Actions.
const (
	ActionAdd    = config.ActionAdd
	ActionChange = config.ActionChange
	ActionRemove = config.ActionRemove
)

// Change is one difference between two configurations.
type Change = config.Change

// ServicePlan says what a change means for a service's flows.
type ServicePlan struct {
	Name       string  `json:"name"`
	Action     Action  `json:"action"`
	Slots      int     `json:"slots"`      // of its table afterwards
	SlotsMoved int     `json:"slotsMoved"` // slots whose owner changes
	ShareMoved float64 `json:"shareMoved"` // share of new flows that another backend gets, 0 to 1
	Needless   int     `json:"needless"`   // slots that move although both owners accept before and after
	FlowsMoved int     `json:"flowsMoved"` // recorded flows in slots that move; they stay where they are while their backend lives
	FlowsLost  int     `json:"flowsLost"`  // recorded flows whose backend goes and does not keep them
}

// ProgramPlan says how the program in the kernel changes.
type ProgramPlan struct {
	Reload            bool     `json:"reload"` // another program is loaded and takes over
	Added             []string `json:"added,omitempty"`
	Removed           []string `json:"removed,omitempty"`           // features that it no longer has
	Resized           []string `json:"resized,omitempty"`           // limits whose tables change their size
	InterfacesAdded   []string `json:"interfacesAdded,omitempty"`   // it is attached to
	InterfacesRemoved []string `json:"interfacesRemoved,omitempty"` // it is taken off
}
