package bpf_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

const silence = 60 * time.Second

// newSilent loads a program that does something when no daemon runs, whose time is fixed.
func newSilent(t *testing.T, policy maps.SilencePolicy) *path {
	t.Helper()
	p := newPathWith(t, maps.Settings{
		Key: maps.Key{1}, Limits: testLimits, FixedTime: true, Silence: maps.Silence{Policy: policy, After: silence},
	}, maps.AllFeatures())
	p.offerWeb(maps.Service{})
	return p
}

// at sets the clock and what the daemon has said last.
func (p *path) at(clock time.Duration, tick uint64) {
	p.tables.SetTime(uint64(time.Hour + clock))
	p.tables.SetTick(tick)
}

func TestPacketsToVIPsPassOrStopAfterADaemonsSilence(t *testing.T) {
	for policy, silent := range map[maps.SilencePolicy]string{
		maps.SilenceKeep: "tx backend 1", maps.SilencePass: "pass no_daemon", maps.SilenceDrop: "drop no_daemon",
	} {
		p := newSilent(t, policy)
		check := func(when string, want string) {
			t.Helper()
			if got := p.outcome(arriving(family4.tcp(t, 443, 5))); got != want {
				t.Errorf("policy %d, %s: %s, want %s", policy, when, got, want)
			}
		}
		const served = "tx backend 1"
		p.at(0, 0)
		check("before any daemon", served)
		p.at(silence, 0)
		check("just the time after", served)
		p.at(silence+1, 0)
		check("a nanosecond later", silent)
		p.at(silence+1, 1)
		check("when a daemon says something", served)
		p.at(silence+time.Second, 1)
		check("a second later", served)
		p.at(2*silence+1, 1)
		check("just the time after that", served)
		p.at(2*silence+2, 1)
		check("a nanosecond later again", silent)
		p.at(4*silence, 1)
		check("much later", silent)
		p.at(4*silence, 2)
		check("when a daemon is back", served)
		p.at(9*silence, 3)
		check("after a time without packets, in which the daemon spoke", served)
		p.at(9*silence, 1)
		check("when another daemon begins to count anew", served)
		p.at(10*silence+1, 1)
		check("when that one is silent", silent)
	}
}

// The heartbeat has 16 bits of the tick and 48 of the clock.
func TestSilenceIsNoticedByTheWholeClock(t *testing.T) {
	p := newSilent(t, maps.SilenceDrop)
	for _, tick := range []uint64{0xffff, 0x10000, 0x7fff_ffff_ffff} {
		p.tables.Forget()
		for i, c := range []struct {
			clock uint64
			want  string
		}{
			{1<<48 - 2, "tx backend 1"}, {1<<48 - 1, "tx backend 1"}, {1<<48 + uint64(silence) - 2, "tx backend 1"}, {1<<48 + uint64(silence) - 1, "drop no_daemon"},
		} {
			p.tables.SetTick(tick)
			p.tables.SetTime(c.clock)
			if got := p.outcome(arriving(family4.tcp(t, 443, 5))); got != c.want {
				t.Errorf("tick %#x, packet %d: %s, want %s", tick, i, got, c.want)
			}
		}
		p.at(4*silence, tick+1)
		if got := p.outcome(arriving(family4.tcp(t, 443, 5))); got != "tx backend 1" {
			t.Errorf("tick after %#x: %s, want tx backend 1", tick, got)
		}
	}
}

func TestSilenceConcernsAllThatIsOursAndNothingElse(t *testing.T) {
	for policy, verdict := range map[maps.SilencePolicy]string{maps.SilencePass: "pass", maps.SilenceDrop: "drop"} {
		p := newSilent(t, policy)
		p.at(0, 7)
		for _, f := range families {
			outcomes{
				{"a segment", f.tcp(t, 443, 5), fmt.Sprintf("tx backend %d", map[bool]int{false: 1, true: 9}[f.v6()])},
				{"a ping", f.ping(t, 5), "tx echo_replied"},
			}.check(t, p)
		}
		p.at(2*silence, 7)
		silent := verdict + " no_daemon"
		for _, f := range families {
			outcomes{
				{f.name + " segment", f.tcp(t, 443, 5), silent},
				{f.name + " to a port without a service", f.tcp(t, 444, 5), silent},
				{f.name + " ping", f.ping(t, 5), silent},
				{f.name + " ICMP error", f.unreachableTo443(t), silent},
				{f.name + " later fragment", part{family: f, proto: maps.UDP, offset: 64}.packet(t), silent},
				{f.name + " land", packet(t, ipHeader(f.vip, f.vip, layers.IPProtocolTCP), &layers.TCP{DstPort: 443}), silent},
				{f.name + " to no VIP", packet(t, ipHeader(f.client, f.backend, layers.IPProtocolTCP), &layers.TCP{DstPort: 443}), "pass not_ours"},
			}.check(t, p)
		}
	}
}

// unreachableTo443 is an error about a packet that the VIP's port 443 has sent.
func (f family) unreachableTo443(t testing.TB) []byte {
	s := story{t: t.(*testing.T), f: f}
	return s.unreachable(maps.TCP, 4242)
}

// By jiffies, as on a node: time goes on by itself.
func TestSilenceIsMeasuredInRealTime(t *testing.T) {
	p := newPathWith(t, maps.Settings{
		Key: maps.Key{1}, Limits: testLimits, Silence: maps.Silence{Policy: maps.SilenceDrop, After: 200 * time.Millisecond},
	}, maps.AllFeatures())
	p.offerWeb(maps.Service{})
	segment := arriving(family4.tcp(t, 443, 5))
	start := time.Now()
	for p.outcome(segment) == "tx backend 1" {
		if time.Since(start) > 10*time.Second {
			t.Fatal("no silence is noticed")
		}
	}
	if waited := time.Since(start); waited < 190*time.Millisecond {
		t.Errorf("silence was noticed after %s, want no less than 200 ms", waited)
	}
	p.tables.SetTick(1)
	if got := p.outcome(segment); got != "tx backend 1" {
		t.Errorf("after a tick: %s, want tx backend 1", got)
	}
}
