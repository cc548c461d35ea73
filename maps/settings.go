package maps

import (
	"cmp"
	"time"
)

// PlaneOptions say what must be loaded, and where.
type PlaneOptions struct {
	Interfaces []string
	Generic    bool // XDP behind the driver instead of in it: any device, several times slower
	Settings   Settings
	Features   Features
}

// Settings are a node's choices that are fixed when the program is loaded.
type Settings struct {
	Key            Key
	Limits         Limits
	Echo           EchoPolicy
	VerifyChecksum bool // drop IPv4 packets with a wrong header checksum
	PassOrphans    bool // hand fragments without a record to the kernel instead of dropping them
	TooBig         Rate // answers to packets that are too big, of the whole node; zero Interval: unlimited
	FixedTime      bool // the clock is the one that SetTime sets, for tests and offline runs

	FlowIdle time.Duration // after that long without a packet a recorded flow has ended, at most MaxFlowIdle; 0: DefaultFlowIdle
}

// The times after which silent flows have ended, in whole seconds.
const (
	DefaultFlowIdle = 900 * time.Second // as bpf/lib/config.h has it
	MaxFlowIdle     = time.Hour         // seconds are kept modulo 4096
)

// flowIdle is FlowIdle in ticks.
func (s Settings) flowIdle() uint32 { return uint32(cmp.Or(s.FlowIdle, DefaultFlowIdle) / time.Second) }

// EchoPolicy says what happens to ICMP echo requests to a VIP.
type EchoPolicy uint8

// Echo policies.
const (
	EchoReply EchoPolicy = iota
	EchoPass             // to the kernel
	EchoDrop
)
