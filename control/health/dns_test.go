package health

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// nameServer answers from a zone, over UDP and TCP on one port.
type nameServer struct{ addr netip.AddrPort }

const zone = `
www.example.com. 60 IN A 192.0.2.1
www.example.com. 60 IN A 192.0.2.2
www.example.com. 60 IN AAAA 2001:db8::1
alias.example.com. 60 IN CNAME www.example.com.
example.com. 60 IN MX 10 Mail.example.com.
example.com. 60 IN TXT "v=spf1 -all"
. 60 IN NS a.root-servers.net.
`

func newNameServer(t *testing.T) nameServer {
	t.Helper()
	// The port of one may be taken for the other: try until a pair is free.
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		p, err := net.ListenPacket("udp", addr.String())
		if err != nil {
			l.Close()
			continue
		}
		for _, s := range []*dns.Server{{Listener: l}, {PacketConn: p}} {
			started := make(chan struct{})
			s.NotifyStartedFunc = func() { close(started) }
			s.Handler = dns.HandlerFunc(answerFromZone)
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.ActivateAndServe()
			}()
			<-started
			t.Cleanup(func() {
				s.Shutdown()
				<-done
			})
		}
		return nameServer{addr}
	}
}

func answerFromZone(w dns.ResponseWriter, query *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(query)
	name := query.Question[0].Name
	m.Rcode = dns.RcodeNameError
	for pass := range 2 {
		parser := dns.NewZoneParser(strings.NewReader(zone), "", "")
		for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
			if !strings.EqualFold(rr.Header().Name, name) {
				continue
			}
			m.Rcode = dns.RcodeSuccess
			alias, isAlias := rr.(*dns.CNAME)
			if isAlias && pass == 0 {
				m.Answer = append(m.Answer, rr)
				name = alias.Target
				break
			}
			if rr.Header().Rrtype == query.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
			}
		}
		if len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != dns.TypeCNAME {
			break
		}
	}
	w.WriteMsg(m)
}

