package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// minimal is the shape that README and documentation promise.
const minimal = `interfaces: [eth0]
services:
  - name: web
    vip: 192.0.2.10
    port: 80
    protocol: tcp
    forward: ipip          # or l2
    health: {http: {path: /healthz}}
    backends: [{address: 10.1.0.1}, {address: 10.1.0.2, weight: 50}]
`

// addresses lets cmp compare netip values, whose fields it cannot see.
var addresses = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})

// at is a place in the configuration's own file.
func at(line, column int) Position { return Position{Line: line, Column: column} }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// prefix returns the prefix s, or the one that holds the address s alone.
func prefix(s string) netip.Prefix {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p
	}
	return netip.PrefixFrom(addr(s), addr(s).BitLen())
}

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("xlb.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMinimalFileGetsAllDefaults(t *testing.T) {
	want := &Config{
		File:       "xlb.yaml",
		Instance:   "default",
		StateDir:   "/var/lib/xlb",
		DeadDaemon: DeadDaemon{Action: Keep},
		Flows:      Flows{15 * time.Minute, 30 * time.Second, time.Hour},
		Interfaces: []Interface{{"eth0", at(1, 14)}},
		XDPMode:    Native,
		HashKey:    [16]byte{0x78, 0x6c, 0x62, 0x20, 0x64, 0x65, 0x66, 0x61, 0x75, 0x6c, 0x74, 0x20, 0x6b, 0x65, 0x79, 0x21},
		Metrics:    Metrics{netip.MustParseAddrPort("127.0.0.1:9480")},
		API:        API{"/run/xlb/xlb.sock", "xlb", ReadGroup},
		GUE:        GUESettings{Port: 6080, IPv6Checksum: true},
		ICMP:       ICMP{Echo: EchoReply, TooBigRate: 1000},
		Limits: Limits{Services: 1024, Listeners: 16384, Backends: 16384, Slots: 8388608,
			Rules: 65536, Sources: 65536, Fragments: 65536, ServerIDs: 16384, Flows: 1048576},
		Services: []Service{{
			Name:      "web",
			VIP:       prefix("192.0.2.10"),
			Ports:     []PortRange{{80, 80}},
			Protocols: []Protocol{TCP},
			Forward:   IPIP,
			Tracking:  TrackChange,
			Health: &Health{
				HTTP:     &HTTPCheck{Method: "GET", Path: "/healthz", Port: 80, Host: "192.0.2.10"},
				Target:   TargetVIP,
				Interval: 2 * time.Second, FastInterval: 500 * time.Millisecond,
				Timeout: time.Second,
				Rise:    2,
				Fall:    3,
			},
			Backends: []Backend{
				{Name: "10.1.0.1", Address: addr("10.1.0.1"), Weight: 100, At: at(9, 16)},
				{Name: "10.1.0.2", Address: addr("10.1.0.2"), Weight: 50, At: at(9, 37)},
			},
			At: at(3, 5),
		}},
	}
	if diff := cmp.Diff(want, parse(t, minimal), addresses); diff != "" {
		t.Error(diff)
	}
}

