package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"
)

// nowhere is an address for probes that never reach the network.
var nowhere = netip.MustParseAddrPort("192.0.2.1:80")

// serve answers each connection to a loopback port with talk until the test ends.
func serve(t *testing.T, talk func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.AcceptTCP()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				talk(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// dripping says head, and then drop again and again, always well within brief.
func dripping(t *testing.T, head, drop string) netip.AddrPort {
	t.Helper()
	return serve(t, func(c *net.TCPConn) {
		io.WriteString(c, head)
		drip := time.NewTicker(brief / 10)
		defer drip.Stop()
		for range drip.C {
			if _, err := io.WriteString(c, drop); err != nil {
				return
			}
		}
	})
}

// closedPort returns a loopback address on which nothing listens.
func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	// A bound socket that does not listen refuses, and keeps others off the port.
	fd, addr := boundSocket(t)
	t.Cleanup(func() { syscall.Close(fd) })
	return addr
}

// blackHole returns a loopback address whose kernel drops SYNs: a backlog that is full.
func blackHole(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, addr := boundSocket(t)
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	for { // fill it: the first connection that gets no answer is the proof
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		conn, err := Via{}.dialTCP(ctx, addr)
		cancel()
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
}

func boundSocket(t *testing.T) (int, netip.AddrPort) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in := name.(*syscall.SockaddrInet4)
	return fd, netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
}

// probeWithin sends one probe as a Checker does, once more if this machine was too busy.
func probeWithin(t *testing.T, timeout time.Duration, p Prober) (string, error) {
	t.Helper()
	for {
		answer, err := probe(t.Context(), Check{Probe: p, Timeout: timeout})
		var late lateError
		if !errors.As(err, &late) {
			return answer, err
		}
	}
}

func wantPass(t *testing.T, p Prober, want string) {
	t.Helper()
	answer, err := probeWithin(t, time.Minute, p)
	if err != nil || answer != want {
		t.Errorf("got %q and error %v, want %q", answer, err, want)
	}
}

func wantFailure(t *testing.T, timeout time.Duration, p Prober, want string) {
	t.Helper()
	answer, err := probeWithin(t, timeout, p)
	if err == nil || err.Error() != want {
		t.Errorf("got %q and error %v, want error %q", answer, err, want)
	}
}
