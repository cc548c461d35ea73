package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen opens a listener in the namespace, as net.Listen does. It is plain TCP, never MPTCP, so that the listener can go
// into a sockmap. The address must be a literal one: names would be looked up in the namespace, which has no resolver.
func (n *Namespace) Listen(network, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	var l net.Listener
	err := n.Do(func() (err error) {
		l, err = lc.Listen(context.Background(), network, addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen in namespace %s: %w", n.name, err)
	}
	return l, nil
}

// ListenPacket opens a packet socket in the namespace, as net.ListenPacket does.
func (n *Namespace) ListenPacket(network, addr string) (net.PacketConn, error) {
	var lc net.ListenConfig
	var c net.PacketConn
	err := n.Do(func() (err error) {
		c, err = lc.ListenPacket(context.Background(), network, addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen in namespace %s: %w", n.name, err)
	}
	return c, nil
}

// Dial connects from the namespace to raddr over network ("tcp", "udp" and their 4 and 6 forms). A valid laddr is the
// source; its port may be 0. The source is bound with SO_REUSEADDR, so that a port still in use towards another
// destination can be taken again. The connection is plain TCP, never MPTCP.
func (n *Namespace) Dial(ctx context.Context, network string, laddr, raddr netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: reuseAddr}
	d.SetMultipathTCP(false)
	if laddr.IsValid() {
		switch {
		case strings.HasPrefix(network, "tcp"):
			d.LocalAddr = net.TCPAddrFromAddrPort(laddr)
		case strings.HasPrefix(network, "udp"):
			d.LocalAddr = net.UDPAddrFromAddrPort(laddr)
		default:
			return nil, fmt.Errorf("dial from namespace %s: network %q cannot be bound to %s, use tcp or udp", n.name, network, laddr)
		}
	}
	var c net.Conn
	err := n.Do(func() (err error) {
		c, err = d.DialContext(ctx, network, raddr.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dial from namespace %s: %w", n.name, err)
	}
	return c, nil
}

func reuseAddr(_, _ string, raw syscall.RawConn) error {
	var err error
	ctlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	})
	return errors.Join(ctlErr, err)
}
