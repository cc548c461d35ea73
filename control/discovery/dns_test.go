package discovery

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/xlb-project/xlb/control/config"
)

const web = "web.example.org"

// lookUp observes a source of a name that a server knows.
func lookUp(t *testing.T, s *server, qtype string, change ...func(*dnsSource)) *observer {
	cfg := &config.DNSSource{Name: web, Type: qtype, Server: s.addr, MinTTL: 5 * time.Second, MaxTTL: 5 * time.Minute}
	d := newDNS(cfg, palette())
	d.resolver.patience = 200 * time.Millisecond
	for _, c := range change {
		c(d)
	}
	o := newObserver(t)
	d.after = o.after
	return o.runs(d)
}

func allowEmpty(d *dnsSource) { d.service.Discover.AllowEmpty = true }

// next lets the source look again.
func (o *observer) next() {
	<-o.waits
	o.again <- time.Time{}
}

func TestAddressesOfANameAreItsBackends(t *testing.T) {
	s := serve(t, zone(
		"web.example.org. 60 IN A 10.0.0.2", "web.example.org. 60 IN A 10.0.0.1", "web.example.org. 60 IN AAAA fd00::1",
	))
	o := lookUp(t, s, "A")
	o.emits("10.0.0.1*100 10.0.0.2*100")
	lookUp(t, s, "AAAA").emits("fd00::1*100")
	o.next()
	o.rests() // the same again is no news
	s.answers(zone("web.example.org. 60 IN A 10.0.0.2", "web.example.org. 60 IN A 10.0.0.3"))
	o.again <- time.Time{}
	o.emits("10.0.0.2*100 10.0.0.3*100")
}

func TestAnswersAreAskedForAgainWhenTheyExpire(t *testing.T) {
	for ttl, want := range map[string]time.Duration{"0": 5 * time.Second, "60": time.Minute, "86400": 5 * time.Minute} {
		o := lookUp(t, serve(t, zone("web.example.org. "+ttl+" IN A 10.0.0.1", "web.example.org. 86400 IN A 10.0.0.2")), "A")
		o.emits("10.0.0.1*100 10.0.0.2*100")
		if wait := o.rests(); wait < want || wait > want+want/10 {
			t.Errorf("after a TTL of %s s asked again in %s, want %s and up to a tenth more", ttl, wait, want)
		}
	}
	o := lookUp(t, serve(t, zone()), "A") // the SOA record says 40 s
	o.emits("unknown")
	if wait := o.rests(); wait < 40*time.Second || wait > 44*time.Second {
		t.Errorf("a name that does not exist is asked for again in %s", wait)
	}
}

func TestNoFailureAndNoEmptyAnswerTakesBackendsAway(t *testing.T) {
	good := zone("web.example.org. 60 IN A 10.0.0.1")
	for name, c := range map[string]struct {
		handler handler
		says    string
	}{
		"SERVFAIL":              {fails(dns.RcodeServerFailure), "SERVFAIL"},
		"REFUSED":               {fails(dns.RcodeRefused), "REFUSED"},
		"a code without a name": {fails(12), "error 12"},
		"silence":               {silent, "no answer in time"},
		"NXDOMAIN":              {zone(), "allow_empty"},
		"no address":            {zone("web.example.org. 60 IN AAAA fd00::1"), "allow_empty"},
		"a wrong identifier":    {spoilt(good, func(m *dns.Msg) { m.Id++ }), "no answer in time"},
		"a question":            {spoilt(good, func(m *dns.Msg) { m.Response = false }), "no answer"},
		"the answer to another name": {
			spoilt(good, func(m *dns.Msg) { m.Question[0].Name = "other.example.org." }), "another question",
		},
		"the answer to another type": {spoilt(good, func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX }), "another question"},
		"an answer without a question": {
			spoilt(good, func(m *dns.Msg) { m.Question = nil }), "another question",
		},
		"addresses of another name": {spoilt(good, func(m *dns.Msg) { m.Answer[0].Header().Name = "other.example.org." }), "allow_empty"},
		"addresses of another class": {
			spoilt(good, func(m *dns.Msg) { m.Answer[0].Header().Class = dns.ClassCHAOS }), "allow_empty",
		},
		"nothing but loopback addresses": {zone("web.example.org. 60 IN A 127.0.0.1"), "127.0.0.1"},
		"too many":                       {zone(hosts(web, 21)...), "raise limits.backends"},
		"an alias of itself":             {zone("web.example.org. 60 IN CNAME web.example.org."), "aliases"},
		"an alias of nothing":            {zone("web.example.org. 60 IN CNAME gone.example.org."), "allow_empty"},
		"rubbish": {
			func(w dns.ResponseWriter, q *dns.Msg) {
				w.Write([]byte{byte(q.Id >> 8), byte(q.Id), 0x80, 0, 0xff, 0xff})
			}, "",
		},
		"truncation even over TCP": {spoilt(good, func(m *dns.Msg) { m.Truncated = true }), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, good)
			o := lookUp(t, s, "A")
			o.emits("10.0.0.1*100")
			s.answers(c.handler)
			o.next()
			set := o.emits("10.0.0.1*100 kept")
			for _, want := range []string{"A records of " + web, c.says} {
				if !strings.Contains(set.Err.Error(), want) {
					t.Errorf("error %q does not say %q", set.Err, want)
				}
			}
			o.next()
			o.rests() // the same failure again is no news
			s.answers(good)
			o.again <- time.Time{}
			o.emits("10.0.0.1*100")
		})
	}
}

