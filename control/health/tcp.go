package health

import (
	"context"
	"net"
	"net/netip"
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
