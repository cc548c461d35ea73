package maps

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"github.com/xlb-project/xlb/bpf"
)

// BackendID numbers a backend of a service in slots, counters and flow records. 0 is nobody.
type BackendID uint32

// Forward says how packets reach a backend.
type Forward uint8

// Forwarding modes.
const (
	Unresolved Forward = iota // packets are dropped with a reason
	L2                        // MAC rewrite; the backend is on this link and holds the VIP
	IPIP                      // IP in IP (RFC 2003, RFC 2473)
	GRE                       // RFC 2784
	GUE                       // Generic UDP Encapsulation, version 0
)

func (f Forward) String() string {
	switch f {
	case L2:
		return "l2"
	case IPIP:
		return "ipip"
	case GRE:
		return "gre"
	case GUE:
		return "gue"
	}
	return "unresolved"
}

// MAC is an Ethernet address.
type MAC [6]byte

// Tag is a VLAN tag. Type 0 is none.
type Tag struct {
	Type uint16 // 0x8100 or 0x88a8
	ID   uint16 // VLAN, 0 to 4095
}

// Backend is all that a packet needs to leave for a backend. The zero Backend is
// unresolved; one that is up and unresolved keeps its flows, which are dropped. Values compare with ==.
type Backend struct {
	Forward   Forward
	IPv6      bool   // the client's packets are IPv6
	Up        bool   // lives: takes packets of flows that it has
	Accepts   bool   // takes new flows
	Ifindex   int    // egress interface
	Egress    uint32 // the egress interface's key in the redirect table
	MTU       int    // largest IP packet on the way, outer header included, in bytes
	SourceMAC MAC
	DestMAC   MAC
	Tags      [2]Tag // outer one first

	// Tunnels only. The outer addresses are both of one family.
	Source     netip.Addr
	Dest       netip.Addr
	SourceBits int    // low bits of Source, at most 32, that vary with the flow; they are 0 in Source
	Port       uint16 // GUE: UDP destination port
	Checksum   bool   // GUE over IPv6: the right UDP checksum instead of none
}

// BackendState is what a backend's row lets packets do.
type BackendState struct {
	Up       bool // lives: takes packets of flows that it has
	Accepts  bool // takes new flows
	Resolved bool // its next hop is known
}

const (
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd
	protocolIPv4  = 4
	protocolIPv6  = 41
	protocolUDP   = 17
	protocolGRE   = 47
	outerTTL      = 64
	dontFragment  = 0x4000
	ipv4Header    = 20
	ipv6Header    = 40
	udpHeader     = 8
)

// Flags of bpf/lib/types.h, enum hop_flags.
const (
	flagL2       = 1
	flagOuter4   = 2
	flagOuter6   = 4
	flagChecksum = 8
	flagVary     = 16
)

// What a backend's row has in its hop: enum backend_flags and, above, BACKEND_HOP_SHIFT.
const (
	flagUp      = 1
	flagAccepts = 2
	hopShift    = 8
)

// overhead is what a tunnel adds behind the outer IP header, in bytes.
func (f Forward) overhead() int {
	switch f {
	case GRE:
		return 4
	case GUE:
		return udpHeader + 4
	}
	return 0
}

func stateOf(row *bpf.XlbBackend) BackendState {
	return BackendState{Up: row.Hop&flagUp != 0, Accepts: row.Hop&flagAccepts != 0, Resolved: hopOf(row) != 0}
}

// hopOf is a backend's row in `hops`.
func hopOf(row *bpf.XlbBackend) int { return int(row.Hop >> hopShift) }

func (s BackendState) flags() (flags int) {
	if s.Up {
		flags |= flagUp
	}
	if s.Accepts {
		flags |= flagAccepts
	}
	return flags
}

// row is the word of a backend whose headers are row hop of `hops`.
func (b Backend) row(hop int) uint64 {
	dest := 0
	if hop != 0 && b.Forward != L2 && b.Dest.Is4() {
		addr := b.Dest.As4()
		dest = int(binary.NativeEndian.Uint32(addr[:]))
	}
	return word(hop<<hopShift|BackendState{Up: b.Up, Accepts: b.Accepts}.flags(), dest)
}

