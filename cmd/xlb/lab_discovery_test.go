package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// nameServer is a real one on the balancer, for one name.
type nameServer struct {
	t      *testing.T
	lab    *testenv.Lab
	addr   string
	answer atomic.Pointer[dns.HandlerFunc]
	stop   func()
}

func serveNames(t *testing.T, lab *testenv.Lab) *nameServer {
	t.Helper()
	s := &nameServer{t: t, lab: lab, addr: "127.0.0.1:5353", stop: func() {}}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *nameServer) start() {
	s.t.Helper()
	packets, err := s.lab.LB.ListenPacket("udp", s.addr)
	must(s.t, err)
	listener, err := s.lab.LB.Listen("tcp", s.addr)
	must(s.t, err)
	var serving sync.WaitGroup
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { (*s.answer.Load())(w, q) })
	var servers []*dns.Server
	for _, d := range []*dns.Server{{PacketConn: packets}, {Listener: listener}} {
		started := make(chan struct{})
		d.Handler, d.NotifyStartedFunc = handler, func() { close(started) }
		serving.Go(func() { d.ActivateAndServe() })
		<-started
		servers = append(servers, d)
	}
	s.stop = sync.OnceFunc(func() {
		for _, d := range servers {
			d.Shutdown()
		}
		serving.Wait()
	})
}

// does has every question answered by h.
func (s *nameServer) does(h dns.HandlerFunc) { s.answer.Store(&h) }

// says has the name mean these backends.
func (s *nameServer) says(backends ...*testenv.Backend) {
	var addrs []netip.Addr
	for _, b := range backends {
		addrs = append(addrs, b.Addr)
	}
	s.saysAddrs(addrs...)
}

func (s *nameServer) saysAddrs(addrs ...netip.Addr) {
	s.does(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		for _, a := range addrs {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IP(a.AsSlice())})
		}
		w.WriteMsg(m)
	})
}

// awaitFound waits until exactly these backends of the node's only service take new connections.
func awaitFound(t *testing.T, node *testenv.Node, backends ...*testenv.Backend) {
	t.Helper()
	want := map[string]bool{}
	for _, b := range backends {
		want[b.Addr.String()] = true
	}
	must(t, node.WaitFor(deadline(t), "the backends that were found", func(s control.Status) error {
		serve := map[string]bool{}
		for _, b := range s.Services[0].Backends {
			if b.Admin != control.AdminRemoved && b.Live > 0 {
				serve[b.Address] = true
			}
		}
		if len(serve) != len(want) {
			return fmt.Errorf("%v serve, want %v", serve, want)
		}
		for addr := range want {
			if !serve[addr] {
				return fmt.Errorf("%v serve, want %v", serve, want)
			}
		}
		return nil
	}))
}

// awaitFailing waits until a source fails and says so.
func awaitFailing(t *testing.T, node *testenv.Node, says string) {
	t.Helper()
	must(t, node.WaitFor(deadline(t), "the source to fail with "+says, func(s control.Status) error {
		if d := s.Services[0].Discovery; d == nil || d.Failing == nil || !strings.Contains(d.Error, says) {
			return fmt.Errorf("it says %+v", d)
		}
		return nil
	}))
}

func TestBackendsComeAndGoByDNSUnderTrafficAndALyingServerTakesNoneAway(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: 4, Decap: decap})
	names, b := serveNames(t, lab), lab.Backends
	names.says(b[0], b[1])
	settings := fmt.Sprintf("vip: %q, port: 80, forward: ipip, discover: {dns: {name: web.example.org, server: %q, min_ttl: 1s, max_ttl: 1s}}", lab.VIPs[0], names.addr)
	node := start(t, lab, configOf(lab, "", service("web", settings, nil)))
	awaitFound(t, node, b[0], b[1])
	clients, end := traffic(t, lab, 20, false)
	for _, now := range [][]*testenv.Backend{b, b[1:], {b[0], b[3]}, b[:3]} {
		names.says(now...)
		awaitFound(t, node, now...)
		must(t, clients.AwaitMore(deadline(t), 10))
	}

	for what, lie := range map[string]struct {
		says   string
		answer dns.HandlerFunc
	}{
		"a failure":    {"SERVFAIL", func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)) }},
		"no such name": {"no backend", func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeNameError)) }},
		"another question's": {"another question", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Question[0].Name = "other."
			w.WriteMsg(m)
		}},
		"that it is the client": {"can be a backend", nil},
		"garbage":               {"ask 127.0.0.1", func(w dns.ResponseWriter, _ *dns.Msg) { w.Write([]byte("no such thing")) }},
		"nothing":               {"no answer in time", func(dns.ResponseWriter, *dns.Msg) {}},
	} {
		if lie.answer == nil {
			names.saysAddrs(netip.MustParseAddr("127.0.0.1"))
		} else {
			names.does(lie.answer)
		}
		awaitFailing(t, node, lie.says)
		if s, err := node.Status(deadline(t)); err != nil || s.Services[0].Up != 3 {
			t.Errorf("when the server answers %s, %d backends are up (%v)", what, s.Services[0].Up, err)
		}
	}
	names.stop()
	must(t, node.Kill(deadline(t)))
	must(t, node.Start(deadline(t)))
	awaitFailing(t, node, "refused")
	awaitFound(t, node, b[:3]...)
	must(t, clients.AwaitMore(deadline(t), 10))
	names.start()
	names.says(b...)
	awaitFound(t, node, b...)
	must(t, clients.AwaitMore(deadline(t), 10))
	end()
}

func TestBackendsComeAndGoByAFileUnderTraffic(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: 4, Decap: decap})
	b, file := lab.Backends, filepath.Join(t.TempDir(), "backends.yaml")
	replace := func(text string) {
		t.Helper()
		must(t, os.WriteFile(file+".new", []byte(text), 0o600))
		must(t, os.Rename(file+".new", file))
	}
	write := func(backends ...*testenv.Backend) {
		t.Helper()
		replace(strings.Join(append([]string{""}, over4(backends...)...), "\n- "))
	}
	settings := fmt.Sprintf("vip: %q, port: 80, forward: ipip, discover: {file: %s}", lab.VIPs[0], file)
	write(b[1:3]...)
	node := start(t, lab, configOf(lab, "", service("web", settings, over4(b[0]))))
	awaitFound(t, node, b[:3]...)
	clients, end := traffic(t, lab, 20, false)
	for _, now := range [][]*testenv.Backend{b, {b[0], b[3]}, {b[0], b[1]}} {
		write(now...) // the first is listed as well
		awaitFound(t, node, now...)
		must(t, clients.AwaitMore(deadline(t), 10))
	}
	replace("- {address: 10.1.1.}\n")
	awaitFailing(t, node, "10.1.1.")
	must(t, os.Remove(file))
	awaitFailing(t, node, "no such file")
	awaitFound(t, node, b[:2]...)

	out, err := xlb(t, lab, "service", "show", "web", "--socket", node.Socket())
	must(t, err)
	if !strings.Contains(out, "1 backend found by file "+file) || !strings.Contains(out, "failing for") {
		t.Errorf("xlb service show says:\n%s", out)
	}
	if out, err = xlb(t, lab, "export", "--socket", node.Socket()); err != nil || strings.Contains(out, b[1].Addr.String()) {
		t.Errorf("xlb export (%v) writes what was found:\n%s", err, out)
	}
	write(b...)
	awaitFound(t, node, b...)
	must(t, clients.AwaitMore(deadline(t), 10))
	end()
}
