package maps

import "sync/atomic"

// SignalCounter is what clients' handshakes tell about a backend. The counts only
// rise, also where a number is given anew: what matters is how they differ from
// those at another time.
type SignalCounter struct {
	SYNs          uint64 // handshakes begun
	Completed     uint64 // of these, by the client
	Retransmitted uint64 // SYNs of these sent again, since nobody had answered
	Missed        uint64 // handshakes begun when the table had no room, which count for nothing else
}

// SignalCounter returns the signals of a backend, of services with Signals. For a
// program without that feature they are 0.
func (t *Tables) SignalCounter(id BackendID) SignalCounter {
	var sum SignalCounter
	rows := len(t.signals.rows) / t.cpus
	if int(id) >= rows {
		return sum
	}
	for cpu := range t.cpus {
		s := &t.signals.rows[cpu*rows+int(id)]
		sum.SYNs += atomic.LoadUint64(&s.Syns)
		sum.Completed += atomic.LoadUint64(&s.Completed)
		sum.Retransmitted += atomic.LoadUint64(&s.Retransmitted)
		sum.Missed += atomic.LoadUint64(&s.Missed)
	}
	return sum
}
