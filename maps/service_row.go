package maps

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/xlb-project/xlb/bpf"
)

// Flags of bpf/lib/types.h, enum service_flags.
const (
	serviceFilter     = 1
	serviceDenyOthers = 2
	serviceRates      = 4
	serviceQUIC       = 8
	serviceMSS        = 16
	serviceTrack      = 32
	serviceSignals    = 64
	serviceBySource   = 128
)

// row computes the row of the service with a number, but for the words that are
// switched on their own: its slot table and its server IDs.
func (s Service) row(id ServiceID) bpf.XlbService {
	row := bpf.XlbService{Number: uint32(id), Mss: s.MSS, SampleMask: uint16(1<<s.SampleBits - 1)}
	if s.BySource {
		row.SourceMask = sourceMask(s.SourceBits, s.IPv6)
	}
	copy(row.IdLengths[:], s.QUIC[:])
	for flag, set := range map[uint32]bool{
		serviceFilter:     s.Filter != NoFilter,
		serviceDenyOthers: s.Filter == DenyOthers,
		serviceRates:      s.NewConnections.Interval > 0 || s.Packets.Interval > 0,
		serviceQUIC:       s.QUIC != ServerIDLengths{},
		serviceMSS:        s.MSS != 0,
		serviceTrack:      s.TrackAlways,
		serviceSignals:    s.Signals,
		serviceBySource:   s.BySource,
	} {
		if set {
			row.Flags |= flag
		}
	}
	return row
}

// sourceMask returns the words of a mask of the first bits of an address. IPv4
// addresses are the last word.
func sourceMask(length int, ipv6 bool) (words [4]uint32) {
	if !ipv6 {
		length += 96
	}
	var mask [16]byte
	for i := range length {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(mask[4*i:])
	}
	return words
}

// rates computes a service's row in `rates`, of which the last word is the data
// path's.
func (s Service) rates() bpf.XlbServiceRates {
	return bpf.XlbServiceRates{Packets: s.Packets.row(), NewConnections: s.NewConnections.row()}
}

func (r Rate) row() bpf.XlbRate {
	return bpf.XlbRate{Interval: uint64(r.Interval), Tolerance: uint64(r.Tolerance)}
}

// serverIDBlock lays out server IDs: a row with the seed, then 2^n rows, at most
// half of them in use, then rows for those that the last ones push on.
func serverIDBlock(lengths ServerIDLengths, ids []ServerID) ([]bpf.XlbServerId, error) {
	rows := make([]bpf.XlbServerId, len(ids))
	for i, id := range ids {
		if int(id.Rotation) >= len(lengths) || len(id.ID) == 0 || len(id.ID) != int(lengths[id.Rotation]) {
			return nil, fmt.Errorf("server ID %x of rotation %d: not as long as the rotation's IDs are", id.ID, id.Rotation)
		}
		rows[i] = bpf.XlbServerId{Id: idNumber(id.ID), Backend: uint32(id.Backend), Rotation: id.Rotation, Used: 1}
	}
	for size := 1 << bits.Len(uint(max(2*len(ids), 2)-1)); size <= maxIDRows; size *= 2 {
		for try := range seedsPerSize {
			seed := mix64(uint64(try)+1) | 1
			if block, ok := fillIDs(rows, size, seed); ok {
				return block, nil
			}
		}
	}
	return nil, fmt.Errorf("%d server IDs cannot be placed", len(ids))
}

const (
	maxIDRows      = 1 << 22
	serverIDProbes = 8 // SERVER_ID_PROBES of bpf/lib/quic.h
)

func fillIDs(rows []bpf.XlbServerId, size int, seed uint64) ([]bpf.XlbServerId, bool) {
	block := make([]bpf.XlbServerId, 1+size+serverIDProbes)
	block[0].Id = seed
next:
	for _, r := range rows {
		first := 1 + serverIDHash(r.Rotation, r.Id, seed)>>40&uint64(size-1)
		for i := range uint64(serverIDProbes) {
			if at := &block[first+i]; at.Used == 0 {
				*at = r
				continue next
			}
		}
		return nil, false
	}
	return block, true
}

// serverIDHash computes server_id_hash of bpf/lib/quic.h.
func serverIDHash(rotation uint8, id, seed uint64) uint64 {
	id += uint64(rotation) * 0x9e3779b97f4a7c15
	return (id ^ id>>32) * seed
}

func idNumber(id []byte) (n uint64) {
	for _, b := range id {
		n = n<<8 | uint64(b)
	}
	return n
}

// ruleIPv6 is RULE_IPV6 of bpf/lib/types.h: a short IPv6 prefix covers no IPv4
// address.
const ruleIPv6 = 1 << 31

// ruleKey is the key of a source prefix in `rules`.
func ruleKey(service uint32, source netip.Prefix) bpf.XlbRuleKey {
	k := keyOf(source.Masked())
	if k.family == 6 {
		service |= ruleIPv6
	}
	var wire [4]byte
	binary.BigEndian.PutUint32(wire[:], service)
	return bpf.XlbRuleKey{Bits: 32 + uint32(k.length), Service: binary.NativeEndian.Uint32(wire[:]), Addr: k.words}
}
