package testenv

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Frame is an Ethernet frame as an interface carried it, with its VLAN tags and without its checksum.
type Frame struct {
	Data     []byte
	Outgoing bool // the namespace sent it; else it came in
}

// Tap sees the frames of one interface from the moment it is opened. Frames that an XDP program on the interface takes for
// itself do not get that far: watch those at the other end of the link. Segments of one TCP connection that come in together
// may be seen merged into one frame.
type Tap struct {
	file *os.File
	on   string
}

// tapBuffer is how many bytes of frames wait for the reader; the kernel drops what does not fit.
const tapBuffer = 8 << 20

// OpenTap starts watching an interface.
func OpenTap(n *Namespace, ifname string) (*Tap, error) {
	fd, err := packetSocket(n, ifname, unix.ETH_P_ALL)
	if err != nil {
		return nil, fmt.Errorf("tap %s/%s: %w", n.name, ifname, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapBuffer); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tap %s/%s: grow buffer: %w", n.name, ifname, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tap %s/%s: ask for VLAN tags: %w", n.name, ifname, err)
	}
	return &Tap{file: os.NewFile(uintptr(fd), "tap"), on: n.name + "/" + ifname}, nil
}

// packetSocket opens a raw socket bound to an interface. Protocol 0 receives nothing.
func packetSocket(n *Namespace, ifname string, protocol uint16) (int, error) {
	iface, err := n.nl.LinkByName(ifname)
	if err != nil {
		return -1, err
	}
	fd := -1
	// Without a protocol until bound: otherwise it would begin with frames of all interfaces.
	err = n.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	wire := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, protocol))
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: wire, Ifindex: iface.Attrs().Index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind packet socket: %w", err)
	}
	return fd, nil
}

// Next returns the next frame, in the order they passed. It waits until ctx ends.
func (t *Tap) Next(ctx context.Context) (Frame, error) {
	if err := t.file.SetReadDeadline(time.Time{}); err != nil {
		return Frame{}, fmt.Errorf("read tap %s: %w", t.on, err)
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		t.file.SetReadDeadline(time.Unix(1, 0))
	})
	defer func() {
		if !stop() {
			<-interrupted // lest it ends the read of the next call
		}
	}()
	raw, err := t.file.SyscallConn()
	if err != nil {
		return Frame{}, fmt.Errorf("read tap %s: %w", t.on, err)
	}
	var f Frame
	var recvErr error
	err = raw.Read(func(fd uintptr) bool {
		f, recvErr = receive(int(fd))
		return recvErr != unix.EAGAIN
	})
	if err == nil {
		err = recvErr
	}
	if err != nil {
		return Frame{}, fmt.Errorf("read tap %s: %w", t.on, because(ctx, err))
	}
	return f, nil
}

// receive takes one frame from a packet socket.
func receive(fd int) (Frame, error) {
	var note unix.TpacketAuxdata
	buf, control := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(binary.Size(note)))
	n, size, _, from, err := unix.Recvmsg(fd, buf, control, 0)
	if err != nil {
		return Frame{}, err
	}
	link, ok := from.(*unix.SockaddrLinklayer)
	f := Frame{Data: buf[:n:n], Outgoing: ok && link.Pkttype == unix.PACKET_OUTGOING}
	messages, err := unix.ParseSocketControlMessage(control[:size])
	if err != nil {
		return Frame{}, fmt.Errorf("read control messages: %w", err)
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA {
			continue
		}
		if _, err := binary.Decode(m.Data, binary.NativeEndian, &note); err != nil {
			return Frame{}, fmt.Errorf("read note about frame: %w", err)
		}
		// The kernel takes the outer tag off the frame and notes it; an inner one stays.
		if note.Status&unix.TP_STATUS_VLAN_VALID != 0 {
			f.Data = withTag(f.Data, note.Vlan_tpid, note.Vlan_tci)
		}
	}
	return f, nil
}

// withTag puts a VLAN tag behind the MAC addresses of a frame.
func withTag(frame []byte, protocol, control uint16) []byte {
	const addresses = 12
	tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, protocol), control)
	return slices.Insert(frame, min(addresses, len(frame)), tag...)
}

// Find returns the next frame that match accepts, and skips those before. The error at the end of ctx says what was sought,
// and how many frames it was not.
func (t *Tap) Find(ctx context.Context, what string, match func(Frame) bool) (Frame, error) {
	for skipped := 0; ; skipped++ {
		f, err := t.Next(ctx)
		if err != nil {
			return Frame{}, fmt.Errorf("find %s among %d frames: %w", what, skipped, err)
		}
		if match(f) {
			return f, nil
		}
	}
}

// Close stops watching.
func (t *Tap) Close() error { return t.file.Close() }

// Inject sends a frame out of an interface as it is, from its Ethernet header on: the other end of the link receives it.
func Inject(n *Namespace, ifname string, frame []byte) error {
	fd, err := packetSocket(n, ifname, 0)
	if err != nil {
		return fmt.Errorf("inject into %s/%s: %w", n.name, ifname, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, frame); err != nil {
		return fmt.Errorf("inject %d bytes into %s/%s: %w", len(frame), n.name, ifname, err)
	}
	return nil
}
