package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Via is the way by which a probe leaves. The zero Via is the direct one.
type Via struct {
	Mark   uint32     // mark of the socket, by which the data path knows the backend; 0: none
	Source netip.Addr // address to send from; invalid: the kernel chooses
}

// dialTCP opens a connection to addr. It sends no keep-alives and no multipath option:
// probes are short, and should look like the plainest client's.
func (v Via) dialTCP(ctx context.Context, addr netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{KeepAlive: -1, ControlContext: v.prepare}
	d.SetMultipathTCP(false)
	return d.DialTCP(ctx, "tcp", netip.AddrPortFrom(v.Source, 0), addr)
}

// dialUDP returns a socket that sends to addr alone, and hears from it and of it alone.
func (v Via) dialUDP(ctx context.Context, addr netip.AddrPort) (*net.UDPConn, error) {
	d := net.Dialer{ControlContext: v.prepare}
	return d.DialUDP(ctx, "udp", netip.AddrPortFrom(v.Source, 0), addr)
}

// prepare sets the options that a socket needs before it is bound.
func (v Via) prepare(_ context.Context, network, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = v.options(int(fd))
		if strings.HasPrefix(network, "udp") {
			err = errors.Join(err, hearErrors(int(fd), strings.HasSuffix(network, "6")))
		}
	}); e != nil {
		return e
	}
	return err
}

func (v Via) options(fd int) error {
	// The port is chosen when the destination is known: bound before that, all probes of a
	// node would share one range of ports.
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return v.mark(fd)
}

func (v Via) mark(fd int) error {
	if v.Mark == 0 {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(v.Mark)); err != nil {
		return fmt.Errorf("%w: mark the socket: %w", ErrNotSent, err)
	}
	return nil
}

// hearErrors has a socket told of every ICMP error, also of those that may pass.
func hearErrors(fd int, v6 bool) error {
	if v6 {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, 1))
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1))
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
	defer breakOff(ctx, conn)()
	return talk(conn)
}

// converseUDP does the same with a socket for datagrams.
func converseUDP(ctx context.Context, via Via, addr netip.AddrPort, talk func(net.Conn) error) error {
	conn, err := via.dialUDP(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer breakOff(ctx, conn)()
	return talk(conn)
}

// breakOff ends what is under way on conn when ctx ends, until release is called.
func breakOff(ctx context.Context, conn interface{ SetDeadline(time.Time) error }) (release func()) {
	broken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(broken)
		_ = conn.SetDeadline(time.Unix(1, 0)) // in the past; fails only on a closed connection
	})
	return func() {
		if !stop() {
			<-broken
		}
	}
}
