package health

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// TCP passes when the target accepts a connection. That is its kernel speaking: an
// application that listens but hangs passes until its backlog is full.
type TCP struct {
	Addr netip.AddrPort
	Via  Via
}

// Probe opens a connection and resets it, so that neither side is left with a socket
// in TIME_WAIT.
func (p TCP) Probe(ctx context.Context) (string, error) {
	err := converse(ctx, p.Via, p.Addr, func(net.Conn) error { return nil })
	if err != nil {
		return "", reason(ctx, err)
	}
	return "connected", nil
}

// converse opens a connection of its own for talk, breaks it off when ctx ends, and
// closes it without leaving anything behind. It returns the first error as it came.
func converse(ctx context.Context, via Via, addr netip.AddrPort, talk func(net.Conn) error) error {
	conn, err := via.dialTCP(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Closing resets: thousands of probes a second would otherwise fill the table of
	// sockets in TIME_WAIT and use up the source ports.
	if err := conn.SetLinger(0); err != nil {
		return err
	}
	broken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(broken)
		_ = conn.SetDeadline(time.Unix(1, 0)) // in the past; fails only on a closed connection
	})
	defer func() {
		if !stop() {
			<-broken
		}
	}()
	return talk(conn)
}
