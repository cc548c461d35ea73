package loader

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// Dataplane is a loaded program with its tables. Attach puts it to work.
type Dataplane struct {
	Tables *maps.Tables

	coll  *ebpf.Collection
	opts  maps.PlaneOptions
	links []link.Link
}

// Load loads the program, attached to nothing. It returns ErrPrivilege or
// ErrNoBPF where the machine does not let it.
func Load(opts maps.PlaneOptions) (*Dataplane, error) {
	spec, err := bpf.LoadXlb()
	if err != nil {
		return nil, fmt.Errorf("read embedded program: %w", err)
	}
	if err := maps.Specialise(spec, opts.Settings, opts.Features); err != nil {
		return nil, fmt.Errorf("specialise program: %w", err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, explainLoad(err)
	}
	tables, err := maps.Open(coll.Maps)
	if err != nil {
		coll.Close()
		return nil, fmt.Errorf("open tables: %w", err)
	}
	return &Dataplane{Tables: tables, coll: coll, opts: opts}, nil
}

// Program returns the loaded program, for test runs and statistics.
func (d *Dataplane) Program() *ebpf.Program { return d.coll.Programs[bpf.XlbProgXlb] }

// Attach puts the program on every interface of the options, or on none. Tables
// are filled before, so that the first packet meets a working state.
func (d *Dataplane) Attach() error {
	if len(d.links) > 0 {
		return errors.New("attach: already attached")
	}
	for number, name := range d.opts.Interfaces {
		if err := d.attachOne(uint32(number), name); err != nil {
			return errors.Join(err, d.Detach())
		}
	}
	return nil
}

func (d *Dataplane) attachOne(number uint32, name string) error {
	l, index, err := attach(d.Program(), name, modeOf(d.opts))
	if err != nil {
		return err
	}
	d.links = append(d.links, l)
	if !d.opts.Features.Redirect {
		return nil
	}
	if err := d.coll.Maps[bpf.XlbMapEgress].Put(number, uint32(index)); err != nil {
		return fmt.Errorf("add %s to the redirect table: %w", name, err)
	}
	return nil
}

// Detach takes the program off all interfaces; packets go to the kernel again.
func (d *Dataplane) Detach() error {
	var err error
	for i := len(d.links) - 1; i >= 0; i-- {
		err = errors.Join(err, d.links[i].Close())
	}
	d.links = nil
	return err
}

// Close detaches and unloads.
func (d *Dataplane) Close() error {
	err := errors.Join(d.Detach(), d.Tables.Close())
	d.coll.Close()
	return err
}
