package explain

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestPacketGetsItsReasonServiceAndBackend(t *testing.T) {
	const client, client6 = "198.51.100.1:4242", "[2001:db8:ffff::1]:4242"
	n := newNode(t, parse(t, everything), Options{Down: []string{"b1", "web/b3", "g1", "10.0.0.22", "r1", "rest6/10.1.0.10"}})
	with := func(frame []byte, at int, value byte) []byte {
		frame[at] = value
		return frame
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  Explanation
	}{
		{"to the only backend that is up", build(t, "tcp", client, "192.0.2.10:443", 0),
			Explanation{Verdict: "tx", Reason: "forwarded", Service: "web", Backend: "b2", Address: "10.1.0.2"}},
		{"over IPv6", build(t, "udp", client6, "[2001:db8:1::10]:443", 8),
			Explanation{Verdict: "tx", Reason: "forwarded", Service: "h3", Backend: "g2", Address: "10.1.0.9"}},
		{"of a service by prefix", build(t, "tcp", client, "192.0.2.10:444", 0),
			Explanation{Verdict: "tx", Reason: "forwarded", Service: "rest", Backend: "r2", Address: "fd00:1::8"}},
		{"too long, told", build(t, "tcp", client, "192.0.2.10:8050", 1460),
			Explanation{Verdict: "tx", Reason: "too_big_answered", Service: "web"}},
		{"a ping", build(t, "icmp", "198.51.100.1:0", "192.0.2.10:0", 8),
			Explanation{Verdict: "tx", Reason: "echo_replied"}},
		{"denied by the node", build(t, "tcp", "198.51.100.9:1", "192.0.2.10:80", 0),
			Explanation{Verdict: "drop", Reason: "denied_by_node", Service: "web"}},
		{"denied by the service of fewer ports", build(t, "tcp", client, "192.0.2.77:7", 0),
			Explanation{Verdict: "drop", Reason: "denied", Service: "narrow"}},
		{"denied by the service of the longer prefix", build(t, "tcp", "198.51.100.5:1", "192.0.2.53:53", 0),
			Explanation{Verdict: "drop", Reason: "denied", Service: "dns"}},
		{"a TTL of 1 to a prefix", with(build(t, "udp", client6, "[2001:db8:1::1]:9", 0), 14+7, 1),
			Explanation{Verdict: "drop", Reason: "ttl_expired", Service: "rest6"}},
		{"a wrong checksum", with(build(t, "tcp", client, "192.0.2.10:80", 0), 14+8, 63),
			Explanation{Verdict: "drop", Reason: "bad_checksum", Service: "web"}},
		{"no service for the protocol", build(t, "udp", client, "192.0.2.77:80", 0),
			Explanation{Verdict: "pass", Reason: "no_service"}},
		{"not ours", build(t, "tcp", client, "203.0.113.1:80", 0),
			Explanation{Verdict: "pass", Reason: "not_ours"}},
		{"not IP", with(build(t, "tcp", client, "192.0.2.10:80", 0), 13, 6),
			Explanation{Verdict: "pass", Reason: "not_ip"}},
		{"longer than XDP's page", build(t, "tcp", client, "192.0.2.10:80", 3072-54+1),
			Explanation{Verdict: "none", Reason: "not_run"}},
		{"shorter than Ethernet", make([]byte, 13),
			Explanation{Verdict: "none", Reason: "not_run"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := explained(t, n, c.frame, time.Time{})
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(Explanation{}),
				cmpopts.IgnoreFields(Explanation{}, "Packet", "Source", "Destination", "Protocol", "Why", "BytesIn", "Out")); diff != "" {
				t.Error(diff)
			}
			if got.Why == "" || got.BytesIn != len(c.frame) || (got.Verdict == "tx") != (len(got.Out) > 0) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestDeathMovesExactlyTheDeadBackendsFlows(t *testing.T) {
	cfg := parse(t, everything)
	before, after := newNode(t, cfg, Options{}), newNode(t, cfg, Options{Down: []string{"web/b2"}})
	owned := map[string]int{}
	for i := range 3000 {
		frame := build(t, "udp", fmt.Sprintf("198.51.100.%d:%d", 1+i%8, 1024+i), "192.0.2.10:443", 4)
		was, is := explained(t, before, frame, time.Time{}), explained(t, after, frame, time.Time{})
		owned[was.Backend]++
		if is.Backend == "b2" || was.Backend != "b2" && is.Backend != was.Backend {
			t.Fatalf("flow %d went to %s, and to %s once b2 was dead", i, was.Backend, is.Backend)
		}
	}
	for _, name := range []string{"b1", "b2", "b3"} {
		if owned[name] < 800 {
			t.Errorf("%s had %d of 3000 flows", name, owned[name])
		}
	}
}

func TestDownNamesABackendOfTheConfiguration(t *testing.T) {
	if n, err := New(parse(t, everything), Options{MTU: 1500, Down: []string{"dns/b2"}}); err == nil {
		t.Errorf("accepted, %v", n.Close())
	}
}

// The clock is the capture's: rates recover with it, and packets out of order do
// not turn it back.
func TestRatesFollowTheCapturesTimeWhichNeverRunsBackwards(t *testing.T) {
	n := newNode(t, parse(t, `
interfaces: [eth0]
services:
  - {name: web, vip: 192.0.2.10, port: 80, forward: l2, limits: {packets: {rate: 1, burst: 1}}, backends: [{address: 10.0.0.21}]}
`), Options{})
	frame := build(t, "tcp", "198.51.100.1:4242", "192.0.2.10:80", 0)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	other := build(t, "tcp", "198.51.100.1:4242", "192.0.2.10:81", 0)
	for _, c := range []struct {
		at    time.Duration
		frame []byte
		want  string
	}{
		{0, frame, "forwarded"},
		{time.Second - 1, frame, "service_rate"},
		{time.Second, frame, "forwarded"},
		{-time.Hour, frame, "service_rate"},
		{5 * time.Second, other, "no_service"},
		{time.Second + 1, frame, "forwarded"}, // 5 s later, as far as is known
	} {
		if got := explained(t, n, c.frame, start.Add(c.at)); got.Reason != c.want {
			t.Errorf("at %s: %s, want %s", c.at, got.Reason, c.want)
		}
	}
}

func TestFragmentsAreFollowedForTenSecondsOfTheCapture(t *testing.T) {
	n := newNode(t, parse(t, `
interfaces: [eth0]
services:
  - {name: web, vip: 192.0.2.10, port: 80, protocol: udp, forward: ipip, backends: [{address: 10.0.0.21}, {address: 10.0.0.22}]}
`), Options{})
	first := build(t, "udp", "198.51.100.1:4242", "192.0.2.10:80", 64)
	first[14+6], first[14+7] = 0x20, 0
	later := build(t, "udp", "198.51.100.1:4242", "192.0.2.10:80", 64)
	later[14+6], later[14+7] = 0, 9
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := explained(t, n, later, start); got.Reason != "fragment_unknown" {
		t.Errorf("without the first: %s", got.Reason)
	}
	chosen := explained(t, n, first, start)
	if got := explained(t, n, later, start.Add(9*time.Second)); got.Reason != "forwarded" || got.Backend != chosen.Backend || got.Protocol != "udp fragment" {
		t.Errorf("after 9 s: %s to %s, the first one went to %s", got.Reason, got.Backend, chosen.Backend)
	}
	if got := explained(t, n, later, start.Add(12*time.Second)); got.Reason != "fragment_unknown" {
		t.Errorf("after 12 s: %s", got.Reason)
	}
}
