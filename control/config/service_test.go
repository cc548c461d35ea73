package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// one returns the only service of a file that differs from service() in its
// fields; each replaces the line of its name or is put before it.
func one(t *testing.T, fields ...string) Service {
	t.Helper()
	text := service()
	for _, field := range fields {
		name, _, _ := strings.Cut(field, ":")
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			if strings.HasPrefix(line, "    "+name+":") {
				lines[i] = "    " + field
				field = ""
			}
		}
		if field != "" {
			lines[3] = "    " + field + "\n" + lines[3]
		}
		text = strings.Join(lines, "\n")
	}
	return parse(t, text).Services[0]
}

func TestPortsAreReadInEveryForm(t *testing.T) {
	for text, want := range map[string][]PortRange{
		"80":                 {{80, 80}},
		"[80]":               {{80, 80}},
		"8000-8999":          {{8000, 8999}},
		`"8000-8999"`:        {{8000, 8999}},
		"80-80":              {{80, 80}},
		"1-65535":            {{1, 65535}},
		"any":                {AnyPort},
		"[443, 1-80, 65535]": {{443, 443}, {1, 80}, {65535, 65535}},
	} {
		if diff := cmp.Diff(want, one(t, "port: "+text).Ports); diff != "" {
			t.Errorf("port: %s: %s", text, diff)
		}
	}
}

func TestAListOfPortsCanBeShared(t *testing.T) {
	c := parse(t, "interfaces: [e]\nservices:\n"+
		"  - {name: a, vip: 192.0.2.1, port: &p [80, 443], forward: l2, backends: [{address: 10.0.0.1}]}\n"+
		"  - {name: b, vip: 192.0.2.2, port: *p, forward: l2, backends: [{address: 10.0.0.1}]}\n")
	if diff := cmp.Diff(c.Services[0].Ports, c.Services[1].Ports); diff != "" {
		t.Error(diff)
	}
}

func TestAffinityIsReadInEveryForm(t *testing.T) {
	for _, tc := range []struct {
		vip, text string
		want      Affinity
	}{
		{"192.0.2.10", "flow", Affinity{}},
		{"192.0.2.10", "source", Affinity{true, 32}},
		{"192.0.2.0/24", "source", Affinity{true, 32}},
		{"2001:db8::a", "source", Affinity{true, 128}},
		{"192.0.2.10", "{source_prefix: 0}", Affinity{true, 0}},
		{"2001:db8::a", "{source_prefix: 128}", Affinity{true, 128}},
	} {
		if got := one(t, "vip: "+tc.vip, "affinity: "+tc.text).Affinity; got != tc.want {
			t.Errorf("%s to %s gives %v, not %v", tc.text, tc.vip, got, tc.want)
		}
	}
}

func TestFilterDeniesOthersWhenItOnlyAllows(t *testing.T) {
	for text, denies := range map[string]bool{
		"{allow: [10.0.0.0/8]}": true,
		"{allow: []}":           true,
		"{deny: [10.0.0.0/8]}":  false,
		"{deny: []}":            false,
		"{allow: [10.1.0.0/16], deny: [10.0.0.0/8]}":                false,
		"{allow: [10.1.0.0/16], deny: [10.0.0.0/8], default: deny}": true,
		"{default: allow, allow: [10.0.0.0/8]}":                     false,
	} {
		if got := one(t, "filter: "+text).Filter.DefaultDeny; got != denies {
			t.Errorf("%s: others are denied: %t", text, got)
		}
	}
}

func TestBurstIsATenthOfTheRateUnlessGiven(t *testing.T) {
	for text, want := range map[string]Rate{
		"{rate: 1000}":                   {1000, 100},
		"{rate: 1}":                      {1, 1},
		"{burst: 1, rate: 1000}":         {1000, 1},
		"{rate: 1, burst: 1000000000}":   {1, 1000000000},
		"{rate: 1000000000, burst: 200}": {1000000000, 200},
	} {
		if got := one(t, "limits: {packets: "+text+"}").Packets; *got != want {
			t.Errorf("%s gives %v", text, *got)
		}
	}
}

func TestGUEPortOfTheNodeIsTheDefaultWhereverItStands(t *testing.T) {
	for _, order := range []string{service("ipip", "gue") + "gue: {port: 5555}\n", "gue: {port: 5555}\n" + service("ipip", "gue")} {
		if got := parse(t, order).Services[0].GUEPort; got != 5555 {
			t.Errorf("the port is %d", got)
		}
	}
	if got := one(t, "forward: gue").GUEPort; got != 6080 {
		t.Errorf("without any, the port is %d", got)
	}
	if got := one(t, "forward: gue", "gue: {port: 1}").GUEPort; got != 1 {
		t.Errorf("the service's own port gives %d", got)
	}
}

func TestTunnelsMixFamilies(t *testing.T) {
	for _, forward := range []string{"ipip", "gre", "gue"} {
		for _, vip := range []string{"192.0.2.10", "2001:db8::a"} {
			s := one(t, "vip: "+vip, "forward: "+forward, "backends: [{address: 10.1.0.1}, {address: 2001:db8:1::1}]")
			if s.VIP != prefix(vip) || len(s.Backends) != 2 {
				t.Errorf("got %v", s)
			}
		}
	}
}

