package testenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// askSize is the size of Ask's question in bytes.
const askSize = 64

// Ask sends one datagram from exactly that source, and returns the name of the backend that answered it. It never repeats
// the question: give ctx a deadline, since a lost datagram means waiting until its end. Only an answer from the address
// asked is one.
func (l *Lab) Ask(ctx context.Context, to, from netip.AddrPort) (string, error) {
	return l.AskSized(ctx, to, from, askSize)
}

// AskSized is Ask with a question of that many bytes, at most 65507. The client sends it without IPv4's "don't fragment",
// and in fragments if it does not fit into the path MTU. The answer fits into any packet. It is an error if the backend read
// another question.
func (l *Lab) AskSized(ctx context.Context, to, from netip.AddrPort, size int) (string, error) {
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("ask udp %s from %s with %d bytes: %w", to, from, size, err)
	}
	c, err := l.Client.Dial(ctx, "udp", from, to)
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	defer interrupt(ctx, c)()
	if to.Addr().Is4() {
		if err := allowFragments(c.(*net.UDPConn)); err != nil {
			return fail(err)
		}
	}
	question := make([]byte, size)
	if _, err := io.ReadFull(payload(int64(size)), question); err != nil {
		return fail(err)
	}
	copy(question, "who answers "+c.LocalAddr().String()+"?")
	if _, err := c.Write(question); err != nil {
		return fail(because(ctx, err))
	}
	answer := make([]byte, 1<<16)
	n, err := c.Read(answer)
	if err != nil {
		return fail(because(ctx, err))
	}
	name, _, _ := bytes.Cut(answer[:n], []byte{'\n'})
	if !bytes.Equal(answer[:n], datagramAnswer(string(name), question)) {
		return fail(fmt.Errorf("%q is no answer to the question", answer[:n]))
	}
	return string(name), nil
}

// datagramAnswer is what a backend says to a datagram.
func datagramAnswer(name string, question []byte) []byte {
	sum := sha256.Sum256(question)
	return append([]byte(name+"\n"), sum[:]...)
}

// allowFragments lets routers fragment what an IPv4 socket sends. IPv6 has no such choice: senders alone fragment.
func allowFragments(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	ctlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	})
	return errors.Join(ctlErr, err)
}
