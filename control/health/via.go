package health

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

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

// prepare sets the options that a socket needs before it is bound.
func (v Via) prepare(_ context.Context, _, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = v.options(int(fd)) }); e != nil {
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
	if v.Mark == 0 {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(v.Mark)); err != nil {
		return fmt.Errorf("%w: mark the socket: %w", ErrNotSent, err)
	}
	return nil
}