func TestEveryFieldIsRead(t *testing.T) {
	got := parse(t, `
interfaces:
  - eth0
  - bond0.12
xdp_mode: generic
hash_key: 00112233445566778899001122334455
metrics: {listen: "[::1]:9000"}
api: {socket: /tmp/xlb.sock}
source: {ipv4: 10.0.0.1, ipv6: 2001:db8::1, ipip_ipv4: 172.31.0.0/16, ipip_ipv6: 100::/96}
gue: {port: 5555, ipv6_checksum: false}
icmp: {echo: pass, too_big_rate: 1}
fragments: {orphans: pass}
verify_checksum: true
deny: [198.51.100.0/24, 2001:db8:bad::/48, 203.0.113.7]
gateway_mac: 02:00:00:00:00:01
limits: {services: 2, listeners: 5, backends: 3, slots: 200, rules: 6, sources: 7, fragments: 8, server_ids: 2}
services:
  - health:
      timeout: 100ms
      interval: 200ms
      fall: 1
      rise: 100
      http: {path: "/a?b=c", port: 8080, host: "example.org:8080", status: [200, 404]}
    backends:
      - {address: 10.1.0.1, weight: 1000, name: first, server_id: "0a0B", mac: "02:00:00:00:00:0A"}
    quic: {config_rotation: [0, 6], server_id_length: 2}
    mss: 1400
    limits: {packets: {rate: 1000000, burst: 7}, new_connections_per_source: {rate: 100}}
    filter: {deny: [10.0.0.0/8], allow: [10.1.0.0/16, 10.1.2.3/32], default: deny}
    affinity: {source_prefix: 48}
    slots: 101
    gue: {port: 6081}
    forward: gue
    protocol: [udp, tcp]
    port: [443, "8000-8999"]
    vip: 2001:db8:1::/64
    name: dns_1.a-b
`)
	want := &Config{
		File:       "xlb.yaml",
		Instance:   "default",
		StateDir:   "/var/lib/xlb",
		DeadDaemon: DeadDaemon{Action: Keep},
		Flows:      Flows{15 * time.Minute, 30 * time.Second, time.Hour},
		Interfaces: []Interface{{"eth0", at(3, 5)}, {"bond0.12", at(4, 5)}},
		XDPMode:    Generic,
		HashKey:    [16]byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55},
		Metrics:    Metrics{netip.MustParseAddrPort("[::1]:9000")},
		API:        API{"/tmp/xlb.sock", "xlb", ReadGroup},
		Source: Source{IPv4: addr("10.0.0.1"), IPv6: addr("2001:db8::1"),
			IPIPv4: prefix("172.31.0.0/16"), IPIPv6: prefix("100::/96")},
		GUE:            GUESettings{Port: 5555},
		ICMP:           ICMP{Echo: EchoPass, TooBigRate: 1},
		PassOrphans:    true,
		VerifyChecksum: true,
		Deny:           []netip.Prefix{prefix("198.51.100.0/24"), prefix("2001:db8:bad::/48"), prefix("203.0.113.7/32")},
		GatewayMAC:     MAC{2, 0, 0, 0, 0, 1},
		Limits:         Limits{Services: 2, Listeners: 5, Backends: 3, Slots: 200, Rules: 6, Sources: 7, Fragments: 8, ServerIDs: 2, Flows: 1048576},
		Services: []Service{{
			Name:      "dns_1.a-b",
			VIP:       prefix("2001:db8:1::/64"),
			Ports:     []PortRange{{443, 443}, {8000, 8999}},
			Protocols: []Protocol{UDP, TCP},
			Forward:   GUE,
			GUEPort:   6081,
			Tracking:  TrackChange,
			Slots:     101,
			Affinity:  Affinity{BySource: true, Bits: 48},
			Filter: &Filter{
				Allow:       []netip.Prefix{prefix("10.1.0.0/16"), prefix("10.1.2.3/32")},
				Deny:        []netip.Prefix{prefix("10.0.0.0/8")},
				DefaultDeny: true,
			},
			NewConnections: &Rate{PerSecond: 100, Burst: 10},
			Packets:        &Rate{PerSecond: 1000000, Burst: 7},
			MSS:            1400,
			QUIC:           [Rotations]uint8{0: 2, 6: 2},
			Health: &Health{
				HTTP:     &HTTPCheck{Method: "GET", Path: "/a?b=c", Port: 8080, Host: "example.org:8080", Status: []int{200, 404}},
				Target:   TargetVIP,
				Interval: 200 * time.Millisecond, FastInterval: 50 * time.Millisecond,
				Timeout: 100 * time.Millisecond,
				Rise:    100,
				Fall:    1,
			},
			Backends: []Backend{{"first", addr("10.1.0.1"), 1000, []byte{10, 11}, MAC{2, 0, 0, 0, 0, 10}, at(25, 9)}},
			At:       at(18, 5),
		}},
	}
	if diff := cmp.Diff(want, got, addresses); diff != "" {
		t.Error(diff)
	}
}

