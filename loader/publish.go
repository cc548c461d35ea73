package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// Publish tests the program that was prepared, pins it, and lets it take over
// interface by interface, none without a program at any moment. On an error all
// is as before. A process that dies in here leaves a state that Open understands.
func (s *Staged) Publish() (err error) {
	if s.d == nil {
		return errors.New("publish: already published or discarded")
	}
	var undo undoes
	defer func() {
		if err != nil {
			err = errors.Join(err, undo.all(), s.Discard())
		}
	}()
	if s.replaces() {
		if err := s.standBy(&undo); err != nil {
			return err
		}
	}
	if err := s.takeOver(&undo); err != nil {
		return err
	}
	if s.replaces() {
		if err := s.leadProbes(&undo); err != nil {
			return err
		}
		if err := s.finish(); err != nil {
			return err
		}
	}
	return s.retire()
}

// undoes are to be called in reverse if a later step fails.
type undoes []func() error

func (u *undoes) add(f func() error) { *u = append(*u, f) }

func (u undoes) all() error {
	var err error
	for i := len(u) - 1; i >= 0; i-- {
		err = errors.Join(err, u[i]())
	}
	return err
}

// standBy brings a program to the point where packets may meet it. Pinning comes
// last: a directory that is whole is one that can run.
func (s *Staged) standBy(undo *undoes) error {
	inst := s.d.inst
	if err := inst.step("self-test"); err != nil {
		return err
	}
	if err := s.selfTest(); err != nil {
		return err
	}
	if err := inst.step("pin"); err != nil {
		return err
	}
	undo.add(func() error { return inst.removeGeneration(s.next.number) })
	if err := s.next.pin(inst); err != nil {
		return err
	}
	if s.migration == nil {
		return nil
	}
	if err := inst.step("copy"); err != nil {
		return err
	}
	s.migration.Records(true)
	undo.add(s.takeBack)
	s.migration.Hold()
	if err := maps.Grace(); err != nil {
		return err
	}
	s.migration.Records(true)
	return nil
}

// takeBack lets the old program go on as if the new one had never run.
func (s *Staged) takeBack() error {
	s.migration.Release()
	if err := maps.Grace(); err != nil {
		return err
	}
	s.migration.TakeBack()
	return nil
}

// takeOver puts the program on all interfaces. Those that it leaves are left by retire.
func (s *Staged) takeOver(undo *undoes) error {
	inst := s.d.inst
	if err := os.Mkdir(inst.linkDir(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make a directory for links: %w", err)
	}
	for _, d := range s.devices {
		if d.held != nil && d.held.prog == s.next.id() {
			continue
		}
		if err := inst.step("attach " + d.Name); err != nil {
			return err
		}
		if d.held != nil {
			if err := s.replace(d.held, undo); err != nil {
				return fmt.Errorf("attach to %s: %w", d.Name, err)
			}
			continue
		}
		if err := s.makeRoom(d, undo); err != nil {
			return err
		}
		a, err := inst.attachDevice(s.next.prog, d)
		if err != nil {
			return err
		}
		d.held = a
		undo.add(func() error { d.held = nil; return a.detach() })
	}
	return nil
}

// replace gives a link the program, and can go back to the one that it had: that of
// the former generation. One whose pins somebody removed is gone.
func (s *Staged) replace(a *attachment, undo *undoes) error {
	before := a.prog
	if err := a.update(s.next.prog); err != nil {
		return err
	}
	undo.add(func() error {
		if s.d.gen != nil && before == s.d.gen.id() {
			return a.update(s.d.gen.prog)
		}
		return a.detach()
	})
	return nil
}

// makeRoom takes off what stands in the way of a link: the own program in another
// mode, which the kernel does not let be replaced in one step, or a pin of an
// interface that had this index before.
func (s *Staged) makeRoom(d *device, undo *undoes) error {
	old := s.attachmentAt(d.Index)
	if old == nil {
		return nil
	}
	was := &device{Interface: d.Interface, mode: Native + Generic - d.mode}
	if err := old.detach(); err != nil {
		return err
	}
	s.forget(old)
	if old.index == 0 || s.d.gen == nil {
		return nil
	}
	undo.add(func() error {
		a, err := s.d.inst.attachDevice(s.d.gen.prog, was)
		if err == nil {
			s.d.held = append(s.d.held, a)
		}
		return err
	})
	return nil
}

// attachmentAt finds the link whose pin an interface needs for its own.
func (s *Staged) attachmentAt(index int) *attachment {
	for _, a := range s.d.held {
		if a.path == s.d.inst.linkPath(index) {
			return a
		}
	}
	return nil
}

func (s *Staged) forget(old *attachment) {
	var rest []*attachment
	for _, a := range s.d.held {
		if a != old {
			rest = append(rest, a)
		}
	}
	s.d.held = rest
}

// leadProbes lets probes find backends where packets do.
func (s *Staged) leadProbes(undo *undoes) error {
	probes := s.d.probes
	if probes == nil {
		return nil
	}
	before, now := s.d.gen.maps, s.next.maps
	if mapID(before[bpf.XlbMapBackends]) == mapID(now[bpf.XlbMapBackends]) {
		return nil
	}
	if err := probes.follow(now); err != nil {
		return err
	}
	undo.add(func() error { return probes.follow(before) })
	return nil
}

// finish carries over what packets wrote while the programs changed places.
func (s *Staged) finish() error {
	if err := s.d.inst.step("finish"); err != nil || s.migration == nil {
		return err
	}
	if err := maps.Grace(); err != nil {
		return err
	}
	s.migration.Records(false)
	s.migration.Counters()
	s.migration.Release()
	return nil
}

// retire makes what was prepared the state of the Dataplane, and takes away what is
// not needed any more. Once the old program's pin is gone there is no way back: what
// fails to go away after it is taken away by the next Open.
func (s *Staged) retire() error {
	d, old := s.d, s.d.gen
	if err := d.inst.step("retire"); err != nil {
		return err
	}
	if old != nil && old != s.next {
		if err := d.inst.unpinProgram(old.number); err != nil {
			return err
		}
	}
	kept := map[*attachment]bool{}
	var held []*attachment
	for _, dev := range s.devices {
		kept[dev.held] = true
		held = append(held, dev.held)
	}
	for _, a := range d.held {
		if !kept[a] {
			_ = a.detach()
		}
	}
	on := s.Interfaces()
	dropEgress(s.next.maps[bpf.XlbMapEgress], on)
	_ = s.release()
	if s.Tables != d.Tables && d.Tables != nil {
		_ = d.Tables.Close()
	}
	if old != nil && old != s.next {
		_ = d.inst.removeGeneration(old.number)
		_ = old.close()
	}
	d.Tables, d.gen, d.held, d.on, d.opts = s.Tables, s.next, held, on, s.opts
	if d.first == s {
		d.first = nil
	}
	s.d = nil
	return nil
}

// dropEgress removes numbers of interfaces that are not used any more.
func dropEgress(m *ebpf.Map, on []Interface) {
	for index, number := range egressNumbers(m) {
		used := false
		for _, i := range on {
			used = used || i.Index == index
		}
		if !used {
			_ = m.Delete(number)
		}
	}
}
