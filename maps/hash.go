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

const hashKeys = 8

// FlowHash computes for an IPv4 flow what the data path computes; see
// hash_flow4 in bpf/lib/hash.h. Its high half picks the slot, see [Slot].
func FlowHash(key Key, src, dst netip.AddrPort, proto Protocol) uint64 {
	k := key.constants()
	s, d := src.Addr().As4(), dst.Addr().As4()
	ports := uint64(bits.ReverseBytes16(dst.Port()))<<16 | uint64(bits.ReverseBytes16(src.Port()))
	return mix64(k[0] + k[1]*uint64(binary.LittleEndian.Uint32(s[:])) + k[2]*uint64(binary.LittleEndian.Uint32(d[:])) +
		k[3]*ports + k[4]*uint64(proto))
}

// Slot maps a flow hash to one of size slots.
func Slot(hash uint64, size int) int {
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

// hashVIP computes hash_vip4 of bpf/lib/hash.h.
func hashVIP(words [4]uint32) uint64 {
	h := uint64(words[3]) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// addrWords returns an address as four words in wire order, IPv4 as ::ffff:a.b.c.d.
func addrWords(a netip.Addr) [4]uint32 {
	b := a.As16()
	var w [4]uint32
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

// wirePort swaps a port between host and wire order.
func wirePort(p uint16) uint16 { return bits.ReverseBytes16(p) }
