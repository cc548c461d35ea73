package maps

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"github.com/xlb-project/xlb/bpf"
)

// BackendID numbers a backend of a service in slots, counters and, later, flow
// records. 0 is nobody.
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
// unresolved. Values compare with ==.
type Backend struct {
	Forward   Forward
	IPv6      bool   // the client's packets are IPv6
	Up        bool   // takes packets whose QUIC connection ID names it
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

const (
	etherTypeIPv4 = 0x0800
	protocolIPIP  = 4
	outerTTL      = 64
	dontFragment  = 0x4000
	ipv4Header    = 20
	ethernet      = 14
)

// row computes the header templates.
func (b Backend) row() (bpf.XlbBackend, error) {
	if b.Forward == Unresolved {
		return bpf.XlbBackend{}, nil
	}
	row := bpf.XlbBackend{
		Forward: bpf.XlbForward(b.Forward),
		L2Len:   ethernet,
		Mtu:     uint16(min(b.MTU, math.MaxUint16)),
		Ifindex: uint32(b.Ifindex),
		Egress:  b.Egress,
	}
	copy(row.L2[0:], b.DestMAC[:])
	copy(row.L2[6:], b.SourceMAC[:])
	binary.BigEndian.PutUint16(row.L2[12:], etherTypeIPv4)
	switch b.Forward {
	case L2:
		return row, nil
	case IPIP:
		if !b.Source.Is4() || !b.Dest.Is4() {
			return bpf.XlbBackend{}, fmt.Errorf("an ipip backend needs IPv4 addresses for its tunnel, not %s to %s", b.Source, b.Dest)
		}
		outer := row.Outer[:ipv4Header]
		outer[0] = 0x45
		binary.BigEndian.PutUint16(outer[6:], dontFragment)
		outer[8], outer[9] = outerTTL, protocolIPIP
		src, dst := b.Source.As4(), b.Dest.As4()
		copy(outer[12:], src[:])
		copy(outer[16:], dst[:])
		for i := 0; i < ipv4Header; i += 2 { // in memory order, as the data path adds
			row.OuterSum += uint32(binary.NativeEndian.Uint16(outer[i:]))
		}
		return row, nil
	}
	return bpf.XlbBackend{}, fmt.Errorf("unknown forwarding mode %d", b.Forward)
}

func backendFromRow(row *bpf.XlbBackend) Backend {
	b := Backend{Forward: Forward(row.Forward)}
	if b.Forward == Unresolved {
		return b
	}
	b.Ifindex, b.Egress, b.MTU = int(row.Ifindex), row.Egress, int(row.Mtu)
	copy(b.DestMAC[:], row.L2[0:])
	copy(b.SourceMAC[:], row.L2[6:])
	if b.Forward == IPIP {
		b.Source = netip.AddrFrom4([4]byte(row.Outer[12:16]))
		b.Dest = netip.AddrFrom4([4]byte(row.Outer[16:20]))
	}
	return b
}
