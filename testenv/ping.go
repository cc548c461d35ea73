package testenv

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Ping sends one ICMP or ICMPv6 echo request and waits for its reply. It never repeats the request: give ctx a deadline.
func (n *Namespace) Ping(ctx context.Context, to netip.Addr) error {
	fail := func(err error) error { return fmt.Errorf("ping %s from namespace %s: %w", to, n.name, err) }
	c, err := n.dialEcho(to)
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	defer interrupt(ctx, c)()
	var request, reply byte = 8, 0
	if to.Is6() {
		request, reply = 128, 129
	}
	// Type, code, checksum, identifier, sequence number: the kernel fills in the two in the middle.
	sent := append([]byte{request, 0, 0, 0, 0, 0, 0, 1}, "is anybody there?"...)
	if _, err := c.Write(sent); err != nil {
		return fail(because(ctx, err))
	}
	got := make([]byte, len(sent)+1)
	size, err := c.Read(got)
	if err != nil {
		return fail(because(ctx, err))
	}
	const sequence = 6 // offset of what comes back as it was
	if size != len(sent) || got[0] != reply || got[1] != 0 || !bytes.Equal(got[sequence:size], sent[sequence:]) {
		return fail(fmt.Errorf("%x is no reply to %x", got[:size], sent))
	}
	return nil
}

// dialEcho opens a socket for echo requests to one address; it receives the replies to its own alone.
func (n *Namespace) dialEcho(to netip.Addr) (net.Conn, error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	var peer unix.Sockaddr
	if to.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
		peer = &unix.SockaddrInet6{Addr: to.As16()}
	} else {
		peer = &unix.SockaddrInet4{Addr: to.As4()}
	}
	fd := -1
	err := n.Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open ICMP socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "ping")
	defer file.Close() // the connection has a descriptor of its own
	if err := unix.Connect(fd, peer); err != nil {
		return nil, fmt.Errorf("connect ICMP socket: %w", err)
	}
	return net.FileConn(file)
}
