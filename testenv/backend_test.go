package testenv

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestKilledBackendRefusesUntilRestored(t *testing.T) {
	lab := newLab(t, NewRouted, Options{Backends: 1})
	b, ctx, from := lab.Backends[0], within(t, 10*time.Second), Sources(1)[0]
	b.Kill()
	b.Kill()
	if _, err := lab.Get(ctx, web, from); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("HTTP: %v, want %v", err, syscall.ECONNREFUSED)
	}
	if _, err := lab.Ask(ctx, web, from); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("UDP: %v, want %v", err, syscall.ECONNREFUSED)
	}
	if err := errors.Join(b.Restore(), b.Restore()); err != nil {
		t.Fatal(err)
	}
	got, err := lab.Get(ctx, web, from)
	wantAnswer(t, "HTTP after Restore", got, err, "backend1")
}

func TestKillEndsConnectionsThatAreOpen(t *testing.T) {
	lab := newLab(t, NewRouted, Options{Backends: 1})
	c, err := lab.Client.Dial(within(t, 10*time.Second), "tcp", Sources(1)[0], web)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	lab.Backends[0].Kill()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read ended with %v, want a closed connection", err)
	}
}

func TestHangingBackendAcceptsAndAnswersOnlyAfterRestore(t *testing.T) {
	lab := newLab(t, NewRouted, Options{Backends: 1})
	b, ctx, sources := lab.Backends[0], within(t, 10*time.Second), Sources(2)
	b.Hang()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := lab.Get(short, web, sources[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("HTTP: %v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := lab.Ask(short, web, sources[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("UDP: %v, want %v", err, context.DeadlineExceeded)
	}
	c, err := lab.Client.Dial(ctx, "tcp", sources[1], web)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.0 200 OK") {
		t.Errorf("the request that waited got %q, %v", got, err)
	}
	got, err := lab.Get(ctx, web, sources[0])
	wantAnswer(t, "HTTP from a source that gave up before", got, err, "backend1")
}

func TestKillOfAHangingBackendDropsWhatWaits(t *testing.T) {
	lab := newLab(t, NewRouted, Options{Backends: 1})
	b, ctx := lab.Backends[0], within(t, 10*time.Second)
	b.Hang()
	c, err := lab.Client.Dial(ctx, "tcp", Sources(1)[0], web)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A body that never comes keeps the server from noticing the end of the connection by itself.
	if _, err := io.WriteString(c, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b.Kill()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(c)
	if len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v; want the connection ended without an answer", got, err)
	}
}

func TestHealthPageFollowsSetHealthy(t *testing.T) {
	lab := New(t, NewRouted, Options{Backends: 1})
	b, ctx := lab.Backends[0], within(t, 10*time.Second)
	for _, want := range []int{http.StatusOK, http.StatusServiceUnavailable, http.StatusOK} {
		b.SetHealthy(want == http.StatusOK)
		got, err := healthz(ctx, lab.LB, netip.AddrPortFrom(b.Addr, lab.Port))
		if err != nil || got != want {
			t.Errorf("got %d, %v; want %d", got, err, want)
		}
	}
}
