package maps

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
)

// stateMap is the section of the data path's switch words.
const stateMap = ".data.state"

// Tables are the data path's tables, open for reading and writing. One
// goroutine writes; counters may be read from any.
type Tables struct {
	vips      view[bpf.XlbVip]
	ports     view[bpf.XlbPort]
	ranges    view[bpf.XlbRange]
	services  view[bpf.XlbService]
	rates     view[bpf.XlbServiceRates]
	serverIDs view[bpf.XlbServerId]
	slots     view[bpf.XlbSlot]
	packed    packedTables
	backends  view[bpf.XlbBackend]
	hops      hopTable
	outer6    view[bpf.XlbOuterDest]
	counters  view[bpf.XlbCounter]
	base      view[bpf.XlbCounter]
	flows     view[bpf.XlbFlowBucket]
	signals   view[bpf.XlbSignalCounter]
	fragments view[bpf.XlbRecord]
	sources   view[bpf.XlbRecord]
	state     view[bpf.XlbSharedState]

	handshakes   view[bpf.XlbFlowBucket]
	serviceNames view[bpf.XlbServiceName]
	backendNames view[bpf.XlbBackendName]

	rules      *ebpf.Map
	rulesKnown map[uint32]map[netip.Prefix]bool // what `rules` holds, by service

	slab        *slab                               // of slots
	heads       map[ServiceID][]*bpf.XlbServiceHead // copies in the rows of VIPs
	idSlab      *slab                               // of server IDs
	counterRows int
	cpus        int
}

