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
		Name: "web", VIP: netip.MustParsePrefix("192.0.2.10/32"),
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
