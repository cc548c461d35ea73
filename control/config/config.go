// Package config reads the configuration of an xlb node from one strict YAML file.
//
// Load and Parse turn a file into a Config whose defaults are filled in, or into
// Errors: every problem of the file with its line, its column and what to write
// instead. Config.Validate checks the values alone; nothing here looks at the
// machine, so that a file can be checked anywhere. Problems that only the machine
// knows, such as an interface that does not exist, are named through
// Config.ErrorAt at the place of the file they stem from.
package config

import (
	"fmt"
	"net/netip"
	"time"
)

// Defaults of fields that a file leaves out.
const (
	DefaultXDPMode       = Native
	DefaultMetricsListen = "127.0.0.1:9480"
	DefaultAPISocket     = "/run/xlb/xlb.sock"
	DefaultHashKey       = "xlb default key!" // its 16 bytes; hash_key writes them in hexadecimal
	DefaultProtocol      = TCP
	DefaultWeight        = 100
	DefaultPath          = "/"
	DefaultInterval      = 2 * time.Second
	DefaultTimeout       = time.Second
	DefaultRise          = 2
	DefaultFall          = 3
	DefaultServices      = 1024
	DefaultBackends      = 16384
	DefaultSlots         = 4194304
)

// Bounds of what may be written.
const (
	MaxWeight    = 1000
	MaxThreshold = 100 // of rise and fall
	MinInterval  = 50 * time.Millisecond
	MaxTimeout   = time.Minute
	MaxServices  = 65536
	MaxBackends  = 1048576
	MaxSlots     = 268435456
	MaxTable     = 16777259 // slots of one service: the largest table that balance builds
)

// XDPMode says where the program meets a packet.
type XDPMode string

// The XDP modes: in the driver, or in the kernel's generic path behind it.
const (
	Native  XDPMode = "native"
	Generic XDPMode = "generic"
)

// String returns the mode as a file writes it.
func (m XDPMode) String() string { return string(m) }

// Protocol is the transport protocol of a service.
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

// The forwarding modes: IP in IP, or the destination MAC rewritten.
const (
	IPIP Forward = "ipip"
	L2   Forward = "l2"
)

// String returns the mode as a file writes it.
func (f Forward) String() string { return string(f) }

// Config is the whole configuration of a node.
type Config struct {
	File       string // name of the file, for errors
	Interfaces []Interface
	XDPMode    XDPMode
	HashKey    [16]byte // key of the flow hash, the same on all nodes
	Metrics    Metrics
	API        API
	Source     Source
	Limits     Limits
	Services   []Service
}

// Interface is a network interface that carries the data path.
type Interface struct {
	Name string
	At   Position
}

// Metrics says where Prometheus metrics are served.
type Metrics struct {
	Listen netip.AddrPort // invalid: nowhere
}

// API says where the daemon answers the command line.
type API struct {
	Socket string // absolute path of a unix socket
}

// Source holds the outer source address of tunnels.
type Source struct {
	IPv4 netip.Addr // invalid: the address the route to the backend prefers
}

// Limits are the sizes of the tables of the data plane.
type Limits struct {
	Services int
	Backends int // a backend of two services counts twice
	Slots    int
}

// Service is a virtual IP with its settings.
type Service struct {
	Name     string
	VIP      netip.Addr
	Port     uint16
	Protocol Protocol
	Forward  Forward
	Slots    int     // size of the slot table, a prime; 0: chosen from the number of backends
	Health   *Health // nil: not checked, backends count as up
	Backends []Backend
	At       Position
}

// String names the service for people: web (192.0.2.10:80/tcp).
func (s Service) String() string {
	return fmt.Sprintf("%s (%s/%s)", s.Name, netip.AddrPortFrom(s.VIP, s.Port), s.Protocol)
}

// Health says how the backends of a service are checked. Exactly one of HTTP and TCP is set.
type Health struct {
	HTTP     *HTTPCheck
	TCP      *TCPCheck
	Interval time.Duration
	Timeout  time.Duration
	Rise     int // successes in a row that bring a backend up
	Fall     int // failures in a row that take a backend down
}

// HTTPCheck succeeds when a GET answers with an expected status.
type HTTPCheck struct {
	Path   string
	Port   uint16
	Host   string // Host header
	Status []int  // expected; empty: any of 200 to 299
}

// TCPCheck succeeds when a connection opens.
type TCPCheck struct {
	Port uint16
}

// Backend is a real server of a service.
type Backend struct {
	Name    string
	Address netip.Addr
	Weight  int
	At      Position
}

// ErrorAt is an error at a place of the file, for problems that only the
// machine knows. The remedy says what to do instead.
func (c *Config) ErrorAt(at Position, message, remedy string) Error {
	return Error{File: c.File, Line: at.Line, Column: at.Column, Message: message, Remedy: remedy}
}

// defaultHashKey returns the key of nodes whose file names none. It is public:
// whoever knows it can aim at one backend.
func defaultHashKey() [16]byte { return [16]byte([]byte(DefaultHashKey)) }
