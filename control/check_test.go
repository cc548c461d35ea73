package control

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
)

func checkedService(change func(*config.Service)) *config.Service {
	s := &config.Service{
		Name: "web", VIP: netip.MustParsePrefix("192.0.2.10/32"), Ports: []config.PortRange{{First: 80, Last: 89}},
		Health: &config.Health{
			HTTP:     &config.HTTPCheck{Path: "/healthz", Port: 80, Host: "www.example.com", Status: []int{200}},
			Interval: 2 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3,
		},
		Backends: []config.Backend{{Name: "a", Address: netip.MustParseAddr("10.1.0.1")}, {Name: "b", Address: netip.MustParseAddr("10.1.0.2")}},
	}
	if change != nil {
		change(s)
	}
	return s
}

func mustCheck(t *testing.T, s *config.Service, b int, via health.Via) health.Check {
	t.Helper()
	c, err := checkOf(&config.Config{}, s, &s.Backends[b], via)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var addresses = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

func TestCheckGoesToTheBackendOrThroughItsTunnelToTheVIP(t *testing.T) {
	s := checkedService(nil)
	via := health.Via{Mark: 0x58000007, Source: netip.MustParseAddr("10.0.0.1")}
	want := health.HTTP{Addr: netip.MustParseAddrPort("10.1.0.1:80"), Host: "www.example.com", Path: "/healthz", Status: []int{200}}
	if diff := cmp.Diff(want, mustCheck(t, s, 0, health.Via{}).Probe, addresses); diff != "" {
		t.Errorf("direct (-want +got):\n%s", diff)
	}
	want.Addr, want.Via = netip.MustParseAddrPort("192.0.2.10:80"), via
	if diff := cmp.Diff(want, mustCheck(t, s, 0, via).Probe, addresses); diff != "" {
		t.Errorf("to the VIP (-want +got):\n%s", diff)
	}
}

func TestEveryKindOfCheckIsSentAsConfigured(t *testing.T) {
	via := health.Via{Mark: 0x58000007, Source: netip.MustParseAddr("10.0.0.1")}
	vip := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.10"), port) }
	plain := health.HTTP{
		Addr: vip(8080), Via: via, Method: "HEAD", Host: "www.example.com", Path: "/healthz", Status: []int{200, 204},
		Header: []health.Field{{Name: "X-Probe", Value: "1"}}, Expected: []health.Field{{Name: "X-Ready", Value: ""}},
	}
	web := config.HTTPCheck{
		Method: plain.Method, Port: 8080, Host: plain.Host, Path: plain.Path, Status: plain.Status,
		RequestHeaders: []config.Header{{Name: "X-Probe", Value: "1"}}, ResponseHeaders: []config.Header{{Name: "X-Ready"}},
	}
	with := func(change func(*config.HTTPCheck)) config.Health {
		h := web
		change(&h)
		return config.Health{HTTP: &h}
	}
	wanted := func(change func(*health.HTTP)) health.Prober {
		p := plain
		change(&p)
		return p
	}
	sni := config.TLS{SNI: "www.example.com", Verify: true}
	secure := func(protocol string) *health.Secure { return health.NewSecure("www.example.com", true, nil, protocol) }
	for name, tc := range map[string]struct {
		health config.Health
		want   health.Prober
	}{
		"http": {with(func(*config.HTTPCheck) {}), plain},
		"http with a body": {with(func(h *config.HTTPCheck) { h.Body, h.BodyMatches = "ok", "^ok$" }),
			wanted(func(p *health.HTTP) { p.Body = &health.Match{Text: "ok", Pattern: "^ok$"} })},
		"http2": {with(func(h *config.HTTPCheck) { h.HTTP2 = true }), wanted(func(p *health.HTTP) { p.HTTP2 = true })},
		"https": {with(func(h *config.HTTPCheck) { h.TLS = &sni }), wanted(func(p *health.HTTP) { p.Secure = secure(health.HTTP1) })},
		"https by http2": {with(func(h *config.HTTPCheck) { h.TLS, h.HTTP2 = &sni, true }),
			wanted(func(p *health.HTTP) { p.Secure, p.HTTP2 = secure(health.HTTP2), true })},
		"tcp":  {config.Health{TCP: &config.TCPCheck{Port: 81}}, health.TCP{Addr: vip(81), Via: via}},
		"tls":  {config.Health{TLS: &config.TLSCheck{Port: 443, TLS: sni}}, health.TLS{Addr: vip(443), Via: via, Secure: secure("")}},
		"grpc": {config.Health{GRPC: &config.GRPCCheck{Port: 50051, Service: "s", Host: "h"}}, health.GRPC{Addr: vip(50051), Via: via, Service: "s", Host: "h"}},
		"grpc by tls": {config.Health{GRPC: &config.GRPCCheck{Port: 50051, TLS: &sni}},
			health.GRPC{Addr: vip(50051), Via: via, Secure: secure(health.HTTP2)}},
		"dns": {config.Health{DNS: &config.DNSCheck{Port: 53, Name: "example.com", Type: "A", RCode: "NOERROR", TCP: true, Answer: "192.0.2.1"}},
			&health.DNS{Addr: vip(53), Via: via, Name: "example.com", Type: "A", RCode: "NOERROR", TCP: true, Answer: "192.0.2.1"}},
		"udp":  {config.Health{UDP: &config.UDPCheck{Port: 514, Send: []byte{1}, Expect: []byte{2}}}, health.UDP{Addr: vip(514), Via: via, Send: []byte{1}, Expect: []byte{2}}},
		"icmp": {config.Health{ICMP: &config.ICMPCheck{}}, health.ICMP{Addr: netip.MustParseAddr("192.0.2.10"), Via: via}},
		"exec": {config.Health{Exec: &config.ExecCheck{Command: []string{"/bin/check", "-v"}}}, health.Exec{Command: []string{"/bin/check", "-v"},
			Env: []string{"XLB_SERVICE=web", "XLB_VIP=192.0.2.10", "XLB_BACKEND=a", "XLB_ADDRESS=10.1.0.1", "XLB_PORT=80"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := checkedService(func(s *config.Service) {
				tc.health.Interval, tc.health.FastInterval, tc.health.Timeout = 4*time.Second, time.Second, 3*time.Second
				tc.health.Rise, tc.health.Fall = 5, 6
				s.Health = &tc.health
			})
			c, err := checkOf(&config.Config{Health: config.HealthSettings{AllowExec: true}}, s, &s.Backends[0], via)
			if err != nil {
				t.Fatal(err)
			}
			want := health.Check{Probe: tc.want, Interval: 4 * time.Second, FastInterval: time.Second, Timeout: 3 * time.Second, Rise: 5, Fall: 6}
			exported := cmpopts.IgnoreUnexported(health.Secure{}, health.Match{}, health.DNS{}, health.Roots{})
			if diff := cmp.Diff(want, c, addresses, exported, cmpopts.IgnoreFields(health.Check{}, "Key")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckThatCannotBeIsRefusedByName(t *testing.T) {
	for want, h := range map[string]config.Health{
		"check web/a: the node does not allow programs as checks: write health: {allow_exec: true}": {Exec: &config.ExecCheck{Command: []string{"/bin/true"}}},
		"check web/a: read ca_file: stat /no/such/file: no such file or directory":                  {TLS: &config.TLSCheck{TLS: config.TLS{CAFile: "/no/such/file"}}},
		`check web/a: "X" is not a type of DNS records`:                                             {DNS: &config.DNSCheck{Name: ".", Type: "X", RCode: "NOERROR"}},
		"check web/a: error parsing regexp: missing closing ): `(`":                                 {HTTP: &config.HTTPCheck{BodyMatches: "("}},
		"check web/a: it says nothing to check":                                                     {},
	} {
		s := checkedService(func(s *config.Service) { s.Health = &h })
		if _, err := checkOf(&config.Config{}, s, &s.Backends[0], health.Via{}); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestChecksThatRepeatEachOtherShareAKey(t *testing.T) {
	key := func(b int, via health.Via, change func(*config.Service)) string {
		return mustCheck(t, checkedService(change), b, via).Key
	}
	direct := key(0, health.Via{}, nil)
	for name, change := range map[string]func(*config.Service){
		"another service":    func(s *config.Service) { s.Name, s.VIP = "other", netip.MustParsePrefix("192.0.2.11/32") },
		"another name":       func(s *config.Service) { s.Backends[0].Name = "x" },
		"rise and fall":      func(s *config.Service) { s.Health.Rise, s.Health.Fall = 5, 5 },
		"the same once more": nil,
	} {
		if got := key(0, health.Via{}, change); got != direct {
			t.Errorf("%s: key %s, want %s", name, got, direct)
		}
	}
	seen := map[string]string{direct: "direct"}
	differ := func(name, key string) {
		if other, twice := seen[key]; twice {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[key] = name
	}
	differ("another backend", key(1, health.Via{}, nil))
	differ("another path", key(0, health.Via{}, func(s *config.Service) { s.Health.HTTP.Path = "/" }))
	differ("another port", key(0, health.Via{}, func(s *config.Service) { s.Health.HTTP.Port = 81 }))
	differ("another status", key(0, health.Via{}, func(s *config.Service) { s.Health.HTTP.Status = nil }))
	differ("another kind", key(0, health.Via{}, func(s *config.Service) { s.Health.HTTP, s.Health.TCP = nil, &config.TCPCheck{Port: 80} }))
	differ("another interval", key(0, health.Via{}, func(s *config.Service) { s.Health.Interval++ }))
	differ("another timeout", key(0, health.Via{}, func(s *config.Service) { s.Health.Timeout++ }))
	differ("one mark", key(0, health.Via{Mark: 1}, nil))
	differ("another mark", key(0, health.Via{Mark: 2}, nil))
	differ("another source", key(0, health.Via{Mark: 2, Source: netip.MustParseAddr("10.0.0.1")}, nil))
}
