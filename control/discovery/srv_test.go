package discovery

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/xlb-project/xlb/control/config"
)

func TestTargetsOfSRVRecordsAreBackendsWithTheirWeights(t *testing.T) {
	for name, c := range map[string]struct {
		records []string
		change  func(*dnsSource)
		want    string
	}{
		"weights": {[]string{
			"web.example.org. 60 IN SRV 1 30 80 a.example.org.", "a.example.org. 60 IN A 10.0.0.1",
			"web.example.org. 60 IN SRV 1 70 80 b.example.org.", "b.example.org. 60 IN A 10.0.0.2",
			"web.example.org. 60 IN SRV 1 0 80 c.example.org.", "c.example.org. 60 IN A 10.0.0.3",
		}, nil, "a.example.org=10.0.0.1*30 b.example.org=10.0.0.2*70 c.example.org=10.0.0.3*1"},
		"no weights": {[]string{
			"web.example.org. 60 IN SRV 1 0 80 a.example.org.", "a.example.org. 60 IN A 10.0.0.1",
		}, nil, "a.example.org=10.0.0.1*100"},
		"weights beyond the greatest": {[]string{
			"web.example.org. 60 IN SRV 1 60000 80 a.example.org.", "a.example.org. 60 IN A 10.0.0.1",
			"web.example.org. 60 IN SRV 1 15000 80 b.example.org.", "b.example.org. 60 IN A 10.0.0.2",
		}, nil, "a.example.org=10.0.0.1*1000 b.example.org=10.0.0.2*250"},
		"the least priority": {[]string{
			"web.example.org. 60 IN SRV 2 1 80 a.example.org.", "a.example.org. 60 IN A 10.0.0.1",
			"web.example.org. 60 IN SRV 1 1 80 B.Example.org.", "B.Example.org. 60 IN A 10.0.0.2",
			"web.example.org. 60 IN SRV 3 1 80 a.example.org.",
		}, nil, "b.example.org=10.0.0.2*1"},
		"one port": {[]string{
			"web.example.org. 60 IN SRV 1 1 9090 a.example.org.", "a.example.org. 60 IN A 10.0.0.1",
			"web.example.org. 60 IN SRV 5 2 80 b.example.org.", "b.example.org. 60 IN A 10.0.0.2",
		}, func(d *dnsSource) { d.cfg.Port = 80 }, "b.example.org=10.0.0.2*2"},
		"two ports of one target": {[]string{
			"web.example.org. 60 IN SRV 1 1 80 a.example.org.", "a.example.org. 60 IN A 10.0.0.1",
			"web.example.org. 60 IN SRV 1 5 443 a.example.org.",
		}, nil, "a.example.org=10.0.0.1*5"},
		"a target with addresses of both families and two of one": {[]string{
			"web.example.org. 60 IN SRV 1 10 80 a.example.org.", "a.example.org. 60 IN A 10.0.0.1", "a.example.org. 60 IN A 10.0.0.2", "a.example.org. 60 IN AAAA fd00::1",
		}, nil, "10.0.0.1*5 10.0.0.2*5"},
		"a target of the other family": {[]string{
			"web.example.org. 60 IN SRV 1 10 80 a.example.org.", "a.example.org. 60 IN AAAA fd00::1",
		}, nil, "a.example.org=fd00::1*10"},
		"a target of the other family under l2": {[]string{
			"web.example.org. 60 IN SRV 1 10 80 a.example.org.", "a.example.org. 60 IN AAAA fd00::1",
		}, func(d *dnsSource) { d.service.Forward = config.L2 }, "unknown"},
		"no such service": {[]string{"web.example.org. 60 IN SRV 0 0 0 ."}, allowEmpty, ""},
		"a target that is an alias": {[]string{
			"web.example.org. 60 IN SRV 1 10 80 a.example.org.", "a.example.org. 60 IN CNAME b.example.org.", "b.example.org. 60 IN A 10.0.0.1",
		}, nil, "a.example.org=10.0.0.1*10"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, zone(c.records...))
			if c.change == nil {
				c.change = func(*dnsSource) {}
			}
			lookUp(t, s, "SRV", c.change).emits(c.want)
		})
	}
}

func TestTargetThatCannotBeLookedUpSpoilsTheAnswerAndOneThatDoesNotExistDoesNot(t *testing.T) {
	records := []string{
		"web.example.org. 60 IN SRV 1 1 80 a.example.org.", "a.example.org. 60 IN A 10.0.0.1",
		"web.example.org. 60 IN SRV 1 1 80 b.example.org.", "b.example.org. 60 IN A 10.0.0.2",
	}
	s := serve(t, zone(records...))
	o := lookUp(t, s, "SRV")
	o.emits("a.example.org=10.0.0.1*1 b.example.org=10.0.0.2*1")
	s.answers(func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == "b.example.org." {
			fails(dns.RcodeServerFailure)(w, q)
		} else {
			zone(records...)(w, q)
		}
	})
	o.next()
	o.emits("a.example.org=10.0.0.1*1 b.example.org=10.0.0.2*1 kept")
	s.answers(zone(records[:3]...))
	o.next()
	set := o.emits("a.example.org=10.0.0.1*1")
	if len(set.LeftOut) != 1 || !strings.Contains(set.LeftOut[0], "b.example.org") {
		t.Errorf("left out are %q", set.LeftOut)
	}
}

func TestMoreTargetsThanAllowedAreNotAskedFor(t *testing.T) {
	s := serve(t, zone("web.example.org. 60 IN SRV 1 1 80 a.example.org.", "web.example.org. 60 IN SRV 1 1 80 b.example.org.", "a.example.org. 60 IN A 10.0.0.1"))
	set := lookUp(t, s, "SRV", func(d *dnsSource) { d.limit = 1 }).emits("unknown")
	if !strings.Contains(set.Err.Error(), "limits.backends") {
		t.Errorf("error %v", set.Err)
	}
}
