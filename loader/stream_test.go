package loader

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/maps"
	"github.com/xlb-project/xlb/testenv"
)

// stream is a steady stream of datagrams into eth0, that comes back out of it with the backend's address.
type stream struct {
	s              *site
	sent, returned atomic.Int64
	stop, stopped  chan struct{}
	cancel         func()
	received       chan struct{}
}

// window is how many datagrams are under way at most: fewer than a veth drops for want of room.
const window = 32

// startStream sends until end is called.
func (s *site) startStream() *stream {
	s.Helper()
	pass, err := testenv.AttachPass(s.there, "eth0")
	s.must(err)
	tap, err := testenv.OpenTap(s.there, "eth0")
	s.must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	st := &stream{s: s, stop: make(chan struct{}), stopped: make(chan struct{}), received: make(chan struct{}), cancel: func() {
		cancel()
		tap.Close()
		pass.Close()
	}}
	room := make(chan struct{}, window)
	go func() {
		defer close(st.received)
		for {
			f, err := tap.Next(ctx)
			if err != nil {
				return
			}
			if !f.Outgoing && len(f.Data) >= 42 && maps.MAC(f.Data[:6]) == backendMAC {
				st.returned.Add(1)
				<-room
			}
		}
	}()
	fd := s.rawSocket()
	go func() {
		defer close(st.stopped)
		defer unix.Close(fd)
		frame := datagram(0)
		for n := 0; ; n++ {
			select {
			case <-st.stop:
				return
			case <-ctx.Done():
				return
			case room <- struct{}{}:
			}
			binary.BigEndian.PutUint16(frame[34:], uint16(n))
			if _, err := unix.Write(fd, frame); err != nil {
				return
			}
			st.sent.Add(1)
		}
	}()
	return st
}

// rawSocket sends frames out of the other end of eth0.
func (s *site) rawSocket() (fd int) {
	s.Helper()
	l, err := s.there.Netlink().LinkByName("eth0")
	s.must(err)
	s.must(s.there.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	s.must(unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index}))
	return fd
}

// awaitMore waits until another n datagrams have made their way.
func (st *stream) awaitMore(n int64) {
	st.s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	want := st.returned.Load() + n
	st.s.must(testenv.Eventually(ctx, "datagrams to return", func() error { return st.atLeast(want) }))
}

func (st *stream) atLeast(want int64) error {
	if got := st.returned.Load(); got < want {
		return fmt.Errorf("%d returned, want %d; %d were sent", got, want, st.sent.Load())
	}
	return nil
}

// end stops sending and returns how many datagrams were sent, and how many of them did not come back.
func (st *stream) end() (sent, lost int64) {
	st.s.Helper()
	close(st.stop)
	<-st.stopped
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = testenv.Eventually(ctx, "the last datagrams to return", func() error { return st.atLeast(st.sent.Load()) })
	st.cancel()
	<-st.received
	return st.sent.Load(), st.sent.Load() - st.returned.Load()
}
