package maps

import (
	"fmt"
	"sync/atomic"
)

// SetBackendState changes what a backend's row lets packets do, and nothing else
// of it: its next hop stays, which the caller need not know. Resolved is not
// looked at.
func (t *Tables) SetBackendState(id BackendID, s BackendState) error {
	if id == 0 || int(id) >= len(t.backends.rows) {
		return fmt.Errorf("write state of backend %d: past limits.backends (%d)", id, len(t.backends.rows)-1)
	}
	row := t.backends.rows[id]
	row.Hop = row.Hop&^(flagUp|flagAccepts) | uint32(s.flags())
	storeWords(&t.backends.rows[id], &row)
	return nil
}

// Tick reads the clock of flow records, which a former daemon may have set last.
func (t *Tables) Tick() uint64 { return atomic.LoadUint64(&t.state.rows[0].Tick) }

// FlowCapacity returns how many flows there is room to record.
func (t *Tables) FlowCapacity() int { return len(t.flowWords()) }
