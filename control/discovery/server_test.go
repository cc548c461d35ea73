package discovery

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// server is a real name server on UDP and TCP. What it answers can change.
type server struct {
	addr    netip.AddrPort
	handler atomic.Pointer[handler]
	tcp     atomic.Int64 // questions over TCP
}

// handler answers a question, or does not.
type handler = func(w dns.ResponseWriter, q *dns.Msg)

func serve(t *testing.T, h handler) *server {
	s := &server{}
	s.handler.Store(&h)
	var packets net.PacketConn
	var listener net.Listener
	for listener == nil { // until a port is free for both
		var err error
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if listener, err = net.Listen("tcp", packets.LocalAddr().String()); err != nil {
			packets.Close()
		}
	}
	s.addr = netip.MustParseAddrPort(packets.LocalAddr().String())
	for _, d := range []*dns.Server{{PacketConn: packets}, {Listener: listener}} {
		started, done := make(chan struct{}), make(chan struct{})
		d.NotifyStartedFunc = func() { close(started) }
		d.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if _, ok := w.RemoteAddr().(*net.TCPAddr); ok {
				s.tcp.Add(1)
			}
			(*s.handler.Load())(w, q)
		})
		go func() { defer close(done); d.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { d.Shutdown(); <-done })
	}
	return s
}

func (s *server) answers(h handler) { s.handler.Store(&h) }

// zone answers with records, as zone files write them, whose owner and type were asked for, aliases included. Other
// names do not exist.
func zone(records ...string) handler {
	return func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(reply(q, records)) }
}

func reply(q *dns.Msg, records []string) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	exists := false
	names := map[string]bool{dns.CanonicalName(q.Question[0].Name): true}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		h := rr.Header()
		if !names[dns.CanonicalName(h.Name)] {
			continue
		}
		exists = true
		if c, ok := rr.(*dns.CNAME); ok {
			names[c.Target] = true
		} else if h.Rrtype != q.Question[0].Qtype {
			continue
		}
		m.Answer = append(m.Answer, rr)
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		soa, _ := dns.NewRR("example.org. 300 IN SOA ns.example.org. root.example.org. 1 2 3 4 40")
		m.Ns = append(m.Ns, soa)
	}
	return m
}

// fails answers with a code.
func fails(rcode int) handler {
	return func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, rcode)) }
}

// silent does not answer.
func silent(dns.ResponseWriter, *dns.Msg) {}

// spoilt answers like another handler, but for what spoil does.
func spoilt(h handler, spoil func(*dns.Msg)) handler {
	return func(w dns.ResponseWriter, q *dns.Msg) { h(&spoiler{w, spoil}, q) }
}

type spoiler struct {
	dns.ResponseWriter
	spoil func(*dns.Msg)
}

func (s *spoiler) WriteMsg(m *dns.Msg) error {
	s.spoil(m)
	return s.ResponseWriter.WriteMsg(m)
}

// conf writes a resolv.conf.
func conf(t *testing.T, lines string) string {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// hosts are n address records of a name.
func hosts(name string, n int) (records []string) {
	for i := range n {
		records = append(records, fmt.Sprintf("%s. 60 IN A 10.1.%d.%d", name, i/250, 1+i%250))
	}
	return records
}
