package handover

import (
	"errors"
	"io"
	"iter"
	"net/netip"

	"github.com/xlb-project/xlb/control/transition"
	"github.com/xlb-project/xlb/maps"
)

// Identity is what a backend is called on all nodes, with its service's table as this node has it.
type Identity struct {
	Service string
	Slots   int
	Address netip.Addr
}

// batchSize bounds what Send holds of a service before it writes.
const batchSize = 4096

// Send writes the flows that a peer needs, according to a scan that has just begun. who names a backend.
func Send(w *Writer, flows iter.Seq[maps.Flow], scan *transition.Scan, who func(maps.BackendID) (Identity, bool)) error {
	type table struct {
		name  string
		slots int
	}
	waiting := map[table][]Record{}
	for f := range flows {
		if !scan.Stray(f) {
			continue
		}
		id, ok := who(f.Backend)
		if !ok || f.State < maps.FlowNew || f.State > maps.FlowClosing {
			continue
		}
		t := table{id.Service, id.Slots}
		waiting[t] = append(waiting[t], Record{Backend: id.Address, State: f.State, Age: f.Age, Hash: f.Hash})
		if len(waiting[t]) < batchSize {
			continue
		}
		if err := w.Write(t.name, t.slots, waiting[t]); err != nil {
			return err
		}
		waiting[t] = waiting[t][:0]
	}
	for t, records := range waiting {
		if len(records) == 0 {
			continue
		}
		if err := w.Write(t.name, t.slots, records); err != nil {
			return err
		}
	}
	return nil
}

// Service is what a node that takes flows over knows of one of its services.
type Service struct {
	Slots    int
	Backends map[netip.Addr]maps.BackendID
	Counts   func(maps.Flow) bool // whether a record would decide anything, see transition.Table.Counts
}

// Taken says what became of the records of a stream.
type Taken struct {
	Added     int // recorded now
	Left      int // known already, or without room
	Idle      int // they would decide nothing here
	Unknown   int // of services or backends that this node does not have
	OtherSize int // of services whose table has another size here
}

// Receive takes flows over until the end of the stream. It returns io.ErrUnexpectedEOF if that was cut short; what came
// before counts all the same. service returns what the node has by a name, false for nothing; add is
// maps.Tables.AddFlows. Both are called in this goroutine.
func Receive(r *Reader, service func(string) (Service, bool), add func([]maps.Flow, int) int) (Taken, error) {
	var taken Taken
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return taken, nil
		}
		if err != nil {
			return taken, err
		}
		flows := taken.flows(b, service)
		n := add(flows, r.Bits())
		taken.Added += n
		taken.Left += len(flows) - n
	}
}

// flows returns the records of a batch that have a place here.
func (t *Taken) flows(b Batch, service func(string) (Service, bool)) []maps.Flow {
	s, ok := service(b.Service)
	switch {
	case !ok:
		t.Unknown += len(b.Records)
		return nil
	case s.Slots != b.Slots:
		t.OtherSize += len(b.Records)
		return nil
	}
	flows := make([]maps.Flow, 0, len(b.Records))
	for _, r := range b.Records {
		id, ok := s.Backends[r.Backend]
		f := maps.Flow{Backend: id, State: r.State, Age: r.Age, Hash: r.Hash}
		switch {
		case !ok:
			t.Unknown++
		case !s.Counts(f):
			t.Idle++
		default:
			flows = append(flows, f)
		}
	}
	return flows
}