func mustDNS(t *testing.T, p DNS) *DNS {
	t.Helper()
	d, err := NewDNS(p)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDNSIsJudgedByTheAnswer(t *testing.T) {
	server := newNameServer(t)
	for _, tc := range []struct {
		query string // name, type, wanted code, wanted answer
		fail  string // empty: passes
	}{
		{"www.example.com A NOERROR", ""},
		{"www.example.com A NOERROR 192.0.2.2", ""},
		{"WWW.Example.COM A NOERROR 192.0.2.2", ""},
		{"www.example.com. A NOERROR 192.0.2.2", ""},
		{"www.example.com A NOERROR 192.0.2.3", "answer does not hold 192.0.2.3"},
		{"www.example.com AAAA NOERROR 2001:db8:0:0::1", ""},
		{"www.example.com AAAA NOERROR 2001:db8::2", "answer does not hold 2001:db8::2"},
		{"alias.example.com A NOERROR 192.0.2.1", ""},
		{"alias.example.com A NOERROR 192.0.2.9", "answer does not hold 192.0.2.9"},
		{"example.com MX NOERROR 10 mail.example.com.", ""},
		{"example.com MX NOERROR 20 mail.example.com.", "answer does not hold 20 mail.example.com."},
		{`example.com TXT NOERROR "v=spf1 -all"`, ""},
		{". NS NOERROR a.root-servers.net.", ""},
		{"nobody.example.com A NOERROR", "NXDOMAIN"},
		{"nobody.example.com A NXDOMAIN", ""},
		{"www.example.com A NXDOMAIN", "NOERROR"},
		{"www.example.com A SERVFAIL", "NOERROR"},
	} {
		fields := strings.SplitN(tc.query, " ", 4)
		p := DNS{Addr: server.addr, Name: fields[0], Type: fields[1], RCode: fields[2]}
		if len(fields) > 3 {
			p.Answer = fields[3]
		}
		for name, tcp := range map[string]bool{"udp": false, "tcp": true} {
			t.Run(name+" "+tc.query, func(t *testing.T) {
				p.TCP = tcp
				if tc.fail == "" {
					wantPass(t, mustDNS(t, p), p.RCode)
				} else {
					wantFailure(t, time.Minute, mustDNS(t, p), p.Name+" "+p.Type+": "+tc.fail)
				}
			})
		}
	}
}

func TestDNSQueriesThatAreNoneAreRefused(t *testing.T) {
	good := DNS{Addr: nowhere, Name: "example.com", Type: "A", RCode: "NOERROR"}
	for want, change := range map[string]func(*DNS){
		`"B" is not a type of DNS records`:                                  func(p *DNS) { p.Type = "B" },
		`"FINE" is not a response code of DNS`:                              func(p *DNS) { p.RCode = "FINE" },
		`"a..b" is not a domain name`:                                       func(p *DNS) { p.Name = "a..b" },
		`"192.0.2.256" is not the data of a record of type A`:               func(p *DNS) { p.Answer = "192.0.2.256" },
		`"1.2.3.4\n. 0 IN A 4.3.2.1" is not the data of a record of type A`: func(p *DNS) { p.Answer = "1.2.3.4\n. 0 IN A 4.3.2.1" },
	} {
		p := good
		change(&p)
		if _, err := NewDNS(p); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// lie changes what an honest server would say; what is not changed is the answer to the query.
type lie func(m *dns.Msg) []byte

func packed(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDNSServerThatLiesFails(t *testing.T) {
	honest := func(m *dns.Msg) []byte { return packed(t, m) }
	const another, none = "answer to another question", "answer is not DNS"
	for _, tc := range []struct {
		name string
		lie  lie
		fail string
	}{
		{"honest", honest, ""},
		{"another ID", func(m *dns.Msg) []byte { m.Id++; return packed(t, m) }, another},
		{"another name", func(m *dns.Msg) []byte { m.Question[0].Name = "example.org."; return packed(t, m) }, another},
		{"another type", func(m *dns.Msg) []byte { m.Question[0].Qtype = dns.TypeMX; return packed(t, m) }, another},
		{"another class", func(m *dns.Msg) []byte { m.Question[0].Qclass = dns.ClassCHAOS; return packed(t, m) }, another},
		{"two questions", func(m *dns.Msg) []byte { m.Question = append(m.Question, m.Question[0]); return packed(t, m) }, another},
		{"no question", func(m *dns.Msg) []byte { m.Question = nil; return packed(t, m) }, another},
		{"no question of a server in trouble", func(m *dns.Msg) []byte { m.Question, m.Rcode = nil, dns.RcodeServerFailure; return packed(t, m) }, "SERVFAIL"},
		{"the query", func(m *dns.Msg) []byte { m.Response = false; return packed(t, m) }, none},
		{"another operation", func(m *dns.Msg) []byte { m.Opcode = dns.OpcodeNotify; return packed(t, m) }, none},
		{"another's address", func(m *dns.Msg) []byte { m.Answer = m.Answer[:0]; return packed(t, m) }, "answer does not hold 192.0.2.1"},
		{"half of it", func(m *dns.Msg) []byte { b := packed(t, m); return b[:len(b)-7] }, none},
		{"truncated", func(m *dns.Msg) []byte { m.Truncated, m.Answer = true, nil; return packed(t, m) }, "answer truncated"},
		{"noise", func(*dns.Msg) []byte { return []byte("\x00\xff\x1b[31m") }, none},
		{"names in a circle", func(m *dns.Msg) []byte {
			b := packed(t, m)[:12]
			b[7] = 1 // one answer, whose name points at itself
			return append(b, 0xc0, 12, 0, 1, 0, 1)
		}, none},
		{"unknown code", func(m *dns.Msg) []byte { m.Rcode = 15; return packed(t, m) }, "response code 15"},
	} {
		for name, tcp := range map[string]bool{"udp": false, "tcp": true} {
			t.Run(name+" "+tc.name, func(t *testing.T) {
				tell := func(query []byte) []byte {
					q, m := new(dns.Msg), new(dns.Msg)
					if err := q.Unpack(query); err != nil {
						t.Error(err)
						return nil
					}
					m.SetReply(q)
					rr, err := dns.NewRR("www.example.com. 60 IN A 192.0.2.1")
					if err != nil {
						t.Error(err)
					}
					m.Answer = []dns.RR{rr}
					return tc.lie(m)
				}
				p := DNS{Name: "www.example.com", Type: "A", RCode: "NOERROR", Answer: "192.0.2.1", TCP: tcp}
				timeout := time.Minute
				if tcp {
					p.Addr = answeringDNS(t, tell)
				} else {
					p.Addr = answeringUDP(t, tell)
					if tc.fail == another || tc.fail == none {
						timeout = brief // anybody may have sent that: the answer may still come
					}
				}
				if tc.fail == "" {
					wantPass(t, mustDNS(t, p), "NOERROR")
				} else {
					wantFailure(t, timeout, mustDNS(t, p), "www.example.com A: "+tc.fail)
				}
			})
		}
	}
}

func TestDNSAnswerCountsWhateverElseComes(t *testing.T) {
	addr := answeringUDP(t, func(query []byte) []byte { return query }, func(query []byte) []byte {
		q, m := new(dns.Msg), new(dns.Msg)
		if err := q.Unpack(query); err != nil {
			t.Error(err)
		}
		return packed(t, m.SetReply(q))
	})
	wantPass(t, mustDNS(t, DNS{Addr: addr, Name: "www.example.com", Type: "A", RCode: "NOERROR"}), "NOERROR")
}

func TestDNSServerThatSaysNothingFails(t *testing.T) {
	p := DNS{Name: "example.com", Type: "A", RCode: "NOERROR"}
	p.Addr = answeringUDP(t)
	wantFailure(t, brief, mustDNS(t, p), "example.com A: timeout after 100ms")
	p.Addr = closedUDPPort(t)
	wantFailure(t, time.Minute, mustDNS(t, p), "example.com A: connection refused")
	p.TCP = true
	p.Addr = serve(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	wantFailure(t, brief, mustDNS(t, p), "example.com A: timeout after 100ms")
	p.Addr = dripping(t, "\xff\xff", "x")
	wantFailure(t, brief, mustDNS(t, p), "example.com A: timeout after 100ms")
	p.Addr = serve(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 512))
		io.WriteString(c, "\x00\x20half")
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
	wantFailure(t, time.Minute, mustDNS(t, p), "example.com A: answer cut short")
	p.Addr = closedPort(t)
	wantFailure(t, time.Minute, mustDNS(t, p), "example.com A: connection refused")
}

// answeringDNS answers a query over TCP with what tell makes of it.
func answeringDNS(t *testing.T, tell func([]byte) []byte) netip.AddrPort {
	t.Helper()
	return serve(t, func(c *net.TCPConn) {
		query, err := readFramed(c)
		if err != nil {
			t.Error(err)
			return
		}
		answer := tell(query)
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
		io.Copy(io.Discard, c)
	})
}
