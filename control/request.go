package control

import (
	"time"

	"github.com/xlb-project/xlb/control/config"
)

// Effective is the configuration that a node is to run: its file with the
// changes at run time.
type Effective struct {
	Config   *config.Config
	Revision uint64 // grows with each change of the configuration or of a backend's administrative state
	File     string // that the daemon was started with
}

// Request asks for a whole configuration.
type Request struct {
	Config   *config.Config
	Revision uint64 // that the writer saw, 0 for any
	Actor    string // who asks, such as "root" or "uid 1000"
	Source   string // where the configuration comes from, such as a file's name
}

// Edit goes with a change of one object.
type Edit struct {
	Revision uint64 // that the writer saw, 0 for any
	Actor    string
}

// DrainOptions say how a backend is drained.
type DrainOptions struct {
	Timeout time.Duration // it is taken out after that long, whatever flows are left; 0: when none is left
	Force   bool          // also if it is the service's last backend that accepts
}

// Administrative states of a backend.
const (
	AdminNone     = ""         // in
	AdminDraining = "draining" // takes no new flows, keeps those it has
	AdminDrained  = "drained"  // its drain has ended: out
	AdminRemoved  = "removed"  // no longer configured; it keeps the flows that it has
	AdminDisabled = "disabled" // out at once
)
