package maps

import (
	"cmp"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/xlb-project/xlb/bpf"
)

// vipTable is the content of one half of `vips`, `ports` and `ranges`, with rows
// of the latter numbered from 0, and without what VIPs' rows copy from services.
type vipTable struct {
	vips          []bpf.XlbVip // 2^n rows
	displacements []uint16     // 2^n buckets
	ports         []bpf.XlbPort
	ranges        []bpf.XlbRange
	lengths       bpf.XlbPrefixLengths
	marks         vipMarks
}

// bounds are the rows that one half has.
type bounds struct{ vips, ports, ranges int }

// vipKey is what a VIP is found by: a masked address, its bits of 128, its family.
type vipKey struct {
	words  [4]uint32
	length uint8
	family uint8
}

func keyOf(vip netip.Prefix) vipKey {
	if vip.Addr().Is4() {
		return vipKey{addrWords(vip.Addr()), uint8(96 + vip.Bits()), 4}
	}
	return vipKey{addrWords(vip.Addr()), uint8(vip.Bits()), 6}
}

// kind is VIP_KIND of bpf/lib/types.h.
func (k vipKey) kind() uint16 { return uint16(k.family) | uint16(k.length)<<8 }

func (k vipKey) hash() uint64 {
	if k.family == 4 {
		return hashVIP4(k.words, k.length)
	}
	return hashVIP6(k.words, k.length)
}

// buildVIPTable lays out listeners so that each probe for a VIP, and each lookup
// of a single port, takes one row.
//
// The scheme is hash, displace and compress (Belazzougui, Botelho, Dietzfelbinger:
// "Hash, displace, and compress", ESA 2009), with the displacements uncompressed.
func buildVIPTable(listeners []Listener, bySource func(ServiceID) bool, room bounds) (*vipTable, error) {
	vips := resolve(listeners)
	keys := make([]vipKey, len(vips))
	for i, v := range vips {
		keys[i] = keyOf(v.vip)
	}
	for rows := leastVIPRows(len(keys)); rows <= room.vips; rows *= 2 {
		t := &vipTable{vips: make([]bpf.XlbVip, rows), displacements: make([]uint16, max(1, min(rows>>vipBucketShift, vipBuckets)))}
		rowOf, ok := t.displace(keys)
		if !ok {
			continue
		}
		if err := t.addLengths(vips); err != nil {
			return nil, err
		}
		for i, v := range vips {
			t.marks.add(keys[i])
			if err := t.addListeners(rowOf[i], v, bySource, room); err != nil {
				return nil, err
			}
		}
		return t, nil
	}
	return nil, fmt.Errorf("no room for %d VIPs in %d rows: raise limits.services", len(keys), room.vips)
}

const (
	vipBuckets      = len(bpf.XlbSharedState{}.Displacements) / 2
	vipBucketShift  = 2       // VIP_BUCKET_SHIFT of bpf/lib/types.h
	maxDisplacement = 1 << 16 // bounds the search; past it the table is doubled
)

// leastVIPRows leaves a quarter of the rows free, which makes displacements easy to find.
func leastVIPRows(vips int) int { return max(2, 1<<bits.Len(uint(vips+vips/3))) }

// mask picks rows and, of small tables, buckets by a hash.
func (t *vipTable) mask() uint64 { return uint64(len(t.vips) - 1) }

// displace places every key in a row of its own, or reports that rows are too
// few. The fullest buckets go first, while most rows are free.
func (t *vipTable) displace(keys []vipKey) (rowOf []int, ok bool) {
	buckets := make([][]int, len(t.displacements))
	var order []int
	for i, k := range keys {
		b := int(k.hash() & uint64(len(buckets)-1))
		if len(buckets[b]) == 0 {
			order = append(order, b)
		}
		buckets[b] = append(buckets[b], i)
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(len(buckets[b])-len(buckets[a]), a-b)
	})
	rowOf = make([]int, len(keys))
	for _, b := range order {
		displacement, ok := t.findDisplacement(keys, buckets[b])
		if !ok {
			return nil, false
		}
		t.displacements[b] = displacement
		for _, i := range buckets[b] {
			row := displacedRow(keys[i].hash(), displacement, t.mask())
			rowOf[i] = int(row)
			t.vips[row].Addr, t.vips[row].Kind = keys[i].words, keys[i].kind()
		}
	}
	return rowOf, true
}

func (t *vipTable) findDisplacement(keys []vipKey, bucket []int) (uint16, bool) {
	taken := make([]uint64, 0, len(bucket))
next:
	for d := range maxDisplacement {
		taken = taken[:0]
		for _, i := range bucket {
			row := displacedRow(keys[i].hash(), uint16(d), t.mask())
			if t.vips[row].Kind != 0 || slices.Contains(taken, row) {
				continue next
			}
			taken = append(taken, row)
		}
		return uint16(d), true
	}
	return 0, false
}

// displacedRow is the row computation of probe_vip in bpf/lib/service.h.
func displacedRow(hash uint64, displacement uint16, mask uint64) uint64 {
	return (hash ^ uint64(displacement)) * vipMultiplierHigh >> 33 & mask
}

