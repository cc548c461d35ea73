package loader

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// Decap takes tunnel headers off packets that arrive on one interface of a backend.
type Decap struct {
	coll *ebpf.Collection
	link link.Link
}

// DecapOptions are the choices of a backend.
type DecapOptions struct {
	GUEPort uint16 // UDP port that gue tunnels come to; 0 is 6080, IANA's for GUE
}

// AttachDecap starts decapsulation on an interface: ipip, gre and gue, IPv4 and
// IPv6 inside and outside. It ends with Close. It returns ErrPrivilege, ErrNoBPF,
// ErrNoInterface or ErrOccupied where the machine does not let it.
func AttachDecap(name string, mode Mode, opts DecapOptions) (*Decap, error) {
	spec, err := bpf.LoadDecap()
	if err != nil {
		return nil, fmt.Errorf("read embedded program: %w", err)
	}
	if opts.GUEPort != 0 {
		if err := spec.Variables[bpf.DecapVarGuePort].Set(opts.GUEPort); err != nil {
			return nil, fmt.Errorf("set the GUE port: %w", err)
		}
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, explainLoad(err)
	}
	l, _, err := attach(coll.Programs[bpf.DecapProgDecap], name, mode)
	if err != nil {
		coll.Close()
		return nil, err
	}
	return &Decap{coll, l}, nil
}

// Counter returns what was taken out of tunnels; bytes are those of the outer packets.
func (d *Decap) Counter() (maps.Counter, error) {
	var perCPU []bpf.XlbCounter
	if err := d.coll.Maps[bpf.DecapMapDecapsulated].Lookup(uint32(0), &perCPU); err != nil {
		return maps.Counter{}, fmt.Errorf("read decapsulation counter: %w", err)
	}
	var sum maps.Counter
	for _, c := range perCPU {
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
	}
	return sum, nil
}

// Close detaches the program.
func (d *Decap) Close() error {
	err := d.link.Close()
	d.coll.Close()
	return err
}