func TestHealthOfIPv6NamesTheVIPInBrackets(t *testing.T) {
	for vip, want := range map[string]string{"2001:db8::a": "[2001:db8::a]", "2001:db8::/64": "[2001:db8::]", "192.0.2.0/24": "192.0.2.0"} {
		if got := one(t, "vip: "+vip, "health: {http: {}}").Health.HTTP.Host; got != want {
			t.Errorf("the host of %s is %s", vip, got)
		}
	}
}

func TestHealthOfBothProtocolsChecksTheirPort(t *testing.T) {
	if got := one(t, "protocol: [udp, tcp]", "health: {tcp: {}}").Health.TCP.Port; got != 80 {
		t.Errorf("the port is %d", got)
	}
	if got := one(t, "port: any", "health: {tcp: {port: 8080}}").Health.TCP.Port; got != 8080 {
		t.Errorf("the port is %d", got)
	}
}

func TestServerIDsWithoutQUICAreForSharedLists(t *testing.T) {
	text := "interfaces: [e]\nservices:\n" +
		"  - {name: h3, vip: 192.0.2.1, port: 443, protocol: udp, forward: l2, quic: {server_id_length: 2}, backends: &b [{address: 10.0.0.1, server_id: 0a0b}]}\n" +
		"  - {name: h2, vip: 192.0.2.1, port: 443, forward: l2, backends: *b}\n"
	if id := parse(t, text).Services[1].Backends[0].ServerID; string(id) != "\x0a\x0b" {
		t.Errorf("the server ID is %x", id)
	}
}

func TestServicesOnOneAddressMayNestButNotCross(t *testing.T) {
	parse(t, more(
		"port: 81",
		"protocol: udp",
		"port: any",
		"port: any, protocol: udp",
		"port: 8000-8999",
		"port: [8000-8499, 8999]",
		"port: 8500-8600",
		"port: 1-65535",
		"vip: 192.0.2.0/24",
		"vip: 192.0.2.0/24, port: 8001-9001",
		"vip: 192.0.0.0/16, port: 8001-9001, protocol: [tcp, udp]",
	))
}

func TestServiceIsNamedForPeople(t *testing.T) {
	for want, s := range map[string]Service{
		"a (192.0.2.10:80/tcp)":                  {VIP: prefix("192.0.2.10"), Ports: []PortRange{{80, 80}}, Protocols: []Protocol{TCP}},
		"a ([2001:db8::a]:80,8000-8999/tcp,udp)": {VIP: prefix("2001:db8::a"), Ports: []PortRange{{80, 80}, {8000, 8999}}, Protocols: []Protocol{TCP, UDP}},
		"a (192.0.2.0/24:any/udp)":               {VIP: prefix("192.0.2.0/24"), Ports: []PortRange{AnyPort}, Protocols: []Protocol{UDP}},
		"a ([2001:db8::/64]:1,2,3,4/tcp)":        {VIP: prefix("2001:db8::/64"), Ports: []PortRange{{1, 1}, {2, 2}, {3, 3}, {4, 4}}, Protocols: []Protocol{TCP}},
		"a (192.0.2.10:1,2,3,.../tcp)":           {VIP: prefix("192.0.2.10"), Ports: make5(), Protocols: []Protocol{TCP}},
	} {
		s.Name = "a"
		if got := s.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func make5() []PortRange { return []PortRange{{1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}} }

func TestValidateJudgesWhatNoFileCanSay(t *testing.T) {
	for want, spoil := range map[string]func(c *Config, s *Service){
		"services[0].vip: the address is missing: " + wantVIP.remedy:                             func(_ *Config, s *Service) { s.VIP = netip.Prefix{} },
		"services[0].port: the port is missing: " + wantPorts.remedy:                             func(_ *Config, s *Service) { s.Ports = nil },
		"services[0].protocol: the protocol is missing: " + wantProtocol.remedy:                  func(_ *Config, s *Service) { s.Protocols = nil },
		"services[0].forward: \"\" is not a forwarding mode: " + wantForward.remedy:              func(_ *Config, s *Service) { s.Forward = "" },
		"services[0].gue.port: port 0 is reserved and no tunnel can end there: write 1 to 65535": func(_ *Config, s *Service) { s.Forward = GUE },
		"services[0].mss: 87 is not a segment size: write 88 to 65535":                           func(_ *Config, s *Service) { s.MSS = 87 },
		"services[0].filter.allow[0]: the prefix is missing: " + wantPrefix.remedy:               func(_ *Config, s *Service) { s.Filter = &Filter{Allow: make([]netip.Prefix, 1)} },
		"services[0].quic.server_id_length: 9 is not a length of server IDs: write 1 to 8":       func(_ *Config, s *Service) { s.Protocols[0] = UDP; s.QUIC[3] = 9 },
		"deny[0]: 10.0.0.1/8 has bits set behind its length: write 10.0.0.0/8, or 10.0.0.1 for the one address": func(c *Config, _ *Service) {
			c.Deny = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}
		},
		"services[0].filter.deny[0]: 10.0.0.0/8 is allowed as well: keep one of them": func(_ *Config, s *Service) {
			s.Filter = &Filter{Allow: []netip.Prefix{prefix("10.0.0.0/8")}, Deny: []netip.Prefix{prefix("10.0.0.0/8")}}
		},
		"services[0].quic.server_id_length: 2 for config rotation 3 differs from 1 for those before: give all rotations the same length": func(_ *Config, s *Service) {
			s.Protocols, s.QUIC = []Protocol{UDP}, [Rotations]uint8{1: 1, 3: 2}
		},
	} {
		c := parse(t, service())
		c.File = ""
		spoil(c, &c.Services[0])
		if err := c.Validate(); fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
