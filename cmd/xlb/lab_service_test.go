package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/testenv"
)

func TestMostSpecificServiceWins(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: 6, Decap: decap})
	net4, net6 := netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:113::/48")
	for _, b := range lab.Backends {
		must(t, b.AddLocalPrefix(net4))
		must(t, b.AddLocalPrefix(net6))
	}
	must(t, lab.Router.AddRoute(net4, lab.LBAddr))
	must(t, lab.Router.AddRoute(net6, lab.LBAddr6))
	var services []string
	for name, settings := range map[string]string{
		// The number is that of the only backend.
		"all-1":   `vip: "%s", port: any, protocol: [tcp, udp], forward: ipip`,
		"half-2":  `vip: "%s", port: [1-1023, 8080], protocol: [tcp, udp], forward: gre`,
		"host-3":  `vip: "%s", port: any, protocol: tcp, forward: gue`,
		"list-4":  `vip: "%s", port: [80, 443, 8000-8999], protocol: [tcp, udp], forward: ipip`,
		"range-5": `vip: "%s", port: 8100-8199, protocol: [tcp, udp], forward: ipip`,
		"port-6":  `vip: "%s", port: 8150, protocol: udp, forward: ipip`,
	} {
		b := lab.Backends[name[len(name)-1]-'1']
		vip4, vip6 := "203.0.113.77", "2001:db8:113::77"
		if strings.HasPrefix(name, "all") {
			vip4, vip6 = net4.String(), net6.String()
		}
		if strings.HasPrefix(name, "half") {
			vip4, vip6 = "203.0.113.64/26", "2001:db8:113::/64"
		}
		services = append(services,
			service(name+"-v4", fmt.Sprintf(settings, vip4), over4(b)),
			service(name+"-v6", fmt.Sprintf(settings, vip6), over6(b)))
	}
	node := start(t, lab, configOf(lab, "", services...))

	for _, c := range []struct {
		at4, at6 string
		port     uint16
		tcp, udp int // the number of the backend
	}{
		{"203.0.113.1", "2001:db8:113:1::", 1, 1, 1},
		{"203.0.113.255", "2001:db8:113:ffff::1", 65535, 1, 1},
		{"203.0.113.63", "2001:db8:113:1::64", 80, 1, 1},
		{"203.0.113.64", "2001:db8:113::64", 80, 2, 2},
		{"203.0.113.127", "2001:db8:113::ffff", 1023, 2, 2},
		{"203.0.113.127", "2001:db8:113::ffff", 1024, 1, 1}, // the shorter prefix has the port
		{"203.0.113.64", "2001:db8:113::64", 8080, 2, 2},
		{"203.0.113.77", "2001:db8:113::77", 80, 4, 4},
		{"203.0.113.77", "2001:db8:113::77", 81, 3, 2}, // the host has no such service over UDP
		{"203.0.113.77", "2001:db8:113::77", 1024, 3, 1},
		{"203.0.113.77", "2001:db8:113::77", 8000, 4, 4},
		{"203.0.113.77", "2001:db8:113::77", 8099, 4, 4},
		{"203.0.113.77", "2001:db8:113::77", 8100, 5, 5},
		{"203.0.113.77", "2001:db8:113::77", 8150, 5, 6},
		{"203.0.113.77", "2001:db8:113::77", 8199, 5, 5},
		{"203.0.113.77", "2001:db8:113::77", 8200, 4, 4},
		{"203.0.113.77", "2001:db8:113::77", 9000, 3, 1},
	} {
		for _, addr := range []string{c.at4, c.at6} {
			at := netip.AddrPortFrom(netip.MustParseAddr(addr), c.port)
			for _, b := range lab.Backends {
				serveName(t, b, at)
			}
			from := testenv.SourcesFor(at.Addr(), 1)[0]
			for network, number := range map[string]int{"tcp": c.tcp, "udp": c.udp} {
				if got, want := nameOver(t, lab, network, from, at), lab.Backends[number-1].Name(); got != want {
					t.Errorf("%s/%s is served by %s, want %s", at, network, got, want)
				}
			}
		}
	}
	must(t, lab.Client.Ping(deadline(t), netip.MustParseAddr("203.0.113.200")))
	must(t, lab.Client.Ping(deadline(t), netip.MustParseAddr("2001:db8:113:5::5")))
	wantNoOtherReasons(t, node, "echo_replied")
}

// manyServices are 2,000 services of both families and protocols on the same backends, in two prefixes.
func manyServices(lab *testenv.Lab, prefix4, prefix6 netip.Prefix) (config string, at []netip.AddrPort) {
	const count = 1000
	addr4, addr6 := prefix4.Addr(), prefix6.Addr()
	b := new(strings.Builder)
	fmt.Fprintf(b, "interfaces: [eth0]\nlimits: {services: %d, listeners: %d, backends: %d, slots: 8198000}\nservices:\n",
		2*count, 4*count, 2*count*len(lab.Backends))
	for i := range count {
		// An address of the next 100 ports each, so that both tables are large.
		port := 8000 + i%10
		if i%10 == 0 {
			addr4, addr6 = addr4.Next(), addr6.Next()
		}
		for _, vip := range []netip.Addr{addr4, addr6} {
			at = append(at, netip.AddrPortFrom(vip, uint16(port)))
			fmt.Fprintf(b, "  - {name: s%d, vip: %q, port: %d, protocol: [tcp, udp], forward: ipip, backends: [%s]}\n",
				len(at), vip, port, strings.Join(over4(lab.Backends...), ", "))
		}
	}
	return b.String(), at
}

func TestThousandsOfServicesAreServedAndTooSmallTablesAreRefusedFirst(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	prefix4, prefix6 := netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:113::/64")
	for _, b := range lab.Backends {
		must(t, b.AddLocalPrefix(prefix4))
		must(t, b.AddLocalPrefix(prefix6))
	}
	must(t, lab.Router.AddRoute(prefix4, lab.LBAddr))
	must(t, lab.Router.AddRoute(prefix6, lab.LBAddr6))
	config, at := manyServices(lab, prefix4, prefix6)

	for limit, few := range map[string][2]string{
		"limits.services":  {"services: 2000", "services: 1999"},
		"limits.listeners": {"listeners: 4000", "listeners: 3999"},
		"limits.backends":  {"backends: 6000", "backends: 5999"},
		"limits.slots":     {"slots: 8198000", "slots: 8197999"}, // 2,000 tables of the default size
	} {
		out := refusal(t, lab, strings.Replace(config, few[0], few[1], 1))
		if !strings.Contains(out, limit) || strings.Contains(out, "attached") {
			t.Errorf("with %s it says:\n%s", few[1], out)
		}
	}

	node := start(t, lab, config)
	met := map[string]bool{}
	for i := 0; i < len(at); i += 77 { // coprime to what the list repeats by
		for _, b := range lab.Backends {
			serveName(t, b, at[i])
		}
		for j, network := range []string{"tcp", "udp"} {
			from := testenv.SourcesFor(at[i].Addr(), 2)[j]
			met[nameOver(t, lab, network, from, at[i])] = true
		}
	}
	if len(met) != len(lab.Backends) {
		t.Errorf("the services are served by %v, want all backends", met)
	}
	wantNoOtherReasons(t, node)
}
