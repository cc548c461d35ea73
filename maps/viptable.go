package maps

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/xlb-project/xlb/bpf"
)

func (l Listener) String() string {
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(l.VIP.Addr(), l.First), l.Protocol)
}

// vipTable is the content of one half of `vips` and `ports`.
type vipTable struct {
	vips  []bpf.XlbVip  // 2^n rows
	ports []bpf.XlbPort // port rows that vips name, numbered from 0
}

// buildVIPTable lays out listeners so that each lookup of a VIP takes at most
// two probes, mostly one, and each lookup of a port exactly one. maxRows bounds
// the VIP rows (a power of two), maxPorts the port rows.
//
// The scheme is hash, displace and compress (Belazzougui, Botelho, Dietzfelbinger:
// "Hash, displace, and compress", ESA 2009), with the displacements kept in the
// rows themselves.
func buildVIPTable(listeners []Listener, maxRows, maxPorts int) (*vipTable, error) {
	byAddr := map[[4]uint32][]Listener{}
	for _, l := range listeners {
		words := addrWords(l.VIP.Addr())
		byAddr[words] = append(byAddr[words], l)
	}
	addrs := make([][4]uint32, 0, len(byAddr))
	for words := range byAddr {
		addrs = append(addrs, words)
	}
	slices.SortFunc(addrs, func(a, b [4]uint32) int { return slices.Compare(a[:], b[:]) })

	rows := max(2, 1<<bits.Len(uint(2*len(addrs)-1)))
	for ; rows <= maxRows; rows *= 2 {
		if vips, ok := displace(addrs, rows); ok {
			t := &vipTable{vips: vips}
			if err := t.addPorts(byAddr, maxPorts); err != nil {
				return nil, err
			}
			return t, nil
		}
	}
	return nil, fmt.Errorf("no room for %d VIPs in %d rows: raise limits.services", len(addrs), maxRows)
}

// maxDisplacement bounds the search; past it the table is doubled.
const maxDisplacement = 1 << 16

// displace places every address in a row of its own, or reports that rows are
// too few. The fullest buckets go first, while most rows are free.
func displace(addrs [][4]uint32, rows int) ([]bpf.XlbVip, bool) {
	mask := uint64(rows - 1)
	buckets := make([][][4]uint32, rows)
	order := make([]int, 0, len(addrs))
	for _, a := range addrs {
		b := int(hashVIP(a) & mask)
		if len(buckets[b]) == 0 {
			order = append(order, b)
		}
		buckets[b] = append(buckets[b], a)
	}
	slices.SortFunc(order, func(a, b int) int {
		if d := len(buckets[b]) - len(buckets[a]); d != 0 {
			return d
		}
		return a - b
	})

	vips := make([]bpf.XlbVip, rows)
	used := make([]bool, rows)
	for _, b := range order {
		displacement, ok := findDisplacement(buckets[b], used, mask)
		if !ok {
			return nil, false
		}
		vips[b].Displacement = displacement
		for _, a := range buckets[b] {
			row := displacedRow(hashVIP(a), displacement, mask)
			used[row], vips[row].Addr = true, a
		}
	}
	return vips, true
}

func findDisplacement(bucket [][4]uint32, used []bool, mask uint64) (uint32, bool) {
	taken := make([]uint64, 0, len(bucket))
next:
	for d := range uint32(maxDisplacement) {
		taken = taken[:0]
		for _, a := range bucket {
			row := displacedRow(hashVIP(a), d, mask)
			if used[row] || slices.Contains(taken, row) {
				continue next
			}
			taken = append(taken, row)
		}
		return d, true
	}
	return 0, false
}

// displacedRow is the row computation of find_vip in bpf/lib/service.h.
func displacedRow(hash uint64, displacement uint32, mask uint64) uint64 {
	return (hash + uint64(displacement)*(hash>>32|1)) & mask
}

// addPorts gives every VIP a block of port rows and the seed that keeps its
// listeners apart.
func (t *vipTable) addPorts(byAddr map[[4]uint32][]Listener, maxPorts int) error {
	for i := range t.vips {
		listeners := byAddr[t.vips[i].Addr]
		if len(listeners) == 0 {
			continue
		}
		block, seed, err := placePorts(listeners)
		if err != nil {
			return err
		}
		if len(t.ports)+len(block) > maxPorts {
			return fmt.Errorf("no room for the ports of %s: %d rows are in use of %d; raise limits.services", listeners[0].VIP.Addr(), len(t.ports), maxPorts)
		}
		t.vips[i].Ports = uint32(len(t.ports))
		t.vips[i].PortMask = uint32(len(block) - 1)
		t.vips[i].PortSeed = seed
		t.ports = append(t.ports, block...)
	}
	return nil
}

const (
	maxPortRows  = 1 << 16 // the hash has 16 bits
	seedsPerSize = 64
)

// placePorts finds the smallest block and a seed with which no two listeners of
// one VIP share a row.
func placePorts(listeners []Listener) ([]bpf.XlbPort, uint32, error) {
	for rows := 1 << bits.Len(uint(len(listeners)-1)); rows <= maxPortRows; rows *= 2 {
		tries := seedsPerSize
		if rows == maxPortRows {
			tries = 1 << 14
		}
		for try := range tries {
			seed := uint32(mix64(uint64(try)+1)) | 1
			if block, ok := fillPorts(listeners, rows, seed); ok {
				return block, seed, nil
			}
		}
	}
	return nil, 0, fmt.Errorf("%s has %d listeners, more than one VIP can hold apart", listeners[0].VIP.Addr(), len(listeners))
}

func fillPorts(listeners []Listener, rows int, seed uint32) ([]bpf.XlbPort, bool) {
	block := make([]bpf.XlbPort, rows)
	for _, l := range listeners {
		key := uint32(wirePort(l.First)) | uint32(l.Protocol)<<16
		row := &block[key*seed>>16&uint32(rows-1)]
		if row.Proto != 0 {
			return nil, false
		}
		*row = bpf.XlbPort{Port: wirePort(l.First), Proto: uint8(l.Protocol), Service: uint32(l.Service)}
	}
	return block, true
}

// lookup finds a listener's service as the data path does.
func (t *vipTable) lookup(addr netip.Addr, port uint16, proto Protocol) (ServiceID, bool) {
	words := addrWords(addr)
	mask := uint64(len(t.vips) - 1)
	hash := hashVIP(words)
	vip := &t.vips[hash&mask]
	if vip.Displacement != 0 {
		vip = &t.vips[displacedRow(hash, vip.Displacement, mask)]
	}
	if vip.Addr != words {
		return 0, false
	}
	key := uint32(wirePort(port)) | uint32(proto)<<16
	row := t.ports[vip.Ports+key*vip.PortSeed>>16&vip.PortMask]
	return ServiceID(row.Service), row.Proto == uint8(proto) && row.Port == wirePort(port)
}
