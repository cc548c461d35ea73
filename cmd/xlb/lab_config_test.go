package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// configOf is a configuration for a lab's balancer: the node's settings, one in a line, and services.
func configOf(lab *testenv.Lab, node string, services ...string) string {
	return fmt.Sprintf("interfaces: [%s]\n%s\nservices:\n%s", strings.Join(lab.LBInterfaces, ", "), node, strings.Join(services, ""))
}

// service is a service of a configuration. The settings are all but its name, health check and backends.
func service(name, settings string, backends []string) string {
	const health = "{target: address, http: {path: /healthz, port: 80}, interval: 100ms, timeout: 2s, rise: 1, fall: 2}"
	return fmt.Sprintf("  - {name: %s, %s, health: %s, backends: [%s]}\n", name, settings, health, strings.Join(backends, ", "))
}

// over4 are the backends of a service that are reached by their IPv4 addresses.
func over4(backends ...*testenv.Backend) []string {
	return over(backends, func(b *testenv.Backend) netip.Addr { return b.Addr })
}

// over6 are the backends of a service that are reached by their IPv6 addresses.
func over6(backends ...*testenv.Backend) []string {
	return over(backends, func(b *testenv.Backend) netip.Addr { return b.Addr6 })
}

func over(backends []*testenv.Backend, addr func(*testenv.Backend) netip.Addr) []string {
	items := make([]string, len(backends))
	for i, b := range backends {
		items[i] = fmt.Sprintf("{name: %s, address: %q}", b.Name(), addr(b))
	}
	return items
}

// vips are n IPv4 addresses, or IPv6 ones.
func vips(first netip.Addr, n int) []netip.Addr {
	all := make([]netip.Addr, n)
	for i := range all {
		all[i] = first
		first = first.Next()
	}
	return all
}

// port80 is the HTTP and UDP server of a lab's backends on a VIP.
func port80(vip netip.Addr) netip.AddrPort { return netip.AddrPortFrom(vip, testenv.DefaultPort) }

// wantSpread has n sources get from a VIP and wants each of the backends to answer some, and always the same.
func wantSpread(t *testing.T, lab *testenv.Lab, vip netip.Addr, n int, backends []*testenv.Backend) {
	t.Helper()
	owners := wantOwners(t, lab, vip, testenv.SourcesFor(vip, n))
	count := map[string]int{}
	for _, b := range owners {
		count[b]++
	}
	for _, b := range backends {
		if count[b.Name()] == 0 {
			t.Errorf("%s answered none of %d requests", b.Name(), n)
		}
	}
	if len(count) != len(backends) {
		t.Errorf("requests were answered by %v, want %d backends", count, len(backends))
	}
}

func wantOwners(t *testing.T, lab *testenv.Lab, vip netip.Addr, sources []netip.AddrPort) map[netip.AddrPort]string {
	t.Helper()
	owners, err := lab.Owners(deadline(t), port80(vip), sources)
	must(t, err)
	return owners
}

// wantReason waits until exactly so many packets have left for a reason, and no more.
func wantReason(t *testing.T, node *testenv.Node, reason string, want uint64) {
	t.Helper()
	err := node.WaitFor(deadline(t), fmt.Sprintf("%d packets to leave as %s", want, reason), func(s control.Status) error {
		if got := s.Reasons[reason].Packets; got < want {
			return fmt.Errorf("%d so far", got)
		}
		return nil
	})
	must(t, err)
	if got := reasons(t, node)[reason]; got != want {
		t.Errorf("%d packets left as %s, want %d", got, reason, want)
	}
}

// reasons are the numbers of packets that left for each reason.
func reasons(t *testing.T, node *testenv.Node) map[string]uint64 {
	t.Helper()
	status, err := node.Status(deadline(t))
	must(t, err)
	count := map[string]uint64{}
	for name, traffic := range status.Reasons {
		count[name] = traffic.Packets
	}
	return count
}

// wantNoOtherReasons wants no packet to have left but for these reasons, and those of the nodes' own chatter.
func wantNoOtherReasons(t *testing.T, node *testenv.Node, allowed ...string) {
	t.Helper()
	count := reasons(t, node)
	for _, name := range append(allowed, "forwarded", "not_ours", "not_ip") {
		delete(count, name)
	}
	if len(count) > 0 {
		t.Errorf("packets left for reasons that nothing in this lab gives: %v", count)
	}
}
