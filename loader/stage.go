package loader

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// Staged is a program and tables that stand aside until Publish: no packet meets
// them. Where only interfaces come or go, they are those that run.
type Staged struct {
	// Tables are to be filled before Publish where they were made anew. Those of
	// before are not to be used after it.
	Tables *maps.Tables

	d         *Dataplane
	opts      maps.PlaneOptions
	next      *generation
	former    *maps.Former
	migration *maps.Migration
	anew      []string
	devices   []*device
	numbered  []uint32 // egress numbers given to interfaces that come
}

// Prepare makes ready what the options ask for, beside what runs. Where a limit is
// lower than what is in use, it is raised. The caller ends it with Publish or
// Discard before it prepares anything else.
func (d *Dataplane) Prepare(opts maps.PlaneOptions) (*Staged, error) {
	s := &Staged{d: d, opts: opts}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, s.Discard())
	}
	return s, nil
}

func (s *Staged) prepare() error {
	o, err := s.d.inst.load()
	if err != nil {
		return err
	}
	if s.devices, err = findDevices(s.opts, s.d.held); err != nil {
		return err
	}
	if s.d.gen == nil {
		err = s.begin(o)
	} else {
		err = s.beside(o)
	}
	if err != nil {
		return err
	}
	if s.Tables == nil {
		if s.Tables, err = maps.Open(s.next.maps); err != nil {
			return fmt.Errorf("open tables: %w", err)
		}
	}
	return s.number()
}

// begin loads the first program of an instance.
func (s *Staged) begin(o object) (err error) {
	if err := maps.Specialise(o.spec, s.opts.Settings, s.opts.Features); err != nil {
		return fmt.Errorf("specialise program: %w", err)
	}
	if s.next, err = loadGeneration(o, nil); err != nil {
		return err
	}
	s.describe(o, 1)
	return nil
}

// beside loads a program that takes over from the one that runs, unless that is
// the same.
func (s *Staged) beside(o object) (err error) {
	gen := s.d.gen
	same := gen.record.Object == o.sum
	if s.former, err = maps.OpenFormer(gen.maps, o.spec, same); err != nil {
		return err
	}
	if err := s.former.Specialise(o.spec, s.opts.Settings, s.opts.Features); err != nil {
		return fmt.Errorf("specialise program: %w", err)
	}
	if s.anew = s.former.Outgrown(o.spec); len(s.anew) == 0 && gen.record.Program == o.fingerprint() {
		s.next, s.Tables = gen, s.d.Tables
		return nil
	}
	kept, anew := s.former.Keep(o.spec)
	if s.next, err = loadGeneration(o, kept); err != nil {
		return err
	}
	s.describe(o, gen.number+1)
	if s.migration, err = s.former.NewMigration(s.next.maps, o.spec, anew, true); err != nil {
		return err
	}
	s.migration.Counters()
	return s.migration.Settings()
}

func (s *Staged) describe(o object, number int) {
	s.next.number = number
	s.next.record = record{Schema: schema, Version: s.d.inst.Version, Object: o.sum, Program: o.fingerprint(), Since: time.Now().Round(0)}
}

// Anew names the tables that were made anew.
func (s *Staged) Anew() []string { return slices.Clone(s.anew) }

// replaces tells whether another program is to run.
func (s *Staged) replaces() bool { return s.next != s.d.gen }

// Interfaces returns what the program will be on, with their egress numbers.
func (s *Staged) Interfaces() []Interface {
	var all []Interface
	for _, d := range s.devices {
		all = append(all, d.Interface)
	}
	return all
}

// number gives interfaces their keys in the redirect table: those that they have,
// or free ones. Packets can then be sent there even before Publish.
func (s *Staged) number() error {
	egress := s.next.maps[bpf.XlbMapEgress]
	taken := egressNumbers(egress)
	if s.d.gen != nil && len(taken) == 0 {
		taken = egressNumbers(s.d.gen.maps[bpf.XlbMapEgress])
	}
	for _, d := range s.devices {
		number, known := taken[d.Index]
		for !known && slices.Contains(values(taken), number) {
			number++
		}
		d.Egress, taken[d.Index] = number, number
		if known && d.held != nil && !s.replaces() {
			continue
		}
		if err := egress.Put(number, uint32(d.Index)); err != nil && s.opts.Features.Redirect {
			return fmt.Errorf("add %s to the redirect table, which has room for %d: %w", d.Name, egress.MaxEntries(), err)
		}
		if !known {
			s.numbered = append(s.numbered, number)
		}
	}
	return nil
}

func values(m map[int]uint32) (all []uint32) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// egressNumbers reads the redirect table: which interface has which number. The
// kernel takes interfaces off that go away.
func egressNumbers(m *ebpf.Map) map[int]uint32 {
	numbers := map[int]uint32{}
	if m == nil { // another release may have none
		return numbers
	}
	for number := range m.MaxEntries() {
		var index uint32
		if err := m.Lookup(number, &index); err == nil && index != 0 {
			numbers[int(index)] = number
		}
	}
	return numbers
}

// Discard gives up what was prepared. It does nothing after Publish.
func (s *Staged) Discard() error {
	if s.d == nil {
		return nil
	}
	d := s.d
	s.d = nil
	if d.first == s {
		d.first = nil
	}
	var err error
	for _, number := range s.numbered {
		// the table may be that of the program that runs
		if deleteErr := s.next.maps[bpf.XlbMapEgress].Delete(number); deleteErr != nil && !errors.Is(deleteErr, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, fmt.Errorf("remove number %d from the redirect table: %w", number, deleteErr))
		}
	}
	err = errors.Join(err, s.release())
	if s.Tables != nil && s.Tables != d.Tables {
		err = errors.Join(err, s.Tables.Close())
		if d.Tables != nil {
			err = errors.Join(err, d.Tables.Rescan()) // of tables that both had
		}
	}
	if s.next != nil && s.next != d.gen {
		err = errors.Join(err, s.next.close())
	}
	return err
}

// release closes what only carrying over needed.
func (s *Staged) release() error {
	var err error
	if s.migration != nil {
		err = s.migration.Close()
	}
	if s.former != nil {
		err = errors.Join(err, s.former.Close())
	}
	s.migration, s.former = nil, nil
	return err
}
