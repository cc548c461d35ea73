package health

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// answeringUDP answers each datagram to a loopback port with what each of tell makes of it,
// until the test ends.
func answeringUDP(t *testing.T, tell ...func([]byte) []byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			for _, f := range tell {
				conn.WriteToUDPAddrPort(f(bytes.Clone(buf[:n])), from)
			}
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// closedUDPPort returns a loopback address on which nothing listens: the port is taken, by a
// socket that hears from another port alone.
func closedUDPPort(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestUDPIsJudgedByTheAnswer(t *testing.T) {
	echo := answeringUDP(t, func(b []byte) []byte { return b })
	wantPass(t, UDP{Addr: echo, Send: []byte("ping\x00"), Expect: []byte("g\x00")}, "answered")
	wantPass(t, UDP{Addr: echo, Send: []byte("ping")}, "answered")
	wantPass(t, UDP{Addr: echo}, "answered") // an empty datagram is one
	wantFailure(t, time.Minute, UDP{Addr: echo, Send: []byte("ping"), Expect: []byte("pong\x00")}, `answer does not contain "pong\x00"`)
	wantFailure(t, time.Minute, UDP{Addr: answeringUDP(t, func([]byte) []byte { return nil }), Expect: []byte("pong")}, `answer does not contain "pong"`)
}

func TestUDPSilencePassesUnlessAnAnswerIsWanted(t *testing.T) {
	silent := answeringUDP(t)
	wantFailure(t, brief, UDP{Addr: silent, Expect: []byte("pong")}, "timeout after 100ms")
	answer, err := probeWithin(t, 2*brief, UDP{Addr: silent, Send: []byte("ping")})
	if err != nil || answer != "not refused" {
		t.Errorf("got %q and error %v", answer, err)
	}
}

func TestUDPToAPortThatIsClosedFails(t *testing.T) {
	closed := closedUDPPort(t)
	wantFailure(t, time.Minute, UDP{Addr: closed, Send: []byte("ping")}, "connection refused")
	wantFailure(t, time.Minute, UDP{Addr: closed, Send: []byte("ping"), Expect: []byte("pong")}, "connection refused")
}

func TestUDPEndsWhenCancelled(t *testing.T) {
	stopped := errors.New("stopped")
	for _, p := range []UDP{{Addr: answeringUDP(t)}, {Addr: answeringUDP(t), Expect: []byte("pong")}} {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(brief, func() { cancel(stopped) })
		if _, err := p.Probe(ctx); err != stopped {
			t.Errorf("got %v, want %v", err, stopped)
		}
	}
}

func TestUDPThatIsTooLongIsNotAnswered(t *testing.T) {
	_, err := probeWithin(t, time.Minute, UDP{Addr: answeringUDP(t), Send: make([]byte, 70_000)})
	if !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("got %v, want %v", err, syscall.EMSGSIZE)
	}
}
