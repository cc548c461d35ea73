package maps

import (
	"net/netip"
	"time"
)

// ServiceID numbers a service in the services table.
type ServiceID uint32

// Service is how a service's packets are treated, beside its slots and lists.
// The zero Service hashes by flow and filters nothing.
type Service struct {
	IPv6 bool // its VIPs are IPv6

	// BySource hashes by the source address alone, of which SourceBits count
	// (0 to 32 for IPv4, to 128 for IPv6).
	BySource   bool
	SourceBits int

	Filter         Filter
	NewConnections Rate   // TCP SYNs, per source address (IPv6: /64)
	Packets        Rate   // all packets of the service
	MSS            uint16 // TCP's MSS is lowered to this on SYNs; 0 leaves it
	QUIC           ServerIDLengths
	TrackAlways    bool // every flow gets a record, not only those of slots in transition
	Signals        bool // TCP handshakes are watched, for SignalCounter
	SampleBits     int  // with Signals, one of 2^SampleBits flows is watched: 0, all of them, to 16
}

// Filter says what happens to a source that no rule of the service covers.
type Filter uint8

// Filters.
const (
	NoFilter    Filter = iota // no rules are looked up
	AllowOthers               // rules name who is denied, and exceptions
	DenyOthers                // rules name who is allowed, and exceptions
)

// Rule allows or denies the sources in a prefix. The longest prefix decides.
type Rule struct {
	Source netip.Prefix
	Allow  bool
}

// Rate is a limit by GCRA: one packet per Interval on average, early by at most
// Tolerance. The zero Rate is no limit.
type Rate struct {
	Interval  time.Duration
	Tolerance time.Duration
}

// ServerIDLengths are, for each config rotation of QUIC-LB connection IDs, the
// bytes of the server ID (1 to 8); 0 is a rotation that is not used. All zero is
// no QUIC routing.
type ServerIDLengths [7]uint8

// ServerID names a backend in QUIC connection IDs.
type ServerID struct {
	Rotation uint8
	ID       []byte // as long as the rotation says
	Backend  BackendID
}

// Listener is where a service listens: a VIP, which is a prefix (mostly of full
// length), a port range, and a protocol.
type Listener struct {
	VIP         netip.Prefix
	First, Last uint16 // ports, both included
	Protocol    Protocol
	Service     ServiceID
}
