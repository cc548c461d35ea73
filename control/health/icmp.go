package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// ICMP passes when an echo request is answered: the target's kernel is there, and no more
// is said.
type ICMP struct {
	Addr netip.Addr
	Via  Via
}

// Probe sends one echo request.
func (p ICMP) Probe(ctx context.Context) (string, error) {
	if err := p.exchange(ctx); err != nil {
		return "", reason(ctx, err)
	}
	return "echo reply", nil
}

func (p ICMP) exchange(ctx context.Context) error {
	conn, raw, err := p.open()
	if err != nil {
		return err
	}
	defer conn.Close()
	defer breakOff(ctx, conn)()
	request := newEcho(p.Addr.Is6())
	if _, err := conn.Write(request); err != nil {
		return err
	}
	buf := make([]byte, maxDatagram)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		answer := buf[:n]
		if raw && p.Addr.Is4() {
			answer = afterIPv4(answer)
		}
		if answers(answer, request) {
			return nil
		}
	}
}

// open returns a socket for echoes with the target. The kernel's own, which hears the
// answers to its requests alone, is open to the groups in net.ipv4.ping_group_range,
// which by default are none. A raw one, which hears all, needs CAP_NET_RAW.
func (p ICMP) open() (conn *os.File, raw bool, err error) {
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if p.Addr.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|flags, protocol)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		raw = true
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, protocol)
	}
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, false, fmt.Errorf("%w: ICMP needs CAP_NET_RAW, or xlb's group in net.ipv4.ping_group_range", ErrNotSent)
	case err != nil:
		return nil, false, os.NewSyscallError("socket", err)
	}
	if err := p.prepare(fd, raw); err != nil {
		unix.Close(fd)
		return nil, false, err
	}
	return os.NewFile(uintptr(fd), "icmp"), raw, nil
}

func (p ICMP) prepare(fd int, raw bool) error {
	if err := p.Via.mark(fd); err != nil {
		return err
	}
	if err := hearErrors(fd, p.Addr.Is6()); err != nil {
		return err
	}
	if raw {
		if err := hearEchoReplies(fd, p.Addr.Is6()); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if p.Via.Source.IsValid() {
		if err := unix.Bind(fd, sockaddr(p.Via.Source)); err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(p.Addr)); err != nil {
		return os.NewSyscallError("connect", err)
	}
	if raw {
		drain(fd)
	}
	return nil
}

// drain takes off a raw socket what it heard before it was told whom to hear: on a busy node
// as much as there is room for, so that the answer would find none.
func drain(fd int) {
	for {
		if _, _, err := unix.Recvfrom(fd, nil, unix.MSG_DONTWAIT); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// hearEchoReplies keeps all other messages from a raw socket.
func hearEchoReplies(fd int, v6 bool) error {
	if v6 {
		var block unix.ICMPv6Filter
		for i := range block.Data {
			block.Data[i] = 1<<32 - 1
		}
		block.Data[echoReply6/32] &^= 1 << (echoReply6 % 32)
		return unix.SetsockoptICMPv6Filter(fd, unix.SOL_ICMPV6, unix.ICMPV6_FILTER, &block)
	}
	const icmpFilter = 1 // ICMP_FILTER of linux/icmp.h
	return unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1 << echoReply4))
}

func sockaddr(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16()}
}

// Types of messages, and the place of what they carry behind type, code, checksum,
// identifier and number.
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
	echoHeader               = 8
)

// newEcho returns an echo request that no other is like.
func newEcho(v6 bool) []byte {
	m := make([]byte, echoHeader+16)
	m[0] = echoRequest4
	if v6 {
		m[0] = echoRequest6
	}
	binary.BigEndian.PutUint16(m[4:], uint16(rand.Uint32()))
	binary.BigEndian.PutUint16(m[6:], 1)
	binary.BigEndian.PutUint64(m[8:], rand.Uint64())
	binary.BigEndian.PutUint64(m[16:], rand.Uint64())
	if !v6 { // the kernel fills in that of ICMPv6, which covers addresses
		binary.BigEndian.PutUint16(m[2:], checksum(m))
	}
	return m
}

// answers says whether m answers the request. The identifier does not count: the kernel
// puts its own into what it sends, and back into what it hands over.
func answers(m, request []byte) bool {
	reply := byte(echoReply4)
	if request[0] == echoRequest6 {
		reply = echoReply6
	}
	return len(m) == len(request) && m[0] == reply && m[1] == 0 && bytes.Equal(m[6:], request[6:])
}

// afterIPv4 takes off the IPv4 header that a raw socket hands over.
func afterIPv4(p []byte) []byte {
	if len(p) < 20 || len(p) < int(p[0]&0xf)*4 {
		return nil
	}
	return p[int(p[0]&0xf)*4:]
}

// checksum is the internet checksum of RFC 1071 over an even number of bytes.
func checksum(p []byte) uint16 {
	var sum uint32
	for ; len(p) >= 2; p = p[2:] {
		sum += uint32(binary.BigEndian.Uint16(p))
	}
	sum = sum>>16 + sum&0xffff
	sum += sum >> 16
	return ^uint16(sum)
}