func TestEmptyAnswersEmptyAServiceThatAllowsItAndFailuresDoNot(t *testing.T) {
	good := zone("web.example.org. 60 IN A 10.0.0.1")
	for name, c := range map[string]struct {
		handler handler
		want    string
	}{
		"NXDOMAIN":   {zone(), ""},
		"no address": {zone("web.example.org. 60 IN AAAA fd00::1"), ""},
		"SERVFAIL":   {fails(dns.RcodeServerFailure), "10.0.0.1*100 kept"},
		"rubbish":    {zone("web.example.org. 60 IN A 0.0.0.0"), "10.0.0.1*100 kept"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, good)
			o := lookUp(t, s, "A", allowEmpty)
			o.emits("10.0.0.1*100")
			s.answers(c.handler)
			o.next()
			o.emits(c.want)
		})
	}
}

func TestFailuresAreFollowedByEverLongerPauses(t *testing.T) {
	o := lookUp(t, serve(t, fails(dns.RcodeServerFailure)), "A", func(d *dnsSource) { d.cfg.MaxTTL = 5 * time.Second })
	o.emits("unknown")
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		want *= time.Second
		if wait := o.rests(); wait < want || wait > want+want/10 {
			t.Errorf("asked again in %s, want %s and up to a tenth more", wait, want)
		}
		o.again <- time.Time{}
	}
	<-o.waits
}

func TestAnswersTooLongForUDPComeOverTCP(t *testing.T) {
	many := zone(hosts(web, 100)...)
	s := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := reply(q, hosts(web, 100))
		if w.LocalAddr().Network() == "udp" {
			m.Truncate(int(q.IsEdns0().UDPSize()))
		}
		w.WriteMsg(m)
	})
	o := lookUp(t, s, "A", func(d *dnsSource) { d.limit = 1000 })
	if set := <-o.sets; len(set.Backends) != 100 || set.Err != nil || s.tcp.Load() != 1 {
		t.Errorf("%d backends after %d questions over TCP (error: %v)", len(set.Backends), s.tcp.Load(), set.Err)
	}
	s.answers(func(w dns.ResponseWriter, q *dns.Msg) {
		if w.LocalAddr().Network() == "udp" {
			spoilt(many, func(m *dns.Msg) { m.Truncated, m.Answer = true, m.Answer[:1] })(w, q)
		} // and no answer over TCP
	})
	o.next()
	if set := <-o.sets; len(set.Backends) != 100 || set.Err == nil {
		t.Errorf("%d backends (error: %v) after half an answer", len(set.Backends), set.Err)
	}
}

func TestAliasesAreFollowed(t *testing.T) {
	o := lookUp(t, serve(t, zone(
		"web.example.org. 60 IN CNAME www.example.org.", "www.example.org. 7 IN CNAME pool.example.org.", "pool.example.org. 60 IN A 10.0.0.1",
	)), "A")
	o.emits("10.0.0.1*100")
	if wait := o.rests(); wait > 8*time.Second {
		t.Errorf("asked again in %s, want 7s, the TTL of an alias", wait)
	}
}

func TestServersOfResolvConfAreAskedInTurn(t *testing.T) {
	good := serve(t, zone("web.example.org. 60 IN A 10.0.0.1"))
	file := conf(t, "nameserver 127.0.0.1\n")
	r := resolver{conf: file, patience: time.Second}
	if servers, err := r.servers(); err != nil || !slices.Equal(servers, []string{"127.0.0.1:53"}) {
		t.Errorf("servers %v (error: %v)", servers, err)
	}
	for what, r := range map[string]resolver{
		"no file":   {conf: "/nonexistent"},
		"no server": {conf: conf(t, "options ndots:2\n")},
	} {
		if _, err := r.ask(t.Context(), web, dns.TypeA); err == nil || !strings.Contains(err.Error(), r.conf) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	bad := serve(t, fails(dns.RcodeServerFailure))
	a, err := r.askEach(t.Context(), []string{bad.addr.String(), good.addr.String()}, web, dns.TypeA)
	if err != nil || !slices.Equal(a.addrs, []netip.Addr{netip.MustParseAddr("10.0.0.1")}) {
		t.Errorf("answer %+v (error: %v)", a, err)
	}
}

func TestSourceEndsWhileAServerIsSilent(t *testing.T) {
	asked := make(chan struct{}, 10)
	s := serve(t, func(dns.ResponseWriter, *dns.Msg) { asked <- struct{}{} })
	lookUp(t, s, "A", func(d *dnsSource) { d.resolver.patience = time.Hour })
	<-asked // the cleanup waits for the source
}
