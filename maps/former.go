package maps

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
)

// Former is what another program left in its maps: one of another release, with
// other limits or features, or this very one. It reads rows whose struct has
// changed since by the names of their fields.
type Former struct {
	maps    map[string]*ebpf.Map
	tables  map[string]*table
	changed map[string]bool // maps whose rows have another layout now
}

// together are maps that refer to each other's rows: one that changes its size or
// layout takes the others along, or the old program would meet numbers that are
// meant for the new one's.
var together = [][]string{
	{bpf.XlbMapVips, bpf.XlbMapPorts, bpf.XlbMapRanges, stateMap, bpf.XlbMapServices, bpf.XlbMapSlots, bpf.XlbMapPacked, bpf.XlbMapServerIds},
	{bpf.XlbMapBackends, bpf.XlbMapHops, bpf.XlbMapOuter6},
	{bpf.XlbMapCounters, bpf.XlbMapCounterBase},
}

// OpenFormer opens the maps of a program. They may have been made by another
// release unless same says that they were not; their layouts are then read from
// the kernel, which takes CAP_SYS_ADMIN.
func OpenFormer(maps map[string]*ebpf.Map, spec *ebpf.CollectionSpec, same bool) (*Former, error) {
	f := &Former{maps: maps, tables: map[string]*table{}, changed: map[string]bool{}}
	for name, m := range maps {
		s, ok := spec.Maps[name]
		if !ok {
			continue // this release has no such map
		}
		t, changed, err := openTable(m, s, same)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		f.tables[name], f.changed[name] = t, changed
	}
	return f, nil
}

// Close lets go of the maps' memory.
func (f *Former) Close() error {
	var err error
	for _, t := range f.tables {
		err = errors.Join(err, t.close())
	}
	return err
}

// Outgrown names the maps that a specialised program cannot use as they are, for
// their size or their layout, or for those of a map that they refer to.
func (f *Former) Outgrown(spec *ebpf.CollectionSpec) []string {
	_, anew := f.sort(spec, func(string) bool { return true })
	return anew
}

// Keep sorts maps into those that another program uses as they are, and those that
// have to be made anew and filled from the former ones. Counters always are, so
// that a test run of the program is nobody's traffic.
func (f *Former) Keep(spec *ebpf.CollectionSpec) (kept map[string]*ebpf.Map, anew []string) {
	return f.sort(spec, func(name string) bool { return name != bpf.XlbMapCounters })
}

func (f *Former) sort(spec *ebpf.CollectionSpec, may func(string) bool) (kept map[string]*ebpf.Map, anew []string) {
	kept = map[string]*ebpf.Map{}
	for name, m := range f.maps {
		if s, ok := spec.Maps[name]; ok && may(name) && !f.changed[name] && s.Compatible(m) == nil {
			kept[name] = m
		}
	}
	for _, group := range together {
		if slices.ContainsFunc(group, func(name string) bool { return kept[name] == nil && spec.Maps[name] != nil }) {
			for _, name := range group {
				delete(kept, name)
			}
		}
	}
	for name := range f.maps {
		if kept[name] == nil && spec.Maps[name] != nil {
			anew = append(anew, name)
		}
	}
	slices.Sort(anew)
	return kept, anew
}

// Specialise does what [Specialise] does, with room for what the maps hold: a
// configuration with lower limits must not cut off what is still there.
func (f *Former) Specialise(spec *ebpf.CollectionSpec, settings Settings, features Features) error {
	l := &settings.Limits
	services, slots, packed, ids := f.servicesInUse()
	l.Services, l.Slots = max(l.Services, services), max(l.Slots, slots)
	l.Services = max(l.Services, f.namesInUse(bpf.XlbMapServiceNames))
	l.Backends = max(l.Backends, f.namesInUse(bpf.XlbMapBackendNames)-1)
	if err := Specialise(spec, settings, features); err != nil {
		return err
	}
	rules, err := f.rulesInUse()
	if err != nil {
		return err
	}
	for name, rows := range map[string]int{bpf.XlbMapServerIds: ids, bpf.XlbMapRules: rules, bpf.XlbMapPacked: packed, bpf.XlbMapHops: f.hopsInUse()} {
		spec.Maps[name].MaxEntries = max(spec.Maps[name].MaxEntries, uint32(rows))
	}
	return nil
}

// servicesInUse returns how many rows of services, of slots, packed or not, and of server IDs
// there are up to the last one that is in use.
func (f *Former) servicesInUse() (services, slots, packed, ids int) {
	t, ok := f.tables[bpf.XlbMapServices]
	if !ok {
		return 0, 0, 0, 0
	}
	for i := range t.rows {
		table := slotTableOf(t.number(i, "table", 0))
		first, mask := int(t.number(i, "ids", 0)), int(t.number(i, "id_mask", 0))
		if table.size == 0 && first == noServerIDs {
			continue
		}
		services = i + 1
		if end := table.first + table.rows(); table.width > 0 {
			packed = max(packed, end)
		} else if table.size > 0 {
			slots = max(slots, end)
		}
		if first != noServerIDs {
			ids = max(ids, first+idBlock(mask))
		}
	}
	return services, slots, packed, ids
}

// namesInUse returns how many rows of names there are up to the last one in use.
func (f *Former) namesInUse(name string) (rows int) {
	t, ok := f.tables[name]
	if !ok {
		return 0
	}
	for i := range t.rows {
		if t.number(i, "used", 0) != 0 {
			rows = i + 1
		}
	}
	return rows
}

// hopsInUse returns how many rows of header templates there are up to the last one in use.
func (f *Former) hopsInUse() (rows int) {
	t, ok := f.tables[bpf.XlbMapBackends]
	if !ok {
		return 0
	}
	for i := range t.rows {
		rows = max(rows, int(t.number(i, "hop", 0)>>hopShift)+1)
	}
	return rows
}

func (f *Former) rulesInUse() (n int, err error) {
	t, ok := f.tables[bpf.XlbMapRules]
	if !ok {
		return 0, nil
	}
	if err := t.entries(func(_, _ []byte) error { n++; return nil }); err != nil {
		return 0, fmt.Errorf("count the rules of filters: %w", err)
	}
	return n, nil
}
