package health

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Dialer opens a connection. *net.Dialer is one; it should have multipath TCP off.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// TCP passes when the target accepts a connection. That is its kernel speaking: an
// application that listens but hangs passes until its backlog is full.
type TCP struct {
	Addr   netip.AddrPort
	Dialer Dialer // nil: a plain one
}

// Probe opens a connection and resets it, so that neither side is left with a socket
// in TIME_WAIT.
func (p TCP) Probe(ctx context.Context) (string, error) {
	err := converse(ctx, p.Dialer, p.Addr, func(net.Conn) error { return nil })
	if err != nil {
		return "", reason(ctx, err)
	}
	return "connected", nil
}

// plainDialer sends no keep-alives and no multipath option: probes are short, and
// should look like the plainest client's.
var plainDialer = func() Dialer {
	d := &net.Dialer{KeepAlive: -1}
	d.SetMultipathTCP(false)
	return d
}()

// converse opens a connection of its own for talk, breaks it off when ctx ends, and
// closes it without leaving anything behind. It returns the first error as it came.
func converse(ctx context.Context, d Dialer, addr netip.AddrPort, talk func(net.Conn) error) error {
	if d == nil {
		d = plainDialer
	}
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Closing resets: thousands of probes a second would otherwise fill the table
		// of sockets in TIME_WAIT and use up the source ports.
		if err := tcp.SetLinger(0); err != nil {
			return err
		}
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
