package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

func TestFiltersAnswerTheSourcesThatTheyAllow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "denied.txt")
	must(t, os.WriteFile(file, []byte(manyPrefixes()+"198.18.5.0/24 # the last\n2001:db8:c:5::/64\n"), 0o600))
	filters := []struct {
		filter          string
		allows, allows6 string // a source each
		denies, denies6 string
	}{
		{filter: `{allow: [198.18.1.0/24, "2001:db8:c:1::/64"]}`,
			allows: "198.18.1.1", allows6: "2001:db8:c:1::1", denies: "198.18.2.1", denies6: "2001:db8:c:2::1"},
		{filter: `{deny: [198.18.1.0/24, "2001:db8:c:1::/64"]}`,
			allows: "198.18.2.1", allows6: "2001:db8:c:2::1", denies: "198.18.1.255", denies6: "2001:db8:c:1:ffff::"},
		{filter: `{deny: [198.18.0.0/16, "2001:db8:c::/48"], allow: [198.18.7.128/25, "2001:db8:c:7:8000::/65"]}`,
			allows: "198.18.7.128", allows6: "2001:db8:c:7:8000::", denies: "198.18.7.127", denies6: "2001:db8:c:7:7fff::"},
		{filter: `{allow: [198.18.3.3, "2001:db8:c:3::3"], deny: [203.0.113.1], default: deny}`,
			allows: "198.18.3.3", allows6: "2001:db8:c:3::3", denies: "198.18.3.4", denies6: "2001:db8:c:3::4"},
		{filter: fmt.Sprintf(`{deny_file: %q}`, file),
			allows: "198.18.4.1", allows6: "2001:db8:c:4::1", denies: "198.18.5.1", denies6: "2001:db8:c:5::1"},
	}
	all := append(vips(testenv.DefaultVIP, len(filters)), vips(testenv.DefaultVIP6, len(filters))...)
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: all, Decap: decap})
	var services []string
	for i, vip := range all {
		settings := fmt.Sprintf("vip: %q, port: 80, forward: ipip, filter: %s", vip, filters[i%len(filters)].filter)
		services = append(services, service(fmt.Sprintf("web%d", i), settings, over4(lab.Backends...)))
	}
	node := start(t, lab, configOf(lab, `deny: [198.18.99.0/24, "2001:db8:c:99::/64"]`, services...))
	for i, f := range filters {
		t.Run(f.filter, func(t *testing.T) {
			for vip, from := range map[netip.Addr][2]string{all[i]: {f.allows, f.denies}, all[len(filters)+i]: {f.allows6, f.denies6}} {
				_, err := lab.Get(deadline(t), port80(vip), source(from[0]))
				must(t, err)
				wantRefused(t, lab, node, "denied", port80(vip), source(from[1]))
			}
		})
	}
	t.Run("the node's own list comes first", func(t *testing.T) {
		wantRefused(t, lab, node, "denied_by_node", port80(all[1]), source("198.18.99.1"))
		wantRefused(t, lab, node, "denied_by_node", port80(all[len(filters)+1]), source("2001:db8:c:99::1"))
	})
	wantNoOtherReasons(t, node, "denied", "denied_by_node")
}

// manyPrefixes are the lines of a long file, with nothing in them that a lab's client is.
func manyPrefixes() string {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "100.64.%d.%d\n", i/250, 1+i%250)
	}
	return b.String()
}

func source(addr string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(addr), 4242) }

// wantRefused wants a connection's first segment to be dropped for a reason, and counted once.
func wantRefused(t *testing.T, lab *testenv.Lab, node *testenv.Node, reason string, to, from netip.AddrPort) {
	t.Helper()
	before := reasons(t, node)[reason]
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := lab.Get(ctx, to, from)
		result <- err
	}()
	wantReason(t, node, reason, before+1)
	cancel()
	if <-result == nil {
		t.Errorf("%s is answered at %s", from, to)
	}
}

// No limit is below one a second, so that more than the burst may pass where a test takes long.
func wantBurst(t *testing.T, passed, burst int, begin time.Time) {
	t.Helper()
	if most := burst + int(time.Since(begin)/time.Second) + 1; passed < burst || passed > most {
		t.Errorf("%d passed, want %d, and at most %d after so long", passed, burst, most)
	}
}

