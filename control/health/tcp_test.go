package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

const brief = 100 * time.Millisecond // for probes that are meant to run out of time

func TestTCPPassesWhenThePortAccepts(t *testing.T) {
	addr := serve(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	wantPass(t, TCP{Addr: addr}, "connected")
}

func TestTCPLeavesNothingBehind(t *testing.T) {
	seen := make(chan error, 1)
	multipath := make(chan bool, 1)
	addr := serve(t, func(c *net.TCPConn) {
		mp, err := c.MultipathTCP()
		if err != nil {
			t.Error(err)
		}
		multipath <- mp
		_, err = c.Read(make([]byte, 1))
		seen <- err
	})
	t.Setenv("GODEBUG", "multipathtcp=3") // on by default, for listeners and dialers
	wantPass(t, TCP{Addr: addr}, "connected")
	if <-multipath {
		t.Error("probed by multipath TCP")
	}
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("server saw %v, want a reset", err)
	}
}

func TestTCPSaysWhyItFailed(t *testing.T) {
	wantFailure(t, time.Minute, TCP{Addr: closedPort(t)}, "connection refused")
	wantFailure(t, brief, TCP{Addr: blackHole(t)}, "timeout after 100ms")
	wantFailure(t, time.Minute, TCP{Addr: netip.MustParseAddrPort("[fe80::1%no-such-link]:80")}, "invalid argument")
}

func TestTCPEndsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	addr := blackHole(t)
	time.AfterFunc(brief, func() { cancel(stopped) })
	if _, err := (TCP{Addr: addr}).Probe(ctx); err != stopped {
		t.Errorf("got %v, want %v", err, stopped)
	}
}

func TestErrorsOfTheKernelAreTold(t *testing.T) {
	for _, tc := range []struct {
		errno   syscall.Errno
		want    string
		notSent bool
	}{
		{syscall.ECONNREFUSED, "connection refused", false},
		{syscall.ECONNRESET, "connection reset by peer", false},
		{syscall.EHOSTUNREACH, "no route to host", false},
		{syscall.ENETUNREACH, "network is unreachable", false},
		{syscall.ETIMEDOUT, "connection timed out", false},
		{syscall.EPERM, "operation not permitted", false},
		{syscall.EMFILE, "not sent: too many open files", true},
		{syscall.ENFILE, "not sent: too many open files in system", true},
		{syscall.EADDRNOTAVAIL, "not sent: cannot assign requested address", true},
		{syscall.ENOBUFS, "not sent: no buffer space available", true},
		{syscall.ENOMEM, "not sent: cannot allocate memory", true},
	} {
		err := reason(t.Context(), &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(nowhere),
			Err: os.NewSyscallError("connect", tc.errno)})
		if err.Error() != tc.want || errors.Is(err, ErrNotSent) != tc.notSent {
			t.Errorf("%v: got %v, want %q, not sent: %v", tc.errno, err, tc.want, tc.notSent)
		}
	}
}

func TestProbeWithoutMeansIsNotSent(t *testing.T) {
	via := Via{Source: nowhere.Addr()} // not an address of this machine
	for want, p := range map[string]Prober{
		"not sent: cannot assign requested address":                           TCP{Addr: nowhere, Via: via},
		"GET http://192.0.2.1:80/: not sent: cannot assign requested address": HTTP{Addr: nowhere, Via: via},
	} {
		if _, err := probeWithin(t, time.Minute, p); err == nil || err.Error() != want || !errors.Is(err, ErrNotSent) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
