package maps

import "github.com/xlb-project/xlb/bpf"

// Reason says why a packet left the data path.
type Reason = bpf.Reason

// Reasons returns all reasons.
func Reasons() []Reason { return bpf.Reasons() }

// Forwarded is the reason of packets that went to a backend. They are counted
// with the backend, see [Tables.BackendCounter].
const Forwarded = bpf.ReasonForwarded