func TestNewConnectionsOfASourceAreCutAtTheirBurst(t *testing.T) {
	const burst, more = 10, 40
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: bothVIPs, Backends: 1, Decap: decap})
	const settings = "port: [80, 81], forward: ipip, limits: {new_connections_per_source: {rate: 1, burst: 10}}"
	node := start(t, lab, configOf(lab, "",
		service("four", "vip: 192.0.2.10, "+settings, over4(lab.Backends...)),
		service("six", `vip: "2001:db8:2::10", `+settings, over4(lab.Backends...))))
	tap := openTap(t, lab.LBPeers[0].NS, lab.LBPeers[0].Interface)
	for _, c := range []struct {
		vip                  netip.Addr
		from, sharing, other string
	}{
		{vip: testenv.DefaultVIP, from: "198.18.0.1", sharing: "198.18.0.1", other: "198.18.0.2"},
		{vip: testenv.DefaultVIP6, from: "2001:db8:c::1", sharing: "2001:db8:c:0:ffff::2", other: "2001:db8:c:1::1"},
	} {
		t.Run(c.vip.String(), func(t *testing.T) {
			before, begin := reasons(t, node)["source_rate"], time.Now()
			for i := range uint16(burst) {
				_, err := lab.Get(deadline(t), port80(c.vip), netip.AddrPortFrom(netip.MustParseAddr(c.from), 20000+i))
				must(t, err)
			}
			for i := range uint16(more) {
				inject(t, lab, opening(t, lab, netip.AddrPortFrom(netip.MustParseAddr(c.sharing), 30000+i), silent(c.vip)))
			}
			// Another source is none of it, and its segment comes out behind those that passed.
			inject(t, lab, opening(t, lab, netip.AddrPortFrom(netip.MustParseAddr(c.other), 9), silent(c.vip)))
			passed := segmentsBefore(t, tap, 9)
			_, err := lab.Get(deadline(t), port80(c.vip), source(c.other))
			must(t, err)
			wantReason(t, node, "source_rate", before+uint64(more-passed))
			wantBurst(t, burst+passed, burst, begin)
		})
	}
	wantNoOtherReasons(t, node, "source_rate")
}

// opening is a frame to the balancer with a connection's first segment.
func opening(t *testing.T, lab *testenv.Lab, from, to netip.AddrPort) []byte {
	t.Helper()
	if to.Addr().Is6() {
		ip := ipv6(from.Addr(), to.Addr(), layers.IPProtocolTCP)
		return frame(t, toLB(t, lab, layers.EthernetTypeIPv6), ip, syn(ip, from.Port(), to.Port()))
	}
	ip := ipv4(from.Addr(), to.Addr(), layers.IPProtocolTCP)
	return frame(t, toLB(t, lab, layers.EthernetTypeIPv4), ip, syn(ip, from.Port(), to.Port()))
}

// segmentsBefore counts the segments to the silent port that the balancer sent until one from a port.
func segmentsBefore(t *testing.T, tap *testenv.Tap, last layers.TCPPort) int {
	t.Helper()
	count := 0
	_, err := tap.Find(deadline(t), "the last segment", func(f testenv.Frame) bool {
		segment := header[*layers.TCP](decode(f))
		if f.Outgoing || len(segment) == 0 || segment[0].DstPort != 81 {
			return false
		}
		if segment[0].SrcPort == last {
			return true
		}
		count++
		return false
	})
	must(t, err)
	return count
}

func TestPacketsOfAServiceAreCutAtTheirBurst(t *testing.T) {
	const burst, sent = 20, 60
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: bothVIPs, Backends: 1, Decap: decap})
	const settings = "port: 80, protocol: udp, forward: ipip"
	node := start(t, lab, configOf(lab, "",
		service("limited", "vip: 192.0.2.10, "+settings+", limits: {packets: {rate: 1, burst: 20}}", over4(lab.Backends...)),
		service("free", `vip: "2001:db8:2::10", `+settings, over4(lab.Backends...))))
	begin := time.Now()
	c, err := lab.Client.Dial(deadline(t), "udp", testenv.Sources(1)[0], port80(testenv.DefaultVIP))
	must(t, err)
	defer c.Close()
	for range sent {
		_, err := c.Write(payload)
		must(t, err)
	}
	var passed int
	must(t, node.WaitFor(deadline(t), "every datagram to be counted", func(s control.Status) error {
		passed = int(s.Services[0].Traffic.Packets)
		if dropped := int(s.Reasons["service_rate"].Packets); passed+dropped != sent {
			return fmt.Errorf("%d forwarded and %d dropped", passed, dropped)
		}
		return nil
	}))
	wantBurst(t, passed, burst, begin)
	end, _ := deadline(t).Deadline()
	must(t, c.SetDeadline(end))
	for range passed {
		_, err := c.Read(make([]byte, 1000))
		must(t, err)
	}
	_, err = lab.Ask(deadline(t), port80(testenv.DefaultVIP6), testenv.SourcesFor(testenv.DefaultVIP6, 1)[0])
	must(t, err)
	wantNoOtherReasons(t, node, "service_rate")
}
