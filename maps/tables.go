package maps

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
)

// Limits are the sizes of the data path's tables, fixed when it is loaded.
type Limits struct {
	Services int // services, and VIPs
	Backends int // backends over all services
	Slots    int // slots over all services' tables; an update needs room for a second copy
}

// VIPs and ports are kept twice, to switch between; a perfect hash wants half
// its rows free, and a VIP's ports spread over more rows than they fill.
func (l Limits) vipRows() int  { return 1 << bits.Len(uint(2*l.Services-1)) }
func (l Limits) portRows() int { return max(4*l.Services, maxPortRows) }

func (l Limits) counterRows() int { return counterReasons + l.Backends + 1 }

// counterReasons is COUNTER_REASONS of bpf/lib/types.h: the rows before the backends'.
const counterReasons = 64

// stateMap is the section of the data path's switch words.
const stateMap = ".data.state"

// Specialise sets a program's table sizes and constants before it is loaded.
func Specialise(spec *ebpf.CollectionSpec, key Key, limits Limits) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count CPUs: %w", err)
	}
	for name, rows := range map[string]int{
		bpf.XlbMapVips:     2 * limits.vipRows(),
		bpf.XlbMapPorts:    2 * limits.portRows(),
		bpf.XlbMapServices: limits.Services,
		bpf.XlbMapSlots:    limits.Slots,
		bpf.XlbMapBackends: limits.Backends + 1,
		bpf.XlbMapCounters: cpus * limits.counterRows(),
	} {
		spec.Maps[name].MaxEntries = uint32(rows)
	}
	return errors.Join(
		spec.Variables[bpf.XlbVarHashKeys].Set(key.constants()),
		spec.Variables[bpf.XlbVarCounterRows].Set(uint32(limits.counterRows())),
	)
}

// Tables are the data path's tables, open for reading and writing. One
// goroutine writes; counters may be read from any.
type Tables struct {
	vips     view[bpf.XlbVip]
	ports    view[bpf.XlbPort]
	services view[bpf.XlbService]
	slots    view[bpf.XlbSlot]
	backends view[bpf.XlbBackend]
	counters view[bpf.XlbCounter]
	state    view[uint64]

	slab        *slab
	counterRows int
	cpus        int
}

// Open maps the tables of a freshly loaded program.
func Open(coll map[string]*ebpf.Map) (*Tables, error) {
	t := &Tables{}
	err := errors.Join(
		open(coll, bpf.XlbMapVips, &t.vips),
		open(coll, bpf.XlbMapPorts, &t.ports),
		open(coll, bpf.XlbMapServices, &t.services),
		open(coll, bpf.XlbMapSlots, &t.slots),
		open(coll, bpf.XlbMapBackends, &t.backends),
		open(coll, bpf.XlbMapCounters, &t.counters),
		open(coll, stateMap, &t.state),
	)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	if t.cpus, err = ebpf.PossibleCPU(); err != nil {
		return nil, errors.Join(fmt.Errorf("count CPUs: %w", err), t.Close())
	}
	t.counterRows = len(t.counters.rows) / t.cpus
	t.slab = newSlab(len(t.slots.rows), Grace)
	return t, nil
}

func open[T any](coll map[string]*ebpf.Map, name string, v *view[T]) error {
	m, ok := coll[name]
	if !ok {
		return fmt.Errorf("the program has no map %s", name)
	}
	var err error
	*v, err = openView[T](m)
	return err
}

// Close unmaps the tables. Packets go on using them.
func (t *Tables) Close() error {
	return errors.Join(t.vips.close(), t.ports.close(), t.services.close(), t.slots.close(),
		t.backends.close(), t.counters.close(), t.state.close())
}

