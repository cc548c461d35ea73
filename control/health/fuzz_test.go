package health

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// said is a connection on which the target says what is given, whatever it is asked, and
// closes.
type said struct {
	net.Conn
	io.Reader
	taken int
}

func (s *said) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.taken += n
	return n, err
}

func (s *said) Write(p []byte) (int, error) { return len(p), nil }

// fitToShow fails if an error has the target's own words in it, or does not come to an end.
func fitToShow(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := reason(t.Context(), err).Error()
	if len(text) > 200 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("not fit to be shown: %q", text)
	}
}

func FuzzHTTPAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.0 503 x\r\n\r\n",
		"HTTP/1.1 200 \x1b[31m\r\nX: \xff\r\n\r\n",
		"\x15\x03\x01\x00\x02\x02\x16",
	} {
		f.Add([]byte(s))
	}
	body, err := NewMatch("o", "k$")
	if err != nil {
		f.Fatal(err)
	}
	p := HTTP{Addr: nowhere, Body: body, Expected: []Field{{"X", ""}, {"Y", "z"}}}
	u, err := p.url()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		conn := &said{Reader: bytes.NewReader(answer)}
		a, err := p.exchange(conn, u)
		fitToShow(t, err)
		if err == nil {
			fitToShow(t, p.judge(a))
			if a.status < 100 || a.status > 999 {
				t.Errorf("status %d", a.status)
			}
		}
		if conn.taken > maxAnswer || len(a.body) > maxAnswer {
			t.Errorf("read %d bytes, %d of a body", conn.taken, len(a.body))
		}
	})
}

func FuzzHTTP2Answer(f *testing.F) {
	f.Add(newFrames().head(1, true, ":status", "200", "x", "y").Bytes())
	f.Add(newFrames().head(1, false, ":status", "103").head(1, false, ":status", "200").data(1, true, "ok").Bytes())
	f.Add(newFrames().head(1, false, ":status", "200", "content-type", "application/grpc").
		data(1, false, message(0, []byte{8, 1})).head(1, true, "grpc-status", "0").Bytes())
	f.Add(newFrames().head(1, false, ":status", "200", "content-type", "application/grpc").data(1, false, "\x00\x00").Bytes())
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	web, rpc := HTTP{Addr: nowhere, HTTP2: true}, GRPC{Addr: nowhere, Service: "x"}
	u, err := web.url()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		conn := &said{Reader: bytes.NewReader(answer)}
		a, err := web.exchange2(conn, u)
		fitToShow(t, err)
		if err == nil && (a.status < 200 || a.status > 999) {
			t.Errorf("status %d", a.status)
		}
		if conn.taken > 2*maxAnswer || len(a.body) > maxAnswer+maxFrame2 {
			t.Errorf("read %d bytes, %d of a body", conn.taken, len(a.body))
		}
		fitToShow(t, rpc.call(&said{Reader: bytes.NewReader(answer)}))
	})
}

func FuzzGRPCMessage(f *testing.F) {
	for _, m := range []string{message(0, []byte{8, 1}), message(0, nil), message(1, nil), "\x00\xff\xff\xff\xff\x08\x01", message(0, []byte("\x12\x02hi\x08\x01"))} {
		f.Add([]byte(m))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := healthStatus(body)
		fitToShow(t, err)
	})
}

func FuzzDNSAnswer(f *testing.F) {
	p, err := NewDNS(DNS{Addr: nowhere, Name: "www.example.com", Type: "MX", RCode: "NOERROR", Answer: "10 mail.example.com."})
	if err != nil {
		f.Fatal(err)
	}
	query := &dns.Msg{Question: []dns.Question{p.question}}
	query.Id = 1
	honest := new(dns.Msg).SetReply(query)
	for _, text := range []string{"www.example.com. 60 IN MX 10 mail.example.com.", "www.example.com. 60 IN CNAME example.com.", `x. 1 IN TXT "a" "b"`} {
		rr, err := dns.NewRR(text)
		if err != nil {
			f.Fatal(err)
		}
		honest.Answer = append(honest.Answer, rr)
		b, err := honest.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-3])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := readAnswer(b, query)
		fitToShow(t, err)
		if err != nil {
			return
		}
		if m.Id != query.Id || !m.Response {
			t.Errorf("taken for an answer: %v", m)
		}
		fitToShow(t, p.judge(m))
	})
}

// FuzzProgramOutput: what a program writes is shown.
func FuzzProgramOutput(f *testing.F) {
	f.Add([]byte("all well\n"))
	f.Add([]byte("\n\n\x1b[31mred\xff\x00\t" + strings.Repeat("x", maxOutput)))
	f.Fuzz(func(t *testing.T, output []byte) {
		h := &head{left: maxOutput}
		for _, p := range bytes.SplitAfter(output, []byte("\n")) {
			if n, err := h.Write(p); n != len(p) || err != nil {
				t.Fatalf("wrote %d of %d bytes, error %v", n, len(p), err)
			}
		}
		if h.buf.Len() > maxOutput {
			t.Errorf("kept %d bytes", h.buf.Len())
		}
		fitToShow(t, errors.New("x"+h.line()))
	})
}
