package handover

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/control/transition"
	"github.com/xlb-project/xlb/maps"
)

// Identity is what a backend is called on all nodes, with its service's table as this node has it.
type Identity struct {
	Service string
	Slots   int
	Address netip.Addr
}

// Strays returns those of flows that a peer needs, according to a scan that has just begun. who names a backend.
func Strays(now time.Time, flows iter.Seq[maps.Flow], scan *transition.Scan, who func(maps.BackendID) (Identity, bool)) []Batch {
	type table struct {
		name  string
		slots int
	}
	var batches []Batch
	place := map[table]int{} // in batches
	for f := range flows {
		if !scan.Stray(f) {
			continue
		}
		id, ok := who(f.Backend)
		if !ok || f.State < maps.FlowNew || f.State > maps.FlowClosing {
			continue
		}
		i, known := place[table{id.Service, id.Slots}]
		if !known {
			i = len(batches)
			place[table{id.Service, id.Slots}] = i
			batches = append(batches, Batch{Service: id.Service, Slots: id.Slots, Sent: now})
		}
		batches[i].Records = append(batches[i].Records, Record{Backend: id.Address, State: f.State, Age: f.Age, Hash: f.Hash})
	}
	return batches
}

// Service is what a node that takes flows over knows of one of its services.
type Service struct {
	Slots    int
	Backends map[netip.Addr]maps.BackendID
	Counts   func(maps.Flow) bool                  // whether a record would decide anything, see transition.Table.Counts
	Add      func(flows []maps.Flow, bits int) int // takes in what does, as maps.Tables.AddFlows
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
// before counts all the same. service returns what the node has by a name, false for nothing. It and what it returns are
// called from within do only, once for a batch of at most some thousand records; nothing is read meanwhile.
func Receive(r *Reader, do func(func()) error, service func(string) (Service, bool)) (Taken, error) {
	var taken Taken
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return taken, nil
		}
		if err != nil {
			return taken, err
		}
		if err := do(func() { taken.take(b, r.Bits(), service) }); err != nil {
			return taken, fmt.Errorf("take over flows of service %s: %w", b.Service, err)
		}
	}
}

// take takes in a batch of records whose hashes know so many low bits.
func (t *Taken) take(b Batch, bits int, service func(string) (Service, bool)) {
	s, ok := service(b.Service)
	switch {
	case !ok:
		t.Unknown += len(b.Records)
		return
	case s.Slots != b.Slots:
		t.OtherSize += len(b.Records)
		return
	}
	flows := t.flows(b, s)
	n := s.Add(flows, bits)
	t.Added += n
	t.Left += len(flows) - n
}

// flows returns the records of a batch that have a place here.
func (t *Taken) flows(b Batch, s Service) []maps.Flow {
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