// hop computes the header templates.
func (b Backend) hop() (bpf.XlbHop, error) {
	row := bpf.XlbHop{
		Forward: bpf.XlbForward(b.Forward),
		Egress:  uint16(b.Egress),
		Ifindex: uint32(b.Ifindex),
	}
	switch b.Forward {
	case Unresolved:
		return bpf.XlbHop{}, nil
	case L2:
		row.Flags = flagL2
		b.link(&row, b.IPv6)
	case IPIP, GRE, GUE:
		if !b.Source.IsValid() || b.Source.Is4() != b.Dest.Is4() {
			return bpf.XlbHop{}, fmt.Errorf("a %s backend needs two outer addresses of one family, not %s to %s", b.Forward, b.Source, b.Dest)
		}
		b.link(&row, b.Dest.Is6())
		b.outer(&row)
	default:
		return bpf.XlbHop{}, fmt.Errorf("unknown forwarding mode %d", b.Forward)
	}
	row.HeadLen = row.L2Len + row.OuterLen
	row.Mtu = uint16(max(min(b.MTU, math.MaxUint16)-int(row.OuterLen), 0))
	return row, nil
}

// link writes the Ethernet header and its tags.
func (b Backend) link(row *bpf.XlbHop, ipv6 bool) {
	copy(row.L2[0:], b.DestMAC[:])
	copy(row.L2[6:], b.SourceMAC[:])
	at := 12
	for _, tag := range b.Tags {
		if tag.Type != 0 {
			binary.BigEndian.PutUint16(row.L2[at:], tag.Type)
			binary.BigEndian.PutUint16(row.L2[at+2:], tag.ID)
			at += 4
		}
	}
	binary.BigEndian.PutUint16(row.L2[at:], etherType(ipv6))
	row.L2Len = uint8(at + 2)
}

func etherType(ipv6 bool) uint16 {
	if ipv6 {
		return etherTypeIPv6
	}
	return etherTypeIPv4
}

// outer writes the outer IP header, without its destination, and what follows it up to the client's packet.
func (b Backend) outer(row *bpf.XlbHop) {
	inner := uint8(protocolIPv4)
	if b.IPv6 {
		inner = protocolIPv6
	}
	proto := map[Forward]uint8{IPIP: inner, GRE: protocolGRE, GUE: protocolUDP}[b.Forward]
	header := ipv4Header
	if b.Dest.Is6() {
		header = ipv6Header
		row.Flags |= flagOuter6
		b.outer6(row.Outer[:], proto)
	} else {
		row.Flags |= flagOuter4
		b.outer4(row.Outer[:], proto)
		for i := 0; i < ipv4Header; i += 2 { // in memory order, as the data path adds
			row.OuterSum += uint32(binary.NativeEndian.Uint16(row.Outer[i:]))
		}
	}
	row.OuterLen = uint8(header + b.Forward.overhead())
	rest := row.Outer[header:]
	switch b.Forward {
	case GRE:
		binary.BigEndian.PutUint16(rest[2:], etherType(b.IPv6))
	case GUE:
		binary.BigEndian.PutUint16(rest[2:], b.Port)
		rest[udpHeader+1] = inner
	}
	if b.SourceBits > 0 {
		row.Flags |= flagVary
		var mask [4]byte
		binary.BigEndian.PutUint32(mask[:], uint32(1<<min(b.SourceBits, 32)-1))
		row.SourceMask = binary.NativeEndian.Uint32(mask[:])
	}
	if b.Checksum && b.Forward == GUE && b.Dest.Is6() {
		row.Flags |= flagChecksum
	}
}

func (b Backend) outer4(h []byte, proto uint8) {
	h[0] = 0x45
	binary.BigEndian.PutUint16(h[6:], dontFragment)
	h[8], h[9] = outerTTL, proto
	src := b.Source.As4()
	copy(h[12:], src[:])
}

func (b Backend) outer6(h []byte, proto uint8) {
	h[0] = 0x60
	h[6], h[7] = proto, outerTTL
	src := b.Source.As16()
	copy(h[8:], src[:])
}
