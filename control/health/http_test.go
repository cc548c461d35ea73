package health

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// answering reads the request, writes the answer and waits for the prober to close.
func answering(t *testing.T, answer string) netip.AddrPort {
	t.Helper()
	return serve(t, func(c *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			t.Error(err)
		}
		io.WriteString(c, answer) // fails if the prober has read enough
		c.CloseWrite()
		io.Copy(io.Discard, c)
	})
}

func TestHTTPIsJudgedByStatus(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer string
		wanted []int
		pass   string
		fail   string
	}{
		{"ok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", nil, "200 OK", ""},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", nil, "204 No Content", ""},
		{"body up to the close", "HTTP/1.0 200 OK\r\n\r\nok", nil, "200 OK", ""},
		{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", nil, "200 OK", ""},
		{"after early hints", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", nil, "200 OK", ""},
		{"server's own words are not repeated", "HTTP/1.1 200 \x1b[31mgreat\r\nContent-Length: 0\r\n\r\n", nil, "200 OK", ""},
		{"status without a name", "HTTP/1.1 299 x\r\nContent-Length: 0\r\n\r\n", nil, "299", ""},
		{"unavailable", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", nil, "", "status 503"},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", nil, "", "status 302"},
		{"protocol switch", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", nil, "", "status 101"},
		{"wanted redirect", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", []int{302}, "302 Found", ""},
		{"wanted teapot", "HTTP/1.1 418 x\r\nContent-Length: 0\r\n\r\n", []int{200, 418}, "418 I'm a teapot", ""},
		{"2xx that is not wanted", "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", []int{200, 418}, "", "status 201"},
		{"huge body", "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + strings.Repeat("x", 10_000_000), nil, "200 OK", ""},
		{"huge chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("2\r\nok\r\n", 1_000_000), nil, "200 OK", ""},
		{"huge headers", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 1_000_000) + "\r\n", nil, "", "headers longer than 32 KiB"},
		{"one endless header", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 1_000_000), nil, "", "headers longer than 32 KiB"},
		{"endless early hints", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100_000), nil, "", "headers longer than 32 KiB"},
		{"nothing", "", nil, "", "connection closed without an answer"},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-Length: ", nil, "", "answer cut short"},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok", nil, "", "answer cut short"},
		{"TLS alert", "\x15\x03\x01\x00\x02\x02\x16", nil, "", "answer is TLS, not HTTP"},
		{"another protocol", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", nil, "", "answer is not HTTP"},
		{"noise", "\x00\xff\x1b[31m\r\n\r\n", nil, "", "answer is not HTTP"},
		{"broken chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[31m\r\n", nil, "", "answer is not HTTP"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := answering(t, tc.answer)
			p := HTTP{Addr: addr, Path: "/healthz", Status: tc.wanted}
			if tc.fail == "" {
				wantPass(t, p, tc.pass)
			} else {
				wantFailure(t, time.Minute, p, fmt.Sprintf("GET http://%s/healthz: %s", addr, tc.fail))
			}
		})
	}
}

func TestHTTPAsksPlainly(t *testing.T) {
	for _, tc := range []struct {
		name             string
		host, path       string
		wantHost, wantIs string
	}{
		{"as configured", "www.example.com", "/healthz?full=1", "www.example.com", "/healthz?full=1"},
		{"by default", "", "", "ADDR", "/"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("HTTP_PROXY", "http://192.0.2.1:3128")
			got := make(chan string, 1)
			addr := serve(t, func(c *net.TCPConn) {
				var head bytes.Buffer
				req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(c, &head)))
				if err != nil {
					t.Error(err)
					return
				}
				got <- head.String()
				if !req.Close {
					t.Error("asks to keep the connection")
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("server saw %v, want a reset", err)
				}
			})
			wantPass(t, HTTP{Addr: addr, Host: tc.host, Path: tc.path}, "200 OK")
			want := "GET " + tc.wantIs + " HTTP/1.1\r\nHost: " + strings.ReplaceAll(tc.wantHost, "ADDR", addr.String()) +
				"\r\nUser-Agent: xlb-health\r\nConnection: close\r\nAccept: */*\r\n\r\n"
			if diff := cmp.Diff(want, <-got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHTTPBoundsTheWholeExchangeByTime(t *testing.T) {
	silent := func(c *net.TCPConn) { io.Copy(io.Discard, c) }
	for name, addr := range map[string]netip.AddrPort{
		"no handshake":      blackHole(t),
		"no answer":         serve(t, silent),
		"head byte by byte": dripping(t, "HTTP/1.1 200 OK\r\nX: ", "y"),
		"body byte by byte": dripping(t, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", "y"),
		"hint after hint":   dripping(t, "", "HTTP/1.1 100 Continue\r\n\r\n"),
		"body that is not there": serve(t, func(c *net.TCPConn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
			silent(c)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			wantFailure(t, brief, HTTP{Addr: addr, Path: "/healthz"},
				fmt.Sprintf("GET http://%s/healthz: timeout after 100ms", addr))
		})
	}
}

func TestHTTPBadStatusIsToldWithoutWaitingForTheBody(t *testing.T) {
	addr := serve(t, func(c *net.TCPConn) {
		io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1000\r\n\r\n")
		io.Copy(io.Discard, c)
	})
	wantFailure(t, time.Minute, HTTP{Addr: addr}, fmt.Sprintf("GET http://%s/: status 503", addr))
}

func TestHTTPToATLSServerFails(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	addr := server.Listener.Addr().(*net.TCPAddr).AddrPort()
	wantFailure(t, time.Minute, HTTP{Addr: addr}, fmt.Sprintf("GET http://%s/: status 400", addr))
}

func TestHTTPSaysWhyItFailed(t *testing.T) {
	refusing := closedPort(t)
	wantFailure(t, time.Minute, HTTP{Addr: refusing, Path: "/a"}, fmt.Sprintf("GET http://%s/a: connection refused", refusing))
	resetting := serve(t, func(c *net.TCPConn) {
		http.ReadRequest(bufio.NewReader(c))
		c.SetLinger(0)
	})
	wantFailure(t, time.Minute, HTTP{Addr: resetting}, fmt.Sprintf("GET http://%s/: connection reset by peer", resetting))
	if _, err := (HTTP{Addr: nowhere, Path: "/a b\n"}).Probe(context.Background()); err == nil || !strings.HasPrefix(err.Error(), "build request: ") {
		t.Errorf("bad path: got %v", err)
	}
}

func BenchmarkHTTP(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	p := HTTP{Addr: server.Listener.Addr().(*net.TCPAddr).AddrPort()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Probe(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
