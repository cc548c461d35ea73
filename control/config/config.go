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
	"cmp"
	"net"
	"net/netip"
	"time"
)

// Defaults of fields that a file leaves out.
const (
	DefaultXDPMode       = Native
	DefaultMetricsListen = "127.0.0.1:9480"
	DefaultInstance      = "default"
	DefaultStateDir      = "/var/lib/xlb"
	DefaultAPISocket     = "/run/xlb/xlb.sock" // of the default instance; of another /run/xlb/INSTANCE.sock
	DefaultAPIGroup      = "xlb"
	DefaultAPIRead       = ReadGroup
	DefaultDeadDaemon    = Keep
	DefaultFlowIdle      = 15 * time.Minute
	DefaultFlowLearn     = 30 * time.Second
	DefaultMaxTransition = time.Hour
	DefaultHashKey       = "xlb default key!" // its 16 bytes; hash_key writes them in hexadecimal
	DefaultGUEPort       = 6080
	DefaultEcho          = EchoReply
	DefaultTooBigRate    = 1000
	DefaultProtocol      = TCP
	DefaultWeight        = 100
	DefaultTracking      = TrackChange
	DefaultServices      = 1024
	DefaultListeners     = 16384
	DefaultBackends      = 16384
	DefaultSlots         = 8388608
	DefaultRules         = 65536
	DefaultSources       = 65536
	DefaultFragments     = 65536
	DefaultServerIDs     = 16384
	DefaultFlows         = 1048576
)

// Bounds of what may be written.
const (
	MaxWeight      = 1000
	MaxThreshold   = 100 // of rise and fall
	MinInterval    = 50 * time.Millisecond
	MaxTimeout     = time.Minute
	MinSilence     = 5 * time.Second // of a daemon that counts as dead
	MaxSilence     = 24 * time.Hour
	MinFlowIdle    = 10 * time.Second
	MaxFlowIdle    = time.Hour // the data path counts seconds modulo 4096
	MinFlowLearn   = time.Second
	MaxFlowLearn   = 10 * time.Minute
	MaxTransition  = 24 * time.Hour
	MaxSlowStart   = time.Hour
	MaxEjectFor    = 24 * time.Hour
	MaxTTL         = 24 * time.Hour
	MaxConnections = 1000000    // that a passive judgement may need
	MaxRate        = 1000000000 // per second, and of a burst
	MaxTooBigRate  = 1000000
	MinMSS         = 88
	MaxServerID    = 8 // bytes
	MaxServices    = 65536
	MaxListeners   = 1048576
	MaxBackends    = 1048576
	MaxSlots       = 268435456
	MaxRules       = 1048576
	MaxSources     = 16777216
	MaxFragments   = 16777216
	MaxServerIDs   = 1048576
	MaxFlows       = 67108864
	MaxTable       = 16777259 // slots of one service: the largest table that balance builds
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

// Echo says what happens to ICMP echo requests to a VIP.
type Echo string

// The treatments of echo requests: answered, left to the kernel, dropped.
const (
	EchoReply Echo = "reply"
	EchoPass  Echo = "pass"
	EchoDrop  Echo = "drop"
)

// String returns the treatment as a file writes it.
func (e Echo) String() string { return string(e) }

// Readers says who may read from the API; who may write, the group decides.
type Readers string

// The readers of the API: root and the group, or everybody on the machine.
const (
	ReadGroup Readers = "group"
	ReadAll   Readers = "all"
)

// String returns the readers as a file writes them.
func (r Readers) String() string { return string(r) }

// DeadAction says what the data path does while no daemon runs.
type DeadAction string

// The actions: goes on with its last tables; after a silence, passes packets to
// the kernel or drops them.
const (
	Keep      DeadAction = "keep"
	PassAfter DeadAction = "pass-after"
	DropAfter DeadAction = "drop-after"
)

// String returns the action as a file writes it.
func (a DeadAction) String() string { return string(a) }

// MAC is an Ethernet address. The zero MAC is none.
type MAC [6]byte

// String returns the address as a file writes it.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// Config is the whole configuration of a node.
type Config struct {
	File           string // name of the file, for errors
	Instance       string // names all that one daemon owns
	StateDir       string // absolute path; the instance has a directory in it
	Interfaces     []Interface
	XDPMode        XDPMode
	HashKey        [16]byte // key of the flow hash, the same on all nodes
	Metrics        Metrics
	API            API
	DeadDaemon     DeadDaemon
	Health         HealthSettings
	Flows          Flows
	Source         Source
	GUE            GUESettings
	ICMP           ICMP
	PassOrphans    bool           // hand fragments whose first one is not known to the kernel, instead of dropping them
	VerifyChecksum bool           // drop IPv4 packets with a wrong header checksum
	Deny           []netip.Prefix // sources that no service answers, each once
	GatewayMAC     MAC            // next hop of offline runs, where a backend names none
	Limits         Limits
	Services       []Service
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

// API says where the daemon answers the command line, and whom.
type API struct {
	Socket string // absolute path of a unix socket
	Group  string // its members may write, as root may
	Read   Readers
}

// DeadDaemon says what the data path does while no daemon runs.
type DeadDaemon struct {
	Action DeadAction
	After  time.Duration // silence before PassAfter and DropAfter; 0 with Keep
}

// String returns the action as a file writes it: keep, or pass-after 1m.
func (d DeadDaemon) String() string {
	if d.Action == Keep {
		return string(Keep)
	}
	return string(d.Action) + " " + spanText(d.After)
}

// HealthSettings are the node's settings of health checks.
type HealthSettings struct {
	AllowExec bool // checks may run programs, as the daemon's user
}

// Flows are the times of flow records.
type Flows struct {
	Idle          time.Duration // a record unseen for so long has ended
	Learn         time.Duration // how long UDP flows of a slot in transition count as older than it
	MaxTransition time.Duration // a transition ends then, even if records still need it
}

// Source holds the outer source addresses of tunnels, one for each outer family.
type Source struct {
	IPv4, IPv6 netip.Addr // invalid: the address the route to the backend prefers

	// For ipip in place of the address: a prefix whose other bits vary with the
	// flow, at most 32 of them. Invalid: none.
	IPIPv4, IPIPv6 netip.Prefix
}

// GUESettings are the node's settings of tunnels in UDP.
type GUESettings struct {
	Port         uint16 // UDP destination port of services that name none
	IPv6Checksum bool   // over IPv6, the right UDP checksum instead of none
}

// ICMP says how the node treats ICMP to its VIPs.
type ICMP struct {
	Echo       Echo
	TooBigRate int // answers to packets that are too big, per second
}

// Limits are the sizes of the tables of the data plane.
type Limits struct {
	Services  int
	Listeners int // a port or range of a service, for each of its protocols
	Backends  int // a backend of two services counts twice
	Slots     int
	Rules     int // source prefixes of the node's deny list and of all filters
	Sources   int // sources whose new connections are counted
	Fragments int // packets whose fragments are followed at one time
	ServerIDs int // QUIC server IDs, for each config rotation
	Flows     int // connections recorded at one time
}

// ErrorAt is an error at a place of the file, for problems that only the
// machine knows. The remedy says what to do instead.
func (c *Config) ErrorAt(at Position, message, remedy string) Error {
	return Error{File: cmp.Or(at.File, c.File), Line: at.Line, Column: at.Column, Message: message, Remedy: remedy}
}

// defaultHashKey returns the key of nodes whose file names none. It is public:
// whoever knows it can aim at one backend.
func defaultHashKey() [16]byte { return [16]byte([]byte(DefaultHashKey)) }
