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

// AttachDecap starts decapsulation on an interface. It ends with Close.
func AttachDecap(name string, mode Mode) (*Decap, error) {
	spec, err := bpf.LoadDecap()
	if err != nil {
		return nil, fmt.Errorf("read embedded program: %w", err)
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

// Counter returns what was taken out of tunnels; bytes include the outer header.
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
