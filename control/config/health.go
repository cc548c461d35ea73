package config

import (
	"net/netip"
	"time"
)

// Defaults of health checks. Those of port, host and SNI follow the service.
const (
	DefaultTarget   = TargetVIP
	DefaultMethod   = "GET"
	DefaultPath     = "/"
	DefaultDNSType  = "A"
	DefaultRCode    = "NOERROR"
	DefaultInterval = 2 * time.Second // between failures a quarter of the interval
	DefaultTimeout  = time.Second
	DefaultRise     = 2
	DefaultFall     = 3

	DefaultSuspectBelow   = 50
	DefaultMinConnections = 20
	DefaultMaxEjected     = 20
	DefaultEjectFor       = 30 * time.Second
)

// Defaults of discovery. That of a DNS record's type follows the VIP's family.
const (
	DefaultMinTTL = 5 * time.Second
	DefaultMaxTTL = 5 * time.Minute
	DefaultFirst  = 1
)

// Target is what a health check talks to.
type Target string

// The targets: the VIP, through the service's own forwarding to the backend, or
// the backend's own address.
const (
	TargetVIP     Target = "vip"
	TargetAddress Target = "address"
)

// String returns the target as a file writes it.
func (t Target) String() string { return string(t) }

// Health says how the backends of a service are checked. Exactly one of the
// checks is set.
type Health struct {
	HTTP *HTTPCheck // http, and https if its TLS is set
	TCP  *TCPCheck
	TLS  *TLSCheck
	GRPC *GRPCCheck
	DNS  *DNSCheck
	UDP  *UDPCheck
	ICMP *ICMPCheck
	Exec *ExecCheck

	Target       Target
	Interval     time.Duration
	FastInterval time.Duration // while the backend is down, or failed its last check; at most Interval
	Timeout      time.Duration
	Rise         int      // successes in a row that bring a backend up
	Fall         int      // failures in a row that take a backend down
	Passive      *Passive // nil: connections of clients are not watched
}

// HTTPCheck succeeds when a request is answered as expected.
type HTTPCheck struct {
	Method          string // GET or HEAD
	Path            string
	Port            uint16
	Host            string // Host header; with HTTP2 the authority
	Status          []int  // expected; empty: any of 200 to 299
	Body            string // the body contains it; empty: any body
	BodyMatches     string // the body matches this regular expression (RE2); empty: any body
	RequestHeaders  []Header
	ResponseHeaders []Header // expected; an empty value: any value
	HTTP2           bool     // by prior knowledge, with TLS by ALPN
	TLS             *TLS     // nil: plain
}

// Header is a field of a request's or an answer's header.
type Header struct {
	Name, Value string
}

// TLS says how a check speaks TLS.
type TLS struct {
	SNI    string // name to ask for and to verify; empty: none is asked for
	Verify bool   // the certificate must be valid and name SNI
	CAFile string // absolute path of the authorities' certificates in PEM; empty: the system's
}

// TCPCheck succeeds when a connection opens.
type TCPCheck struct {
	Port uint16
}

// TLSCheck succeeds when a TLS handshake completes.
type TLSCheck struct {
	Port uint16
	TLS  TLS
}

// GRPCCheck succeeds when the standard health service, grpc.health.v1.Health,
// answers SERVING.
type GRPCCheck struct {
	Port    uint16
	Service string // whose health is asked for; empty: that of the whole server
	Host    string // authority
	TLS     *TLS   // nil: plain
}

// DNSCheck succeeds when a query is answered as expected.
type DNSCheck struct {
	Port   uint16
	Name   string // without the dot at its end, but for the root, "."
	Type   string // A, AAAA, ...: see dnsTypes
	TCP    bool   // over TCP, else over UDP
	RCode  string // expected: NOERROR, NXDOMAIN, ...: see dnsRCodes
	Answer string // data of a record that the answer must hold, as zone files write it; empty: any
}

// UDPCheck succeeds when a datagram is answered as expected.
type UDPCheck struct {
	Port   uint16
	Send   []byte
	Expect []byte // the answer contains it; empty: silence will do
}

// ICMPCheck succeeds when an echo request is answered.
type ICMPCheck struct{}

// ExecCheck succeeds when a program ends with status 0. It needs the node's
// HealthSettings.AllowExec.
type ExecCheck struct {
	Command []string // absolute path of the program, and its arguments
}

// Passive says how clients' connections tell of a backend's health, as far as
// the node sees them: handshakes that complete, and SYNs that are repeated. A
// suspect is checked at once.
type Passive struct {
	SuspectBelow   int           // percent of its siblings' rate of completion
	MinConnections int           // connections that a judgement needs
	Eject          bool          // a suspect takes no new connections for EjectFor
	MaxEjected     int           // percent of a service's backends
	EjectFor       time.Duration // doubles with each time in a row
}

// Discover says where further backends of a service are found. Exactly one of
// the sources is set.
type Discover struct {
	DNS      *DNSSource
	File     *FileSource
	Replicas *Replicas

	AllowEmpty bool // an empty answer takes all backends away
	Weight     int  // of backends that come without one
}

// DNSSource finds backends by a DNS name.
type DNSSource struct {
	Name   string         // without the dot at its end
	Type   string         // A, AAAA or SRV
	Port   uint16         // of SRV records those that name this port; 0: all
	Server netip.AddrPort // invalid: those of resolv.conf
	MinTTL time.Duration  // an answer is asked for again not before
	MaxTTL time.Duration  // and not after that
}

// FileSource finds backends in a file that is watched: a list as Service.Backends
// is written, see ParseBackends.
type FileSource struct {
	Path string // absolute
}

// Replicas are backends that are numbered: in Address and Name {n} stands for
// the number, from First on.
type Replicas struct {
	Address string
	Name    string // empty: the address
	First   int
	Count   int
}
