package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// Dataplane is a program with its tables, on interfaces once it is published.
type Dataplane struct {
	Tables *maps.Tables // of what runs, or will after Publish

	inst Instance
	lock *lock         // nil if nothing is pinned, ever
	gen  *generation   // what runs; before the first Publish of all, nil
	held []*attachment // what it runs on
	on   []Interface
	opts maps.PlaneOptions // of what runs

	first  *Staged // what Open prepared, until it is published
	probes *Probes // at work over the tables, or nil
}

// Load loads the program, to be attached to nothing and pinned nowhere: for test
// runs. It returns ErrPrivilege or ErrNoBPF where the machine does not let it.
func Load(opts maps.PlaneOptions) (*Dataplane, error) {
	d := &Dataplane{}
	o, err := d.inst.load()
	if err != nil {
		return nil, err
	}
	if err := maps.Specialise(o.spec, opts.Settings, opts.Features); err != nil {
		return nil, fmt.Errorf("specialise program: %w", err)
	}
	if d.gen, err = loadGeneration(o, nil); err != nil {
		return nil, err
	}
	if d.Tables, err = maps.Open(d.gen.maps); err != nil {
		return nil, errors.Join(fmt.Errorf("open tables: %w", err), d.gen.close())
	}
	return d, nil
}

// loadGeneration brings a specialised program into the kernel, with maps of its
// own but for those that are kept.
func loadGeneration(o object, kept map[string]*ebpf.Map) (*generation, error) {
	coll, err := ebpf.NewCollectionWithOptions(o.spec, ebpf.CollectionOptions{MapReplacements: kept})
	if err != nil {
		return nil, explainLoad(err)
	}
	g := &generation{prog: coll.DetachProgram(bpf.XlbProgXlb), maps: map[string]*ebpf.Map{}}
	for name := range o.spec.Maps {
		if pinned(name) {
			g.maps[name] = coll.DetachMap(name)
		}
	}
	coll.Close()
	return g, nil
}

//go:generate go tool stringer -type=Kind -linecomment -output=kind_string.go

// Kind says what Open found.
type Kind uint8

// Kinds of adoption: nothing was there; this very program, which was not touched;
// another, whose maps the new one uses as they are; another, some of whose maps had
// to be made anew.
const (
	Fresh    Kind = iota // fresh
	Adopted              // adopted
	Upgraded             // upgraded
	Migrated             // migrated
)

// Adoption says what was there when an instance was opened.
type Adoption struct {
	Kind    Kind
	Maps    []string  // that were made anew and filled from the former ones
	Since   time.Time // when the program that runs was published
	Version string    // of xlb, that did it
}

// Open takes an instance over from whoever ran it before, or begins it. Nothing
// that packets meet changes until Publish, but for what a process that died in
// Publish left undone. Tables that are fresh or were made anew are to be filled
// before Publish: listeners are never carried over. Where a limit is lower than
// what is in use, it is raised.
//
// It returns ErrNoBPFFS, ErrInUse, ErrOccupied, ErrNoInterface, ErrPrivilege or
// ErrNoBPF where the machine is not ready.
func Open(inst Instance, opts maps.PlaneOptions) (d *Dataplane, a Adoption, err error) {
	if err := errors.Join(inst.check(), inst.checkFileSystem()); err != nil {
		return nil, a, err
	}
	d = &Dataplane{inst: inst}
	if d.lock, err = inst.lock(); err != nil {
		return nil, a, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
			d = nil
		}
	}()
	o, err := inst.load()
	if err != nil {
		return d, a, err
	}
	if d.gen, d.held, err = inst.recover(o); err != nil {
		return d, a, fmt.Errorf("take over instance %s: %w", inst.Name, err)
	}
	if d.first, err = d.Prepare(opts); err != nil {
		return d, a, err
	}
	d.Tables = d.first.Tables
	return d, d.adoption(), nil
}

func (d *Dataplane) adoption() Adoption {
	if d.gen == nil {
		return Adoption{}
	}
	a := Adoption{Kind: Migrated, Since: d.gen.record.Since, Version: d.gen.record.Version, Maps: d.first.anew}
	switch {
	case d.first.next == d.gen:
		a.Kind = Adopted
	case len(a.Maps) == 0:
		a.Kind = Upgraded
	}
	return a
}

// Publish puts to work what Open prepared, as [Staged.Publish] does. After an
// error the Dataplane is only good for Close.
func (d *Dataplane) Publish() error {
	s := d.first
	if s == nil {
		return errors.New("publish: already published")
	}
	return s.Publish()
}

// Program returns the program that runs, for test runs and statistics.
func (d *Dataplane) Program() *ebpf.Program { return d.gen.prog }

// Interfaces returns what the program is on, before the first Publish what it
// will be on.
func (d *Dataplane) Interfaces() []Interface {
	if d.first != nil {
		return d.first.Interfaces()
	}
	return slices.Clone(d.on)
}

// Close lets go of everything. What is pinned stays and runs; what is not is gone.
func (d *Dataplane) Close() error {
	var err error
	if d.first != nil {
		err = d.first.Discard()
	}
	if d.Tables != nil {
		err = errors.Join(err, d.Tables.Close())
	}
	if d.gen != nil {
		err = errors.Join(err, d.gen.close())
	}
	err = errors.Join(err, closeAll(d.held))
	if d.lock == nil {
		return err
	}
	if d.gen == nil { // begun and never published
		_ = os.Remove(d.inst.linkDir())
		_ = os.Remove(d.inst.dir())
		_ = os.Remove(d.inst.root())
	}
	return errors.Join(err, d.lock.release())
}