// addLengths lists the prefix lengths that have to be tried, longest first.
func (t *vipTable) addLengths(vips []resolved) error {
	for _, family := range []struct {
		is4     bool
		name    string
		lengths *[8]uint8
	}{{true, "IPv4", &t.lengths.V4}, {false, "IPv6", &t.lengths.V6}} {
		used := map[uint8]bool{}
		for _, v := range vips {
			if v.vip.Addr().Is4() == family.is4 && !v.vip.IsSingleIP() {
				used[keyOf(v.vip).length] = true
			}
		}
		if len(used) > len(family.lengths) {
			return fmt.Errorf("VIPs have %d different %s prefix lengths, and each packet can be tried against %d: use fewer lengths", len(used), family.name, len(family.lengths))
		}
		n := 0
		for length := 128; length > 0; length-- {
			if used[uint8(length)] {
				family.lengths[n] = uint8(length)
				n++
			}
		}
		if used[0] {
			return fmt.Errorf("a VIP of ::/0 would take the node's own traffic: use a longer prefix")
		}
	}
	return nil
}

// addListeners fills in a VIP's row and gives it port and range rows.
func (t *vipTable) addListeners(row int, v resolved, bySource func(ServiceID) bool, room bounds) error {
	vip := &t.vips[row]
	if s, ok := fragmentService(v.tcp, bySource); ok {
		vip.TcpFragments = uint32(s) + 1
	}
	if s, ok := fragmentService(v.udp, bySource); ok {
		vip.UdpFragments = uint32(s) + 1
	}
	single, tcp, udp := splitSingle(v)
	block, seed, ok := placePorts(single)
	if !ok { // too many to keep apart by one seed: look for them among the ranges
		block, seed, _ = placePorts(nil)
		tcp, udp = rangeRows(v.tcp), rangeRows(v.udp)
	} else if len(single) > 0 {
		first := single[0].row()
		vip.FirstKey, vip.First.Number = first.Key, first.Service
	}
	if max(len(tcp), len(udp)) > maxIntervals {
		return fmt.Errorf("%s has %d port ranges, more than the %d that one VIP can have: join some", v.vip, max(len(tcp), len(udp)), maxIntervals)
	}
	if len(t.ports)+len(block) > room.ports || len(t.ranges)+len(tcp)+len(udp) > room.ranges {
		return fmt.Errorf("no room for the ports of %s: raise limits.listeners", v.vip)
	}
	vip.Ports, vip.PortMask, vip.PortSeed = uint32(len(t.ports)), uint16(len(block)-1), seed
	vip.Ranges, vip.TcpRanges, vip.UdpRanges = uint32(len(t.ranges)), uint16(len(tcp)), uint16(len(udp))
	t.ports = append(t.ports, block...)
	t.ranges = append(append(t.ranges, tcp...), udp...)
	return nil
}

// maxIntervals is what RANGE_STEPS steps of a binary search can tell apart.
const maxIntervals = 1 << 12

// singlePort is a row of `ports` to place.
type singlePort struct {
	port    uint16
	proto   Protocol
	service ServiceID
}

func splitSingle(v resolved) (single []singlePort, tcp, udp []bpf.XlbRange) {
	for _, list := range []struct {
		proto     Protocol
		intervals []interval
		rows      *[]bpf.XlbRange
	}{{TCP, v.tcp, &tcp}, {UDP, v.udp, &udp}} {
		for _, i := range list.intervals {
			if i.first == i.last {
				single = append(single, singlePort{i.first, list.proto, i.service})
			} else {
				*list.rows = append(*list.rows, rangeRows([]interval{i})...)
			}
		}
	}
	return single, tcp, udp
}

func rangeRows(intervals []interval) []bpf.XlbRange {
	var rows []bpf.XlbRange
	for _, i := range intervals {
		rows = append(rows, bpf.XlbRange{First: i.first, Last: i.last, Service: uint32(i.service)})
	}
	return rows
}

const (
	maxPortRows  = 1 << 16 // the hash has 16 bits
	seedsPerSize = 64
)

// placePorts finds the smallest block and a seed with which no two ports of one
// VIP share a row.
func placePorts(ports []singlePort) (block []bpf.XlbPort, seed uint32, ok bool) {
	for rows := 1 << bits.Len(uint(max(len(ports), 1)-1)); rows <= maxPortRows; rows *= 2 {
		for try := range seedsPerSize {
			seed := uint32(mix64(uint64(try)+1)) | 1
			if block, ok := fillPorts(ports, rows, seed); ok {
				return block, seed, true
			}
		}
	}
	return nil, 0, false
}

func fillPorts(ports []singlePort, rows int, seed uint32) ([]bpf.XlbPort, bool) {
	block := make([]bpf.XlbPort, rows)
	for _, p := range ports {
		row := &block[portKey(p.port, p.proto)*seed>>16&uint32(rows-1)]
		if row.Key != 0 {
			return nil, false
		}
		*row = p.row()
	}
	return block, true
}

func (p singlePort) row() bpf.XlbPort {
	return bpf.XlbPort{Key: portKey(p.port, p.proto), Service: uint32(p.service)}
}

// portKey is PORT_KEY of bpf/lib/types.h.
func portKey(port uint16, proto Protocol) uint32 {
	return uint32(wirePort(port)) | uint32(proto)<<16
}
