package health

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// serveTLS shakes hands and waits for the prober to close.
func serveTLS(t *testing.T, config *tls.Config) netip.AddrPort {
	t.Helper()
	return serve(t, func(c *net.TCPConn) {
		s := tls.Server(c, config)
		if s.Handshake() == nil {
			io.Copy(io.Discard, s)
		}
	})
}

func TestTLSIsJudgedByTheHandshake(t *testing.T) {
	ours, other := newAuthority(t), newAuthority(t)
	with := func(change func(*x509.Certificate), more ...func(*tls.Config)) *tls.Config {
		c := &tls.Config{Certificates: []tls.Certificate{ours.issue(change)}}
		for _, m := range more {
			m(c)
		}
		return c
	}
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	forClients := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	upTo := func(version uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, version }
	}
	verified := NewSecure("www.example.com", true, ours.roots(), "")
	for _, tc := range []struct {
		name   string
		server *tls.Config
		secure *Secure
		pass   string
		fail   string
	}{
		{"valid", with(nil), verified, "TLS 1.3", ""},
		{"valid for an address", with(nil), NewSecure("127.0.0.1", true, ours.roots(), ""), "TLS 1.3", ""},
		{"valid for whatever", with(nil), NewSecure("", true, ours.roots(), ""), "TLS 1.3", ""},
		{"older version", with(nil, upTo(tls.VersionTLS12)), verified, "TLS 1.2", ""},
		{"too old a version", with(nil, upTo(tls.VersionTLS11)), verified, "", "server refused the handshake: protocol version not supported"},
		{"another authority", with(nil), NewSecure("www.example.com", true, other.roots(), ""), "", "certificate signed by an unknown authority"},
		{"another authority, whatever name", with(nil), NewSecure("", true, other.roots(), ""), "", "certificate signed by an unknown authority"},
		{"not the system's authority", with(nil), NewSecure("www.example.com", true, nil, ""), "", "certificate signed by an unknown authority"},
		{"another name", with(nil), NewSecure("example.org", true, ours.roots(), ""), "", "certificate is not for example.org"},
		{"expired", with(expired), verified, "", "certificate expired or not yet valid"},
		{"for clients only", with(forClients), verified, "", "certificate not valid for a server"},
		{"not verified", with(expired), NewSecure("example.org", false, nil, ""), "TLS 1.3", ""},
		{"no protocol", with(nil), NewSecure("", false, nil, HTTP2), "", "server does not speak HTTP/2"},
		{"no common protocol", with(nil, func(c *tls.Config) { c.NextProtos = []string{"h3"} }), NewSecure("", false, nil, HTTP2),
			"", "server refused the handshake: no application protocol"},
		{"certificate of the client wanted", with(nil, upTo(tls.VersionTLS12), func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), verified,
			"", "server refused the handshake: handshake failure"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := TLS{Addr: serveTLS(t, tc.server), Secure: tc.secure}
			if tc.fail == "" {
				wantPass(t, p, tc.pass)
			} else {
				wantFailure(t, time.Minute, p, tc.fail)
			}
		})
	}
}

func TestTLSAsksForItsNameAlone(t *testing.T) {
	for name, want := range map[string]string{"www.example.com": "www.example.com", "192.0.2.1": "", "": ""} {
		hello := make(chan *tls.ClientHelloInfo, 1)
		addr := serveTLS(t, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			hello <- h
			return nil, errors.New("enough")
		}})
		probeWithin(t, time.Minute, TLS{Addr: addr, Secure: NewSecure(name, false, nil, HTTP1)})
		h := <-hello
		if h.ServerName != want {
			t.Errorf("asked for %q, want %q", h.ServerName, want)
		}
		if diff := cmp.Diff([]string{"http/1.1"}, h.SupportedProtos); diff != "" {
			t.Errorf("protocols (-want +got):\n%s", diff)
		}
	}
}

func TestTLSThatIsNone(t *testing.T) {
	secure := NewSecure("www.example.com", true, nil, "")
	for name, tc := range map[string]struct {
		answer string
		fail   string
	}{
		"nothing":           {"", "answer cut short"},
		"HTTP":              {"HTTP/1.1 400 Bad Request\r\n\r\n", "answer is not TLS"},
		"noise":             {strings.Repeat("\x00\xff\x1b[31m", 10_000), "answer is not TLS"},
		"half a record":     {"\x16\x03\x03\x40\x00\x02", "answer cut short"},
		"record of noise":   {"\x16\x03\x03\x00\x08\x02\x00\x00\x04abcd", "TLS handshake failed"},
		"alert":             {"\x15\x03\x03\x00\x02\x02\x50", "server refused the handshake: internal error"},
		"endless message":   {"\x16\x03\x03\x40\x00\x02\xff\xff\xff" + strings.Repeat("x", 1<<20), "TLS handshake failed"},
		"too long a record": {"\x16\x03\x03\xff\xff" + strings.Repeat("x", 1<<20), "answer is not TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, func(c *net.TCPConn) {
				c.Read(make([]byte, 4096))
				io.WriteString(c, tc.answer)
				c.CloseWrite()
				io.Copy(io.Discard, c)
			})
			wantFailure(t, time.Minute, TLS{Addr: addr, Secure: secure}, tc.fail)
		})
	}
	silent := serve(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	wantFailure(t, brief, TLS{Addr: silent, Secure: secure}, "timeout after 100ms")
	wantFailure(t, brief, TLS{Addr: dripping(t, "\x16\x03\x03\x40\x00\x02\x00\x3f\x00", "x"), Secure: secure}, "timeout after 100ms")
	wantFailure(t, time.Minute, TLS{Addr: closedPort(t), Secure: secure}, "connection refused")
}

func TestTLSLeavesNothingBehind(t *testing.T) {
	seen := make(chan error, 1)
	cert := newAuthority(t).issue(nil)
	addr := serve(t, func(c *net.TCPConn) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		_, err := s.Read(make([]byte, 1))
		seen <- err
	})
	wantPass(t, TLS{Addr: addr, Secure: NewSecure("", false, nil, "")}, "TLS 1.3")
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("server saw %v, want a reset", err)
	}
}

func TestRootsAreReadAgainWhenTheFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	if _, err := ReadRoots(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRoots(path); err == nil || err.Error() != path+" holds no certificate in PEM" {
		t.Errorf("no certificate: %v", err)
	}
	replace := func(a *authority) *Roots {
		t.Helper()
		pem, err := os.ReadFile(a.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		return a.roots()
	}
	first := replace(newAuthority(t))
	one, err := ReadRoots(path)
	if err != nil || one.Sum != first.Sum {
		t.Fatalf("got %v and %v, want %s", one, err, first.Sum)
	}
	if again, err := ReadRoots(path); err != nil || again != one {
		t.Errorf("read again without a change: %v and %v", again, err)
	}
	second := replace(newAuthority(t))
	if two, err := ReadRoots(path); err != nil || two.Sum != second.Sum {
		t.Errorf("after a change: got %v and %v, want %s", two, err, second.Sum)
	}
}
