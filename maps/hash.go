package maps

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Protocol is an IP protocol number that services use.
type Protocol uint8

// The protocols of services.
const (
	TCP Protocol = 6
	UDP Protocol = 17
)

func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return "unknown"
}

// Key is the secret part of the flow hash. All nodes of a cluster share it.
type Key [16]byte

// constants expands the key into the odd multipliers that bpf/lib/hash.h uses.
// The expansion is version 1 and frozen: nodes of different versions must agree.
func (k Key) constants() [hashKeys]uint64 {
	var out [hashKeys]uint64
	for i := range out {
		sum := sha256.Sum256(append([]byte("xlb flow hash v1"), append(k[:], byte(i))...))
		out[i] = binary.LittleEndian.Uint64(sum[:]) | 1
	}
	return out
}

// hashKeys is HASH_KEYS of bpf/lib/config.h.
const hashKeys = 13

// FlowHash computes for a flow what the data path computes with affinity by
// flow; see docs/DATAPATH.md section 12. Its high half picks the slot, see [SlotOf].
func FlowHash(key Key, src, dst netip.AddrPort, proto Protocol) uint64 {
	k := key.constants()
	ports := uint64(wirePort(dst.Port()))<<16 | uint64(wirePort(src.Port()))
	sum := k[0] + k[3]*ports + k[4]*uint64(proto)
	s, d := addrWords(src.Addr()), addrWords(dst.Addr())
	if src.Addr().Unmap().Is4() {
		return mix64(sum + k[1]*uint64(s[3]) + k[2]*uint64(d[3]))
	}
	for i := range s {
		sum += k[5+i]*uint64(s[i]) + k[9+i]*uint64(d[i])
	}
	return mix64(sum)
}

// SlotOf maps a flow hash to one of size slots.
func SlotOf(hash uint64, size int) int {
	return int(hash >> 32 * uint64(size) >> 32)
}

// mix64 is the finaliser of MurmurHash3 (Appleby, 2011).
func mix64(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// hashVIP4 and hashVIP6 compute hash_vip4 and hash_vip6 of bpf/lib/hash.h.
func hashVIP4(words [4]uint32, length uint8) uint64 {
	h := (uint64(bits.ReverseBytes32(words[3])) | uint64(length)<<32) * vipMultiplier
	return h ^ h>>32
}

func hashVIP6(words [4]uint32, length uint8) uint64 {
	high := uint64(bits.ReverseBytes32(words[0]))<<32 | uint64(bits.ReverseBytes32(words[1]))
	low := uint64(bits.ReverseBytes32(words[2]))<<32 | uint64(bits.ReverseBytes32(words[3]))
	h := high*vipMultiplierHigh + low*vipMultiplier + uint64(length)*vipMultiplierLength
	return h ^ h>>32
}

const (
	vipMultiplier       = 0x9e3779b97f4a7c15
	vipMultiplierHigh   = 0xc2b2ae3d27d4eb4f
	vipMultiplierLength = 0x165667b19e3779f9
)

// addrWords returns an address as four words as they lie on the wire, IPv4 as ::ffff:a.b.c.d.
func addrWords(a netip.Addr) [4]uint32 {
	b := a.As16()
	var w [4]uint32
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

// addrOf is the address of four words, IPv4 as ::ffff:a.b.c.d.
func addrOf(w [4]uint32) netip.Addr {
	var b [16]byte
	for i := range w {
		binary.NativeEndian.PutUint32(b[4*i:], w[i])
	}
	return netip.AddrFrom16(b)
}

// wirePort swaps a port between host and wire order.
func wirePort(p uint16) uint16 { return bits.ReverseBytes16(p) }