func TestHealthDefaultsFollowTheService(t *testing.T) {
	for name, tc := range map[string]struct {
		health string
		want   *Health
	}{
		"absent": {"", nil},
		"tcp":    {"tcp: {}", &Health{TCP: &TCPCheck{80}, Target: TargetVIP, Interval: 2 * time.Second, FastInterval: 500 * time.Millisecond, Timeout: time.Second, Rise: 2, Fall: 3}},
		"short interval": {"tcp: {port: 81}, interval: 500ms",
			&Health{TCP: &TCPCheck{81}, Target: TargetVIP, Interval: 500 * time.Millisecond, FastInterval: 125 * time.Millisecond, Timeout: time.Second, Rise: 2, Fall: 3}},
		"one status": {"http: {status: 204}",
			&Health{HTTP: &HTTPCheck{Method: "GET", Path: "/", Port: 80, Host: "192.0.2.1", Status: []int{204}}, Target: TargetVIP, Interval: 2 * time.Second, FastInterval: 500 * time.Millisecond, Timeout: time.Second, Rise: 2, Fall: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			health := tc.health
			if health != "" {
				health = "health: {" + health + "}, "
			}
			c := parse(t, "interfaces: [e]\nservices: [{"+health+
				"name: a, vip: 192.0.2.1, port: 80, forward: l2, backends: [{address: 10.1.0.1}]}]\n")
			if diff := cmp.Diff(tc.want, c.Services[0].Health, addresses); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMetricsCanBeOff(t *testing.T) {
	for _, text := range []string{"off", `""`, `"off"`} {
		c := parse(t, "interfaces: [e]\nservices: []\nmetrics: {listen: "+text+"}\n")
		if c.Metrics.Listen.IsValid() {
			t.Errorf("listen: %s gives %s", text, c.Metrics.Listen)
		}
	}
}

func TestAliasesStandForTheirValues(t *testing.T) {
	c := parse(t, `interfaces: [eth0]
services:
  - {name: a, vip: 192.0.2.1, port: 80, forward: l2, health: &check {http: {path: /up}}, backends: &pool [{address: 10.1.0.1}]}
  - {name: b, vip: 192.0.2.1, port: 81, forward: l2, health: *check, backends: *pool}
`)
	a, b := c.Services[0], c.Services[1]
	if diff := cmp.Diff(a.Backends, b.Backends, addresses); diff != "" {
		t.Error(diff)
	}
	if b.Health.HTTP.Path != "/up" || b.Health.HTTP.Port != 81 {
		t.Errorf("the check of b asks for %s on port %d", b.Health.HTTP.Path, b.Health.HTTP.Port)
	}
}

func TestDocumentedSamplesParse(t *testing.T) {
	doc, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	samples := strings.Split(string(doc), "```yaml\n")[1:]
	if len(samples) < 2 {
		t.Fatalf("%d samples found", len(samples))
	}
	for _, s := range samples {
		s, _, _ = strings.Cut(s, "```")
		parse(t, s)
	}
	if first, _, _ := strings.Cut(samples[0], "```"); first != minimal {
		t.Errorf("the first sample is not the minimal file:\n%s", first)
	}
}

func TestLoadNamesTheMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xlb.yaml")
	_, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestLoadNamesTheFileInProblems(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xlb.yaml")
	if err := os.WriteFile(path, []byte("interfaces: [eth0]\nservices: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	var problem Error
	if !errors.As(err, &problem) {
		t.Fatalf("got %v", err)
	}
	want := Error{path, 2, 11, "services: 3 is not a list of services", `begin each service with "- name: ..."`}
	if problem != want {
		t.Errorf("got %#v, want %#v", problem, want)
	}
}

func TestErrorAtNamesThePlaceOfAService(t *testing.T) {
	c := parse(t, minimal)
	err := c.ErrorAt(c.Services[0].At, "the VIP of "+c.Services[0].String()+" is an address of this node", "remove it from lo")
	want := "xlb.yaml:3:5: the VIP of web (192.0.2.10:80/tcp) is an address of this node: remove it from lo"
	if err.Error() != want {
		t.Errorf("got %s, want %s", err, want)
	}
}

func TestValidateJudgesAChangedConfig(t *testing.T) {
	c := parse(t, minimal)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	c.File = ""
	c.Services[0].Ports[0].First = 0
	c.Services[0].Backends[1] = Backend{Name: "b"}
	want := `services[0].port: port 0 is reserved and no client can connect to it: write 1 to 65535
services[0].backends[1].address: the address is missing: write one such as 10.1.0.1, without port or prefix length
services[0].backends[1].weight: 0 is not a weight: write 1 to 1000`
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
