package maps

import (
	"cmp"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
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
	Silence        Silence
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

// Silence says what becomes of packets to VIPs when SetTick has not been called with
// another number for longer than After. The zero Silence goes on as the tables say.
type Silence struct {
	Policy SilencePolicy
	After  time.Duration
}

// SilencePolicy says what the data path does when no daemon runs any more.
type SilencePolicy uint8

// Policies for silence, enum silence_policy of bpf/lib/config.h.
const (
	SilenceKeep SilencePolicy = iota
	SilencePass               // to the kernel
	SilenceDrop
)

// limit is the time in units of the data path's clock of silence.
func (s Silence) limit(fixedTime bool) (uint64, error) {
	if fixedTime {
		return uint64(s.After), nil
	}
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err != nil {
		return 0, fmt.Errorf("ask how long a jiffy is: %w", err)
	}
	return uint64((s.After + time.Duration(tick.Nano()) - 1) / time.Duration(tick.Nano())), nil
}

// EchoPolicy says what happens to ICMP echo requests to a VIP.
type EchoPolicy uint8

// Echo policies.
const (
	EchoReply EchoPolicy = iota
	EchoPass             // to the kernel
	EchoDrop
)
