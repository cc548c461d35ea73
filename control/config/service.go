package config

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Protocol is a transport protocol of a service.
type Protocol string

// The protocols of services.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// String returns the protocol as a file writes it.
func (p Protocol) String() string { return string(p) }

// Forward is the way packets travel to the backends of a service.
type Forward string

// The forwarding modes: the destination MAC rewritten, or a tunnel.
const (
	L2   Forward = "l2"
	IPIP Forward = "ipip" // RFC 2003, RFC 2473
	GRE  Forward = "gre"  // RFC 2784
	GUE  Forward = "gue"  // Generic UDP Encapsulation, variant 0
)

// String returns the mode as a file writes it.
func (f Forward) String() string { return string(f) }

// Tracking says which flows of a service are recorded.
type Tracking string

// The ways of tracking: flows that a change could move, all flows, none.
const (
	TrackChange Tracking = "change"
	TrackAlways Tracking = "always"
	TrackNever  Tracking = "never"
)

// String returns the way of tracking as a file writes it.
func (t Tracking) String() string { return string(t) }

// PortRange is one port or a range of them, both ends included.
type PortRange struct {
	First, Last uint16
}

// AnyPort is the range of a service that listens on every port.
var AnyPort = PortRange{0, math.MaxUint16}

// String returns the range as a file writes it: 80, 8000-8999 or any.
func (r PortRange) String() string {
	switch {
	case r == AnyPort:
		return "any"
	case r.First == r.Last:
		return strconv.Itoa(int(r.First))
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Service is a virtual IP with its settings.
type Service struct {
	Name           string
	VIP            netip.Prefix // of full length for a single address
	Ports          []PortRange  // AnyPort alone, or ranges from port 1 on that do not meet
	Protocols      []Protocol   // each once
	Forward        Forward
	GUEPort        uint16 // UDP destination port of forward: gue, otherwise 0
	Slots          int    // size of the slot table, a prime; 0: chosen from the number of backends
	Affinity       Affinity
	Filter         *Filter          // nil: every source is welcome
	NewConnections *Rate            // TCP connections per source address (IPv6: its /64); nil: unlimited
	Packets        *Rate            // all packets of the service; nil: unlimited
	MSS            int              // TCP's maximum segment size is lowered to it; 0: left alone
	QUIC           [Rotations]uint8 // bytes of the server ID for each config rotation; 0: not used, all 0: no QUIC routing
	Tracking       Tracking
	SlowStart      time.Duration // over which the share of a backend that came up grows; 0: at once
	Panic          int           // percent: with fewer healthy backends than that, all count as healthy; 0: never
	Health         *Health       // nil: not checked, backends count as up
	Discover       *Discover     // where further backends are found; nil: only those listed
	Backends       []Backend     // may be empty with Discover
	At             Position
}

// Rotations is the number of config rotations of QUIC-LB connection IDs.
const Rotations = 7

// String names the service for people: web (192.0.2.10:80/tcp).
func (s Service) String() string {
	return fmt.Sprintf("%s (%s)", s.Name, s.Listens())
}

// Listens says where a service listens: 192.0.2.10:80/tcp.
func (s Service) Listens() string {
	return fmt.Sprintf("%s:%s/%s", host(s.VIP), brief(s.Ports), brief(s.Protocols))
}

// brief writes a list, of a long one its beginning.
func brief[T fmt.Stringer](list []T) string {
	const most = 4
	texts := make([]string, 0, most)
	for i, t := range list {
		if i == most-1 && len(list) > most {
			texts = append(texts, "...")
			break
		}
		texts = append(texts, t.String())
	}
	return strings.Join(texts, ",")
}

// bare writes a prefix that is a single address without its length.
func bare(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// host writes a prefix in front of a port.
func host(p netip.Prefix) string {
	if p.Addr().Is6() {
		return "[" + bare(p) + "]"
	}
	return bare(p)
}

// Affinity says which packets of clients go to the same backend: those of a
// flow, or those whose source agrees in its first Bits.
type Affinity struct {
	BySource bool
	Bits     int // 0 to 32 for an IPv4 VIP, to 128 for IPv6
}

// Filter says which sources a service answers. The longest prefix decides; no
// prefix is in both lists, and none twice in one.
type Filter struct {
	Allow, Deny []netip.Prefix
	DefaultDeny bool // for sources in neither
}

// Rate is a limit: so many per second on average, and Burst at once.
type Rate struct {
	PerSecond, Burst int
}

// Backend is a real server of a service.
type Backend struct {
	Name     string
	Address  netip.Addr
	Weight   int
	ServerID []byte // names it in QUIC connection IDs; as long as Service.QUIC says where that is used
	MAC      MAC    // next hop of offline runs
	At       Position
}