// Open maps the tables of a program: a freshly loaded one, or one that another
// process has left running, whose content it takes stock of.
func Open(coll map[string]*ebpf.Map) (*Tables, error) {
	t := &Tables{rules: coll[bpf.XlbMapRules]}
	err := errors.Join(
		open(coll, bpf.XlbMapVips, &t.vips),
		open(coll, bpf.XlbMapPorts, &t.ports),
		open(coll, bpf.XlbMapRanges, &t.ranges),
		open(coll, bpf.XlbMapServices, &t.services),
		open(coll, bpf.XlbMapRates, &t.rates),
		open(coll, bpf.XlbMapServerIds, &t.serverIDs),
		open(coll, bpf.XlbMapSlots, &t.slots),
		open(coll, bpf.XlbMapPacked, &t.packed.view),
		open(coll, bpf.XlbMapBackends, &t.backends),
		open(coll, bpf.XlbMapHops, &t.hops.view),
		open(coll, bpf.XlbMapOuter6, &t.outer6),
		open(coll, bpf.XlbMapCounters, &t.counters),
		open(coll, bpf.XlbMapCounterBase, &t.base),
		open(coll, bpf.XlbMapServiceNames, &t.serviceNames),
		open(coll, bpf.XlbMapBackendNames, &t.backendNames),
		open(coll, bpf.XlbMapFlows, &t.flows),
		open(coll, bpf.XlbMapSignals, &t.signals),
		open(coll, bpf.XlbMapHandshakes, &t.handshakes),
		open(coll, bpf.XlbMapFragments, &t.fragments),
		open(coll, bpf.XlbMapSources, &t.sources),
		open(coll, stateMap, &t.state),
	)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	if t.cpus, err = ebpf.PossibleCPU(); err != nil {
		return nil, errors.Join(fmt.Errorf("count CPUs: %w", err), t.Close())
	}
	t.counterRows = len(t.counters.rows) / t.cpus
	if err := t.Rescan(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
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
	return errors.Join(t.vips.close(), t.ports.close(), t.ranges.close(), t.services.close(), t.rates.close(), t.serverIDs.close(),
		t.slots.close(), t.packed.close(), t.backends.close(), t.hops.close(), t.outer6.close(), t.counters.close(), t.base.close(), t.serviceNames.close(), t.backendNames.close(),
		t.flows.close(), t.signals.close(), t.handshakes.close(), t.fragments.close(), t.sources.close(), t.state.close())
}

// SetTime sets the clock of a program whose time is fixed, in ns.
func (t *Tables) SetTime(now uint64) { atomic.StoreUint64(&t.state.rows[0].Clock, now) }

// Forget drops what packets left behind: flows, handshakes, fragments and sources seen, what rate
// limits have counted, and when a daemon was there.
func (t *Tables) Forget() {
	clear(t.flows.rows)
	clear(t.handshakes.rows)
	clear(t.fragments.rows)
	clear(t.sources.rows)
	for i := range t.rates.rows {
		atomic.StoreUint64(&t.rates.rows[i].Arrival, 0)
	}
	atomic.StoreUint64(&t.state.rows[0].TooBigArrival, 0)
	atomic.StoreUint64(&t.state.rows[0].Heartbeat, 0)
}

// vipHalfShift is where the word that names the VIP table says which half it is.
const vipHalfShift = 31

// SetListeners replaces the set of addresses and ports that are xlb's. Packets
// see the old set or the new one, never a mixture. The services' settings must be
// known: which of them own fragments depends on their affinity. On an error
// nothing changes.
func (t *Tables) SetListeners(listeners []Listener) error {
	half := bounds{len(t.vips.rows) / 2, len(t.ports.rows) / 2, len(t.ranges.rows) / 2}
	for _, l := range listeners {
		if int(l.Service) >= len(t.services.rows) {
			return fmt.Errorf("add listener %s: service number %d is past limits.services (%d)", l, l.Service, len(t.services.rows))
		}
	}
	table, err := buildVIPTable(listeners, func(s ServiceID) bool { return t.services.rows[s].Flags&serviceBySource != 0 }, half)
	if err != nil {
		return fmt.Errorf("lay out %d listeners: %w", len(listeners), err)
	}
	var first bounds
	state, which := &t.state.rows[0], 0
	if uint32(state.VipTable) == 0 && state.VipTable != 0 {
		first, which = half, 1
	}
	for i := range table.vips {
		vip := &table.vips[i]
		vip.Ports += uint32(first.ports)
		vip.Ranges += uint32(first.ranges)
		if vip.FirstKey != 0 {
			row := &t.services.rows[vip.First.Number]
			vip.First.Table, vip.First.Flags = row.Table, row.Flags
		}
	}
	copy(t.vips.rows[first.vips:], table.vips)
	copy(t.ports.rows[first.ports:], table.ports)
	copy(t.ranges.rows[first.ranges:], table.ranges)
	state.Lengths[which] = table.lengths
	copy(state.Displacements[which*vipBuckets:], table.displacements)
	table.marks.store(state.Marks[:], true)
	atomic.StoreUint64(&state.VipTable, word(first.vips, len(table.vips)-1|which<<vipHalfShift))
	t.findHeads()
	if err := Grace(); err != nil { // the other half is spare from here on
		return err
	}
	table.marks.store(state.Marks[:], false)
	return nil
}

// SetService writes how a service's packets are treated. Rules that it needs must
// be there before.
func (t *Tables) SetService(id ServiceID, s Service) error {
	if int(id) >= len(t.services.rows) {
		return fmt.Errorf("write service %d: past limits.services (%d)", id, len(t.services.rows))
	}
	if s.SourceBits < 0 || s.SourceBits > 128 || (!s.IPv6 && s.SourceBits > 32) {
		return fmt.Errorf("write service %d: affinity by %d bits of the source, which has fewer", id, s.SourceBits)
	}
	if s.SampleBits < 0 || s.SampleBits > 16 {
		return fmt.Errorf("write service %d: one of 2^%d handshakes watched, of 2^16 at most", id, s.SampleBits)
	}
	if rates := s.rates(); int(id) < len(t.rates.rows) {
		rates.Arrival = t.rates.rows[id].Arrival
		storeWords(&t.rates.rows[id], &rates)
	}
	row, old := s.row(id), &t.services.rows[id]
	row.Table, row.Ids, row.IdMask = old.Table, old.Ids, old.IdMask
	storeWords(old, &row)
	t.copyHead(id)
	return nil
}

// RemoveService takes back all that a service's number stands for, after
// SetListeners no longer names it: its slots, rules, server IDs, settings and name.
func (t *Tables) RemoveService(id ServiceID) error {
	if err := errors.Join(t.SetSlotTable(id, nil), t.SetServerIDs(id, ServerIDLengths{}, nil), t.SetService(id, Service{}), t.SetRules(id, nil)); err != nil {
		return err
	}
	if int(id) < len(t.rates.rows) {
		atomic.StoreUint64(&t.rates.rows[id].Arrival, 0)
	}
	return t.NameService(ServiceEntry{ID: id})
}

// SetServerIDs replaces the server IDs of a service, before SetService says that
// it has QUIC routing. Packets see the old set or the new one. Without lengths the
// service has none any more.
func (t *Tables) SetServerIDs(id ServiceID, lengths ServerIDLengths, ids []ServerID) error {
	if int(id) >= len(t.services.rows) {
		return fmt.Errorf("write server IDs of service %d: past limits.services (%d)", id, len(t.services.rows))
	}
	var place uint64
	if (lengths != ServerIDLengths{}) {
		block, err := serverIDBlock(lengths, ids)
		if err != nil {
			return fmt.Errorf("write server IDs of service %d: %w", id, err)
		}
		offset, err := t.idSlab.allocate(len(block))
		if err != nil {
			return fmt.Errorf("write server IDs of service %d: %w", id, err)
		}
		copy(t.serverIDs.rows[offset:], block)
		place = word(offset, len(block)-idBlock(0))
	}
	old := atomic.SwapUint64((*uint64)(unsafe.Pointer(&t.services.rows[id].Ids)), place)
	if first, mask := split(old); old != noServerIDs {
		t.idSlab.retire(first, idBlock(mask))
	}
	return nil
}

// ServerIDs reads the server IDs of a service, in no particular order.
func (t *Tables) ServerIDs(id ServiceID) []ServerID {
	if int(id) >= len(t.services.rows) {
		return nil
	}
	row := &t.services.rows[id]
	first, mask := int(row.Ids), int(row.IdMask)
	if word(first, mask) == noServerIDs {
		return nil
	}
	var out []ServerID
	for _, r := range t.serverIDs.rows[first+1 : first+idBlock(mask)] {
		if r.Used == 0 || int(r.Rotation) >= len(row.IdLengths) || row.IdLengths[r.Rotation] > 8 {
			continue
		}
		var number [8]byte
		binary.BigEndian.PutUint64(number[:], r.Id)
		out = append(out, ServerID{Rotation: r.Rotation, ID: number[8-row.IdLengths[r.Rotation]:], Backend: BackendID(r.Backend)})
	}
	return out
}

// idBlock returns how many rows a block of server IDs has: its seed, as many as
// its mask says, and those that the last ones may be pushed on to.
func idBlock(mask int) int { return 1 + mask + 1 + serverIDProbes }

// noServerIDs is the place of a service's IDs that has none: row 0 is nobody's.
const noServerIDs = 0

// NodeRules stands for the node's own deny list where a service is asked for.
const NodeRules ServiceID = 0x7fffffff

// SetRules replaces the rules of a service's filter, or of the node. New ones are
// there before old ones go, so that no source slips through in between; packets
// may see some of both. On an error the rules are those before or some more.
func (t *Tables) SetRules(id ServiceID, list []Rule) error {
	old, want := t.rulesKnown[uint32(id)], map[netip.Prefix]bool{}
	for _, r := range list {
		want[r.Source.Masked()] = r.Allow
	}
	for source, allow := range want {
		if was, ok := old[source]; ok && was == allow {
			continue
		}
		value := uint32(ruleDeny)
		if allow {
			value = ruleAllow
		}
		if err := t.rules.Put(ruleKey(uint32(id), source), value); err != nil {
			return fmt.Errorf("add rule for %s: %w: is limits.rules large enough?", source, err)
		}
	}
	for source := range old {
		if _, ok := want[source]; ok {
			continue
		}
		if err := t.rules.Delete(ruleKey(uint32(id), source)); err != nil {
			return fmt.Errorf("remove rule for %s: %w", source, err)
		}
	}
	t.rulesKnown[uint32(id)] = want
	return nil
}

// RULE_DENY and RULE_ALLOW of bpf/lib/types.h.
const (
	ruleDeny  = 1
	ruleAllow = 2
)

// SetBackend writes a backend's row. Where it is in use already, packets see the old
// one or the new one, never a mixture, but for the address of a tunnel over IPv6: who
// gives a number to another one waits until no packet is under way to the former.
func (t *Tables) SetBackend(id BackendID, b Backend) error {
	if id == 0 || int(id) >= len(t.backends.rows) {
		return fmt.Errorf("write backend %d: past limits.backends (%d)", id, len(t.backends.rows)-1)
	}
	headers, err := b.hop()
	if err != nil {
		return fmt.Errorf("write backend %d: %w", id, err)
	}
	hop, err := t.hops.take(headers)
	if err != nil {
		return fmt.Errorf("write backend %d: %w", id, err)
	}
	if headers.Flags&flagOuter6 != 0 {
		dest := bpf.XlbOuterDest{Addr: addrWords(b.Dest)}
		storeWords(&t.outer6.rows[id], &dest)
	}
	row := &t.backends.rows[id]
	was := hopOf(row)
	atomic.StoreUint64((*uint64)(unsafe.Pointer(row)), b.row(hop))
	t.hops.leave(was)
	return nil
}

// Backend reads a backend's state from its row.
func (t *Tables) Backend(id BackendID) BackendState {
	if int(id) >= len(t.backends.rows) {
		return BackendState{}
	}
	return stateOf(&t.backends.rows[id])
}

// word packs two numbers as the data path reads them: low half, high half.
func word(low, high int) uint64 { return uint64(uint32(low)) | uint64(uint32(high))<<32 }

func split(w uint64) (low, high int) { return int(uint32(w)), int(w >> 32) }
