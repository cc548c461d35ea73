package maps

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
)

// Migration carries over what a former program's maps hold into those that were
// made anew, while packets go on using the former ones. VIPs and listeners are
// not carried over: whoever fills the tables sets them again.
type Migration struct {
	from  *Former
	to    map[string]*table
	holds []hold
	cpus  int
}

// hold is a word of a slot or a backend that says something else until Release.
type hold struct {
	at        *uint64
	was, held uint64
}

// NewMigration prepares to fill the maps named anew, of those of a program that
// is loaded aside. They are of this release unless same says that they may not be.
func (f *Former) NewMigration(next map[string]*ebpf.Map, spec *ebpf.CollectionSpec, anew []string, same bool) (*Migration, error) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("count CPUs: %w", err)
	}
	m := &Migration{from: f, to: map[string]*table{}, cpus: cpus}
	for _, name := range anew {
		t, _, err := openTable(next[name], spec.Maps[name], same)
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.to[name] = t
	}
	return m, nil
}

// Close lets go of the maps' memory, but for the former ones'.
func (m *Migration) Close() error {
	var err error
	for _, t := range m.to {
		err = errors.Join(err, t.close())
	}
	return err
}

// Settings copies what the control plane wrote.
func (m *Migration) Settings() error {
	for name, to := range m.to {
		from, err := m.from.tables[name], error(nil)
		switch name {
		case bpf.XlbMapServices, bpf.XlbMapSlots, bpf.XlbMapPacked, bpf.XlbMapServerIds, bpf.XlbMapBackends, bpf.XlbMapHops,
			bpf.XlbMapOuter6, bpf.XlbMapRates, bpf.XlbMapServiceNames, bpf.XlbMapBackendNames:
			err = from.copyTo(to)
		case bpf.XlbMapSignals:
			err = from.copyBlocks(to, m.cpus)
		case bpf.XlbMapRules:
			err = from.copyEntries(to)
		case stateMap:
			for _, field := range []string{"clock", "tick", "too_big_arrival"} {
				to.setWord(0, field, from.number(0, field, 0))
			}
		}
		if err != nil {
			return fmt.Errorf("carry over map %s: %w", name, err)
		}
	}
	return nil
}

// Records copies what the data path wrote. It can be repeated: with update, what
// has changed since takes the place of what was copied then. Without, what the
// new program wrote meanwhile stays.
func (m *Migration) Records(update bool) {
	for name, to := range m.to {
		from := m.from.tables[name]
		switch name {
		case bpf.XlbMapFlows:
			copyFlows(to, from, m.tick(), update)
		case bpf.XlbMapFragments, bpf.XlbMapSources:
			copyRecords(to, from, update)
		case bpf.XlbMapRates:
			for i := range min(to.rows, from.rows) {
				if update {
					to.setWord(i, "arrival", from.number(i, "arrival", 0))
				}
			}
		}
	}
}

func (m *Migration) tick() uint64 {
	if t, ok := m.from.tables[stateMap]; ok {
		return t.number(0, "tick", 0)
	}
	return 0
}

// Counters lets the new program's counters go on from where the former's are.
// It sets what it finds and adds nothing, so that it can be repeated.
func (m *Migration) Counters() {
	base, was, counted := m.to[bpf.XlbMapCounterBase], m.from.tables[bpf.XlbMapCounterBase], m.from.tables[bpf.XlbMapCounters]
	if base == nil || was == nil || counted == nil {
		return
	}
	for _, field := range []string{"packets", "bytes"} {
		lost := uint64(0) // of numbers that are past the limit now
		for row := range was.rows {
			sum := was.number(row, field, 0)
			for i := row; i < counted.rows; i += was.rows { // a block per CPU
				sum += counted.number(i, field, 0)
			}
			if row < base.rows {
				base.setWord(row, field, sum)
			} else {
				lost += sum
			}
		}
		base.setWord(int(Forwarded), field, base.number(int(Forwarded), field, 0)+lost)
	}
}

// TakeBack adds what the new program has counted to the former's counters, when
// that one goes on instead.
func (m *Migration) TakeBack() {
	base, counted := m.from.tables[bpf.XlbMapCounterBase], m.to[bpf.XlbMapCounters]
	if base == nil || counted == nil {
		return
	}
	rows := counted.rows / m.cpus
	for row := range min(rows, base.rows) {
		for _, field := range []string{"packets", "bytes"} {
			sum := base.number(row, field, 0)
			for cpu := range m.cpus {
				sum += counted.number(cpu*rows+row, field, 0)
			}
			base.setWord(row, field, sum)
		}
	}
}

