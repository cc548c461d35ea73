package loader

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/maps"
)

// ErrNewer is returned for what a release pinned whose tables mean something else
// than this one's.
var ErrNewer = errors.New("its tables mean something else than this version's: run that version or a newer one, or take it away with `xlb down`")

// recover opens what is pinned. Of several generations the one counts that packets
// meet, the later one if they meet two: a process that died in Publish either had
// not begun to switch, and its new generation is removed, or it had, and the switch
// is finished.
func (i Instance) recover(o object) (live *generation, held []*attachment, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(held))
			if live != nil {
				err = errors.Join(err, live.close())
			}
			live, held = nil, nil
		}
	}()
	all, err := i.openGenerations(o.spec)
	if err != nil {
		return nil, nil, err
	}
	if held, err = i.attachments(); err != nil {
		return nil, held, errors.Join(err, closeGenerations(all))
	}
	live, others := pickLive(all, held)
	if live == nil {
		return nil, held, nil
	}
	if live.record.Schema > schema {
		return live, held, errors.Join(fmt.Errorf("xlb %s has pinned it: %w", live.record.Version, ErrNewer), closeGenerations(others))
	}
	for _, g := range others {
		if g.number < live.number {
			err = errors.Join(err, i.finish(g, live, held, o))
		}
		err = errors.Join(err, g.close())
		if err == nil {
			err = i.removeGeneration(g.number)
		}
	}
	return live, held, err
}

func (i Instance) openGenerations(spec *ebpf.CollectionSpec) ([]*generation, error) {
	numbers, err := i.generations()
	if err != nil {
		return nil, err
	}
	var all []*generation
	for _, n := range numbers {
		g, err := i.openGeneration(n, spec)
		if errors.Is(err, os.ErrNotExist) {
			err = i.removeGeneration(n)
		} else if err == nil {
			all = append(all, g)
		}
		if err != nil {
			return nil, errors.Join(err, closeGenerations(all))
		}
	}
	return all, nil
}

func closeGenerations(all []*generation) error {
	var err error
	for _, g := range all {
		err = errors.Join(err, g.close())
	}
	return err
}

// pickLive takes the latest generation that is attached or, if none is, the latest.
func pickLive(all []*generation, held []*attachment) (live *generation, others []*generation) {
	attached := map[ebpf.ProgramID]bool{}
	for _, a := range held {
		attached[a.prog] = true
	}
	for _, g := range all { // in the order of their numbers
		if live == nil || attached[g.id()] || !attached[live.id()] {
			live = g
		}
	}
	for _, g := range all {
		if g != live {
			others = append(others, g)
		}
	}
	return live, others
}

// finish does what is left to do of a switch between generations. All of it can
// be done twice.
func (i Instance) finish(old, live *generation, held []*attachment, o object) error {
	id := old.id()
	for _, a := range held {
		if a.prog == id && a.index != 0 {
			if err := a.update(live.prog); err != nil {
				return err
			}
		}
	}
	if err := maps.Grace(); err != nil {
		return err
	}
	same := old.record.Object == o.sum && live.record.Object == o.sum
	former, err := maps.OpenFormer(old.maps, o.spec, same)
	if err != nil {
		return err
	}
	defer former.Close()
	migration, err := former.NewMigration(live.maps, o.spec, replaced(old, live, o.spec), same)
	if err != nil {
		return err
	}
	defer migration.Close()
	migration.Records(false)
	migration.Counters()
	return nil
}

// replaced names the maps that two generations do not share.
func replaced(old, live *generation, spec *ebpf.CollectionSpec) (names []string) {
	for name, m := range live.maps {
		was, ok := old.maps[name]
		if !ok || spec.Maps[name] == nil {
			continue
		}
		if mapID(was) != mapID(m) {
			names = append(names, name)
		}
	}
	return names
}

func mapID(m *ebpf.Map) ebpf.MapID {
	info, err := m.Info()
	if err != nil {
		return 0
	}
	id, _ := info.ID()
	return id
}