// SetListeners replaces the set of addresses and ports that are xlb's. Packets
// see the old set or the new one, never a mixture. On an error nothing changes.
func (t *Tables) SetListeners(listeners []Listener) error {
	vipHalf, portHalf := len(t.vips.rows)/2, len(t.ports.rows)/2
	for _, l := range listeners {
		if int(l.Service) >= len(t.services.rows) {
			return fmt.Errorf("add listener %s: service number %d is past limits.services (%d)", l, l.Service, len(t.services.rows))
		}
	}
	table, err := buildVIPTable(listeners, vipHalf, portHalf)
	if err != nil {
		return fmt.Errorf("lay out %d listeners: %w", len(listeners), err)
	}
	firstVIP, firstPort := 0, 0
	if uint32(t.state.rows[0]) == 0 && t.state.rows[0] != 0 {
		firstVIP, firstPort = vipHalf, portHalf
	}
	for i := range table.vips {
		table.vips[i].Ports += uint32(firstPort)
	}
	copy(t.vips.rows[firstVIP:], table.vips)
	copy(t.ports.rows[firstPort:], table.ports)
	atomic.StoreUint64(&t.state.rows[0], word(firstVIP, len(table.vips)-1))
	return Grace() // the other half is spare from here on
}

// SetBackend writes a backend's row. Where it is in use already, each 8-byte
// word changes at once, which makes a new neighbour's MAC one step; a packet
// that meets a change of egress half-way may be lost, as on any rerouted link.
func (t *Tables) SetBackend(id BackendID, b Backend) error {
	if id == 0 || int(id) >= len(t.backends.rows) {
		return fmt.Errorf("write backend %d: past limits.backends (%d)", id, len(t.backends.rows)-1)
	}
	row, err := b.row()
	if err != nil {
		return fmt.Errorf("write backend %d: %w", id, err)
	}
	storeWords(&t.backends.rows[id], &row)
	return nil
}

// Backend reads a backend's row.
func (t *Tables) Backend(id BackendID) Backend { return backendFromRow(&t.backends.rows[id]) }

// SetSlots gives a service a new slot table: owners[i] is the backend of slot i,
// 0 for nobody. It is written beside the old one and switched in one store. No
// owners takes the table away. On an error the old table stays.
func (t *Tables) SetSlots(id ServiceID, owners []BackendID) error {
	if int(id) >= len(t.services.rows) {
		return fmt.Errorf("write slots of service %d: past limits.services (%d)", id, len(t.services.rows))
	}
	var table uint64
	if len(owners) > 0 {
		offset, err := t.slab.allocate(len(owners))
		if err != nil {
			return fmt.Errorf("write slots of service %d: %w", id, err)
		}
		rows := t.slots.rows[offset : offset+len(owners)]
		for i, owner := range owners {
			rows[i] = bpf.XlbSlot{Current: uint32(owner), Previous: uint32(owner)}
		}
		table = word(offset, len(owners))
	}
	old := atomic.SwapUint64(&t.services.rows[id].Table, table)
	t.slab.retire(split(old))
	return nil
}

// Slots reads the owners in a service's slot table.
func (t *Tables) Slots(id ServiceID) []BackendID {
	offset, size := split(t.services.rows[id].Table)
	owners := make([]BackendID, size)
	for i := range owners {
		owners[i] = BackendID(t.slots.rows[offset+i].Current)
	}
	return owners
}

// word packs two numbers as the data path reads them: low half, high half.
func word(low, high int) uint64 { return uint64(uint32(low)) | uint64(uint32(high))<<32 }

func split(w uint64) (low, high int) { return int(uint32(w)), int(w >> 32) }

// Counter counts packets and the bytes of their frames as they arrived.
type Counter struct{ Packets, Bytes uint64 }

// ReasonCounter returns how many packets left the pipeline for a reason. For
// forwarded packets see [Tables.BackendCounter].
func (t *Tables) ReasonCounter(r bpf.Reason) Counter { return t.counter(int(r)) }

// BackendCounter returns what was forwarded to a backend since it got its number.
func (t *Tables) BackendCounter(id BackendID) Counter { return t.counter(counterReasons + int(id)) }

// ResetBackendCounter clears a backend's counters, for a number that is given anew.
func (t *Tables) ResetBackendCounter(id BackendID) {
	for cpu := range t.cpus {
		t.counters.rows[cpu*t.counterRows+counterReasons+int(id)] = bpf.XlbCounter{}
	}
}

func (t *Tables) counter(row int) Counter {
	var sum Counter
	for cpu := range t.cpus {
		c := &t.counters.rows[cpu*t.counterRows+row]
		sum.Packets += atomic.LoadUint64(&c.Packets)
		sum.Bytes += atomic.LoadUint64(&c.Bytes)
	}
	return sum
}
