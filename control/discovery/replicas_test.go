package discovery

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/control/config"
)

func TestReplicasAreNumbered(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  config.Replicas
		want string
		says string
	}{
		"addresses":                  {config.Replicas{Address: "10.0.0.{n}", First: 9, Count: 2}, "10.0.0.9*100 10.0.0.10*100", ""},
		"names":                      {config.Replicas{Address: "fd00::{n}", Name: "web-{n}", First: 1, Count: 2}, "web-1=fd00::1*100 web-2=fd00::2*100", ""},
		"none":                       {config.Replicas{Address: "10.0.0.{n}", First: 1}, "unknown", "allow_empty"},
		"some that are no addresses": {config.Replicas{Address: "10.0.0.{n}", First: 254, Count: 3}, "10.0.0.254*100 10.0.0.255*100", ""},
		"too many":                   {config.Replicas{Address: "10.0.0.{n}", First: 1, Count: 21}, "unknown", "limits.backends"},
	} {
		t.Run(name, func(t *testing.T) {
			set := newObserver(t).runs(&replicas{palette(), &c.cfg}).emits(c.want)
			if c.says != "" && !strings.Contains(set.Err.Error(), c.says) {
				t.Errorf("error %q does not say %q", set.Err, c.says)
			}
		})
	}
}

func TestSourceIsTheOneThatIsConfigured(t *testing.T) {
	s := config.Service{VIP: netip.MustParsePrefix("192.0.2.10/32"), Forward: config.L2, Discover: &config.Discover{
		Replicas: &config.Replicas{Address: "fd00::{n}", First: 1, Count: 1}, Weight: 7,
	}}
	if set := newObserver(t).runs(New(&s, 5)).emits("unknown"); !strings.Contains(set.Err.Error(), "family") {
		t.Errorf("error %v", set.Err)
	}
	s.Forward = config.IPIP
	newObserver(t).runs(New(&s, 5)).emits("fd00::1*7")
	s.Discover = &config.Discover{DNS: &config.DNSSource{}}
	if _, ok := New(&s, 5).(*dnsSource); !ok {
		t.Error("DNS is not asked")
	}
	s.Discover = &config.Discover{File: &config.FileSource{}}
	if _, ok := New(&s, 5).(*fileSource); !ok {
		t.Error("no file is read")
	}
}
