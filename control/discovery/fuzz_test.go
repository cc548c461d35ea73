package discovery

import (
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/xlb-project/xlb/control/config"
)

// FuzzAnswer takes any message of a name server for an answer. Whatever it is, what comes out can be a backend.
func FuzzAnswer(f *testing.F) {
	for _, records := range [][]string{
		{"web.example.org. 60 IN A 10.0.0.1", "web.example.org. 60 IN A 127.0.0.1", "web.example.org. 60 IN AAAA ::1"},
		{"web.example.org. 60 IN CNAME a.example.org.", "a.example.org. 60 IN CNAME web.example.org."},
		{"web.example.org. 60 IN SRV 1 2 3 a.example.org.", "web.example.org. 60 IN SRV 1 65535 3 ."},
		{},
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			wire, err := reply(new(dns.Msg).SetQuestion("web.example.org.", qtype), records).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(wire, qtype)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte, qtype uint16) {
		m := new(dns.Msg)
		if m.Unpack(wire) != nil || check(new(dns.Msg).SetQuestion("web.example.org.", qtype), m) != nil {
			return
		}
		a, err := read(m)
		if err != nil {
			return
		}
		rules := palette()
		backends := backendsOf(choose(a.srvs, 0), map[string][]netip.Addr{"a.example.org.": a.addrs, ".": a.addrs})
		for _, addr := range a.addrs {
			backends = append(backends, backendsOf([]*dns.SRV{{Target: "b.", Weight: 1}}, map[string][]netip.Addr{"b.": {addr}})...)
		}
		checkFit(t, rules, backends)
	})
}

// checkFit checks that what can be made of backends can be used.
func checkFit(t *testing.T, rules rules, backends []config.Backend) {
	fit, _ := rules.fit(backends)
	names, addrs := map[string]bool{}, map[netip.Addr]bool{}
	for _, b := range fit {
		if err := rules.service.Accepts(b); err != nil || names[b.Name] || addrs[b.Address] {
			t.Fatalf("backend %+v of %+v (error: %v)", b, fit, err)
		}
		names[b.Name], addrs[b.Address] = true, true
	}
}

// FuzzFile reads any file. Either it is refused, or what comes out can be a backend.
func FuzzFile(f *testing.F) {
	for _, text := range []string{one, two, "[]", "- 10.0.0.1", `[{"address": "fd00::1", "name": "x", "weight": 1000}]`, "- {address: 127.0.0.1}\n- {address: 10.0.0.1}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if backends, err := config.ParseBackends("backends.yaml", data, 1); err == nil {
			checkFit(t, palette(), backends)
		}
	})
}
