package health

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// webServer is net/http's, which answers as asked: /status/503, /body/TEXT, /long,
// /header/NAME/VALUE. It notes the requests.
type webServer struct {
	addr netip.AddrPort
	seen chan *http.Request
}

// newWebServer speaks HTTP/1.1 and HTTP/2, with TLS if there is a certificate.
func newWebServer(t *testing.T, cert *tls.Certificate) *webServer {
	t.Helper()
	return newWebServerWith(t, cert, func(*http.Server) {})
}

func newWebServerWith(t *testing.T, cert *tls.Certificate, change func(*http.Server)) *webServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &webServer{addr: l.Addr().(*net.TCPAddr).AddrPort(), seen: make(chan *http.Request, 1)}
	server := &http.Server{Handler: w, ErrorLog: log.New(io.Discard, "", 0), Protocols: &http.Protocols{}}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if cert != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*cert}}
	}
	change(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if cert != nil {
			server.ServeTLS(l, "", "")
		} else {
			server.Serve(l)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return w
}

func (w *webServer) ServeHTTP(res http.ResponseWriter, req *http.Request) {
	select {
	case w.seen <- req:
	default:
	}
	parts := strings.Split(req.URL.Path, "/")[1:]
	switch parts[0] {
	case "status":
		var status int
		fmt.Sscan(parts[1], &status)
		res.WriteHeader(status)
	case "hints":
		res.WriteHeader(http.StatusEarlyHints)
	case "body":
		io.WriteString(res, parts[1])
	case "long":
		for range 10_000 {
			if _, err := io.WriteString(res, strings.Repeat("x", 1000)); err != nil {
				return
			}
		}
	case "header":
		res.Header().Set(parts[1], parts[2])
	case "headers":
		for i := range 10_000 {
			res.Header().Set(fmt.Sprintf("X-%d", i), "y")
		}
	}
}

func mustMatch(t *testing.T, text, pattern string) *Match {
	t.Helper()
	m, err := NewMatch(text, pattern)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// everyHTTP runs f with what all ways to speak HTTP have in common: plain, over TLS, and both
// in version 2.
func everyHTTP(t *testing.T, f func(t *testing.T, p HTTP, w *webServer)) {
	authority := newAuthority(t)
	cert := authority.issue(nil)
	plain, secure := newWebServer(t, nil), newWebServer(t, &cert)
	for name, p := range map[string]HTTP{
		"http":  {},
		"https": {Secure: NewSecure("www.example.com", true, authority.roots(), HTTP1)},
		"h2c":   {HTTP2: true},
		"h2":    {HTTP2: true, Secure: NewSecure("www.example.com", true, authority.roots(), HTTP2)},
	} {
		w := plain
		if p.Secure != nil {
			w = secure
		}
		p.Addr = w.addr
		t.Run(name, func(t *testing.T) { f(t, p, w) })
	}
}

func TestHTTPInEveryVersionIsJudgedByTheAnswer(t *testing.T) {
	for _, tc := range []struct {
		name string
		path string
		with func(*HTTP)
		pass string
		fail string
	}{
		{"status", "/status/200", nil, "200 OK", ""},
		{"status without a body", "/status/204", nil, "204 No Content", ""},
		{"unwanted status", "/status/503", nil, "", "status 503"},
		{"unwanted status with a long body", "/long", func(p *HTTP) { p.Status = []int{204} }, "", "status 200"},
		{"wanted status", "/status/418", func(p *HTTP) { p.Status = []int{200, 418} }, "418 I'm a teapot", ""},
		{"after early hints", "/hints", nil, "200 OK", ""},
		{"no body to a HEAD", "/body/ok", func(p *HTTP) { p.Method = "HEAD" }, "200 OK", ""},
		{"body has the text", "/body/all ok here", func(p *HTTP) { p.Body = mustMatch(t, "ok", "") }, "200 OK", ""},
		{"body lacks the text", "/body/failed", func(p *HTTP) { p.Body = mustMatch(t, "ok", "") }, "", `body does not contain "ok"`},
		{"body matches", "/body/up 17 days", func(p *HTTP) { p.Body = mustMatch(t, "days", `^up \d+`) }, "200 OK", ""},
		{"body does not match", "/body/up for days", func(p *HTTP) { p.Body = mustMatch(t, "days", `^up \d+`) }, "", `body does not match "^up \\d+"`},
		{"empty body", "/status/200", func(p *HTTP) { p.Body = mustMatch(t, "ok", "") }, "", `body does not contain "ok"`},
		{"beginning of a long body", "/long", func(p *HTTP) { p.Body = mustMatch(t, "", "^x{1000}") }, "200 OK", ""},
		{"header", "/header/X-Ready/yes", func(p *HTTP) { p.Expected = []Field{{"x-ready", "yes"}} }, "200 OK", ""},
		{"header with any value", "/header/X-Ready/no", func(p *HTTP) { p.Expected = []Field{{"X-Ready", ""}} }, "200 OK", ""},
		{"header with another value", "/header/X-Ready/no", func(p *HTTP) { p.Expected = []Field{{"X-Ready", "yes"}} }, "", `header X-Ready is not "yes"`},
		{"no header", "/status/200", func(p *HTTP) { p.Expected = []Field{{"X-Ready", ""}} }, "", "no header X-Ready"},
		{"too many headers", "/headers", nil, "", "headers longer than 32 KiB"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			everyHTTP(t, func(t *testing.T, p HTTP, _ *webServer) {
				p.Path = strings.ReplaceAll(tc.path, " ", "%20")
				if tc.with != nil {
					tc.with(&p)
				}
				if tc.fail == "" {
					wantPass(t, p, tc.pass)
					return
				}
				u, err := p.url()
				if err != nil {
					t.Fatal(err)
				}
				wantFailure(t, time.Minute, p, fmt.Sprintf("%s %s: %s", p.method(), u, tc.fail))
			})
		})
	}
}

func TestHTTPInEveryVersionAsksAsConfigured(t *testing.T) {
	everyHTTP(t, func(t *testing.T, p HTTP, w *webServer) {
		p.Host, p.Path = "www.example.com:8443", "/healthz?full=1"
		p.Header = []Field{{"Authorization", "Basic eDp5"}, {"X-Probe", "1"}, {"X-Probe", "2"}}
		wantPass(t, p, "200 OK")
		req := <-w.seen
		if req.Host != p.Host || req.RequestURI != p.Path || req.Method != "GET" {
			t.Errorf("%s %s of %s", req.Method, req.RequestURI, req.Host)
		}
		want := http.Header{"User-Agent": {"xlb-health"}, "Accept": {"*/*"}, "Authorization": {"Basic eDp5"}, "X-Probe": {"1", "2"}}
		req.Header.Del("Connection")
		if diff := cmp.Diff(want, req.Header); diff != "" {
			t.Errorf("header (-want +got):\n%s", diff)
		}
		if p.HTTP2 != (req.ProtoMajor == 2) || (p.Secure != nil) != (req.TLS != nil) {
			t.Errorf("%s with TLS %+v", req.Proto, req.TLS)
		}
	})
}

func TestHTTPOverTLSIsJudgedByTheHandshakeFirst(t *testing.T) {
	authority := newAuthority(t)
	cert := authority.issue(nil)
	w := newWebServer(t, &cert)
	for _, tc := range []struct {
		addr   netip.AddrPort
		secure *Secure
		want   string
	}{
		{w.addr, NewSecure("example.org", true, authority.roots(), HTTP1), "certificate is not for example.org"},
		{w.addr, NewSecure("www.example.com", true, newAuthority(t).roots(), HTTP1), "certificate signed by an unknown authority"},
		{closedPort(t), NewSecure("", false, nil, HTTP1), "connection refused"},
	} {
		wantFailure(t, time.Minute, HTTP{Addr: tc.addr, Secure: tc.secure}, fmt.Sprintf("GET https://%s/: %s", tc.addr, tc.want))
	}
}

func TestHTTPOverTLSBoundsTheWholeExchangeByTime(t *testing.T) {
	cert := newAuthority(t).issue(nil)
	drip := serve(t, func(c *net.TCPConn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		if _, err := http.ReadRequest(bufio.NewReader(s)); err != nil {
			t.Error(err)
		}
		ticker := time.NewTicker(brief / 10)
		defer ticker.Stop()
		for range ticker.C {
			if _, err := io.WriteString(s, "H"); err != nil {
				return
			}
		}
	})
	wantFailure(t, brief, HTTP{Addr: drip, Secure: NewSecure("", false, nil, "")}, fmt.Sprintf("GET https://%s/: timeout after 100ms", drip))
}

func TestPatternThatIsNoneIsRefused(t *testing.T) {
	if _, err := NewMatch("", "("); err == nil {
		t.Error("accepted")
	}
}
