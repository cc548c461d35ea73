package maps

import (
	"sync/atomic"

	"github.com/xlb-project/xlb/bpf"
)

// Counter counts packets and the bytes of their frames as they arrived.
type Counter struct{ Packets, Bytes uint64 }

// ReasonCounter returns how many packets left the pipeline for a reason. For
// forwarded packets see [Tables.BackendCounter].
func (t *Tables) ReasonCounter(r bpf.Reason) Counter { return t.counter(int(r)) }

// BackendCounter returns what was forwarded to a backend since it got its number.
func (t *Tables) BackendCounter(id BackendID) Counter { return t.counter(counterReasons + int(id)) }

// Forwarded returns what was forwarded to all backends that there ever were.
func (t *Tables) Forwarded() Counter {
	sum := t.counter(int(Forwarded))
	for row := counterReasons; row < t.counterRows; row++ {
		c := t.counter(row)
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
	}
	return sum
}

// ResetBackendCounter clears a backend's counters, for a number that is given
// anew. The data path's own rows are not touched, which might be adding to them.
func (t *Tables) ResetBackendCounter(id BackendID) {
	row := counterReasons + int(id)
	counted, sum := t.counted(row), t.counter(row)
	atomic.StoreUint64(&t.base.rows[row].Packets, -counted.Packets)
	atomic.StoreUint64(&t.base.rows[row].Bytes, -counted.Bytes)
	former := &t.base.rows[Forwarded] // which no packet is counted as
	atomic.AddUint64(&former.Packets, sum.Packets)
	atomic.AddUint64(&former.Bytes, sum.Bytes)
}

// ForgetCounted clears what the program has counted, while nobody but a test has
// used it.
func (t *Tables) ForgetCounted() { clear(t.counters.rows) }

func (t *Tables) counter(row int) Counter {
	sum := t.counted(row)
	sum.Packets += atomic.LoadUint64(&t.base.rows[row].Packets)
	sum.Bytes += atomic.LoadUint64(&t.base.rows[row].Bytes)
	return sum
}

// counted is what the program has counted in a row.
func (t *Tables) counted(row int) Counter {
	var sum Counter
	for cpu := range t.cpus {
		c := &t.counters.rows[cpu*t.counterRows+row]
		sum.Packets += atomic.LoadUint64(&c.Packets)
		sum.Bytes += atomic.LoadUint64(&c.Bytes)
	}
	return sum
}