// copyFlows puts flow records into the buckets of a table of another size.
func copyFlows(to, from *table, tick uint64, update bool) {
	count, known := from.count("flows"), min(from.rows, to.rows)
	for i := range from.rows {
		for at := range count {
			word := from.number(i, "flows", at)
			if flowEnded(word, tick) {
				continue
			}
			for bucket := i & (known - 1); bucket < to.rows; bucket += known {
				putFlow(to.flowBucket(bucket), word, tick, update)
			}
		}
	}
}

func (t *table) flowBucket(i int) []uint64 {
	f, ok := t.value.field("flows")
	if !ok {
		return nil
	}
	return unsafe.Slice(t.word(i, f.offset), f.count)
}

// copyRecords puts fragments or sources into the buckets of a table of another
// size. Where a bucket is full, the oldest record gives way, as in the data path.
func copyRecords(to, from *table, update bool) {
	toBuckets, fromBuckets := to.rows/bucketRecords, from.rows/bucketRecords
	if toBuckets == 0 || fromBuckets == 0 {
		return
	}
	known := min(toBuckets, fromBuckets)
	for i := range fromBuckets * bucketRecords {
		tag, value := from.number(i, "tag", 0), from.number(i, "value", 0)
		if value == 0 {
			continue
		}
		for bucket := i / bucketRecords & (known - 1); bucket < toBuckets; bucket += known {
			to.addRecord(bucket*bucketRecords, tag, value, update)
		}
	}
}

func (t *table) addRecord(first int, tag, value uint64, update bool) {
	place, oldest := -1, value
	for i := first; i < first+bucketRecords; i++ {
		was := t.number(i, "value", 0)
		if t.number(i, "tag", 0) == tag && was != 0 {
			if update {
				t.setWord(i, "value", value)
			}
			return
		}
		if was < oldest {
			place, oldest = i, was
		}
	}
	if place >= 0 && (update || oldest == 0) {
		t.setWord(place, "value", 0)
		t.setWord(place, "tag", tag)
		t.setWord(place, "value", value)
	}
}

// Hold sees to it that a flow that begins while records are being copied goes the same
// way before the switch and after it, until Release: slots in transition give new flows
// to their previous owner, which has those without a record anyway, and backends that
// live accept new flows, so that one whose addresses and ports a former flow had stays
// with that one's backend, as the copy of its record says. It does nothing unless the
// table of flows is made anew.
func (m *Migration) Hold() {
	if m.to[bpf.XlbMapFlows] == nil {
		return
	}
	for _, t := range []*table{m.from.tables[bpf.XlbMapBackends], m.to[bpf.XlbMapBackends]} {
		if t == nil {
			continue
		}
		if hop, ok := t.value.field("hop"); !ok || hop.offset != 0 || hop.size != 4 {
			continue // another release's backends, which have no such word
		}
		for i := range t.rows {
			m.holdBackend(t.word(i, 0))
		}
	}
	for _, t := range []*table{m.from.tables[bpf.XlbMapSlots], m.to[bpf.XlbMapSlots]} {
		if t == nil {
			continue
		}
		current, ok1 := t.value.field("current")
		previous, ok2 := t.value.field("previous")
		if !ok1 || !ok2 || current.offset != 0 || previous.offset != 4 || current.size != 4 || previous.size != 4 {
			continue // another release's slots, which are not one word
		}
		for i := range t.rows {
			m.holdSlot(t.word(i, 0))
		}
	}
}

func (m *Migration) holdSlot(slot *uint64) {
	was := atomic.LoadUint64(slot)
	current, flags := split(was)
	previous := flags & slotOwner
	if flags&slotTransition == 0 || current == previous || !m.lives(previous) {
		return
	}
	m.hold(slot, was, word(previous, flags))
}

func (m *Migration) holdBackend(row *uint64) {
	if was := atomic.LoadUint64(row); was&flagUp != 0 && was&flagAccepts == 0 {
		m.hold(row, was, was|flagAccepts)
	}
}

func (m *Migration) hold(at *uint64, was, held uint64) {
	atomic.StoreUint64(at, held)
	m.holds = append(m.holds, hold{at, was, held})
}

func (m *Migration) lives(backend int) bool {
	t := m.from.tables[bpf.XlbMapBackends]
	return t != nil && backend > 0 && backend < t.rows && t.number(backend, "hop", 0)&flagUp != 0
}

// Release ends what Hold began. After a crash in between, the slots' current
// owners and the backends' states are to be set again, as any that are not as they
// should be.
func (m *Migration) Release() {
	for _, h := range m.holds {
		atomic.CompareAndSwapUint64(h.at, h.held, h.was)
	}
	m.holds = nil
}
