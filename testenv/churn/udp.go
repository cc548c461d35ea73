package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/xlb-project/xlb/testenv"
	"github.com/xlb-project/xlb/testenv/quiclab"
)

// udpWait is how long a datagram's answer may take. A lost datagram does not break a flow, an answer from elsewhere does.
const udpWait = 2 * time.Second

// maxLost is how many datagrams in a row may be lost before a flow counts as broken.
const maxLost = 3

// udpClient asks in datagrams from one socket.
type udpClient struct {
	lab      *testenv.Lab
	tally    *tally
	from, to netip.AddrPort

	conn    net.Conn
	opened  time.Time
	backend string
	asked   uint64
	lost    int // in a row
}

func (c *udpClient) open(ctx context.Context) (string, error) {
	conn, err := c.lab.Client.Dial(ctx, "udp", c.from, c.to)
	if err != nil {
		return "", err
	}
	c.conn, c.lost, c.opened = conn, 0, time.Now()
	c.backend, err = c.ask(ctx)
	return c.backend, err
}

// exchange takes a datagram that was lost for answered, unless it was one too many.
func (c *udpClient) exchange(ctx context.Context) (string, error) {
	step := c.tally.now()
	from, err := c.ask(ctx)
	switch {
	case err == nil:
		c.lost = 0
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		if !c.tally.diedSince(c.backend, c.opened) {
			step.unanswered()
		}
		if c.lost++; c.lost < maxLost {
			return c.backend, nil
		}
	}
	return from, err
}

func (c *udpClient) ask(ctx context.Context) (string, error) {
	conn := c.conn // the client may have closed it when the function runs
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := c.conn.SetDeadline(time.Now().Add(udpWait)); err != nil {
		return "", err
	}
	c.asked++
	if _, err := fmt.Fprintf(c.conn, "%s asks, %d", c.from, c.asked); err != nil {
		return "", err
	}
	answer := make([]byte, 256)
	n, err := c.conn.Read(answer)
	if err != nil {
		return "", err
	}
	name, _, _ := bytes.Cut(answer[:n], []byte{'\n'})
	return string(name), nil
}

func (c *udpClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// quicClient asks on a new stream of one QUIC connection.
type quicClient struct {
	lab  *testenv.Lab
	from netip.AddrPort
	to   netip.AddrPort

	conn *quiclab.Client
}

func (c *quicClient) open(ctx context.Context) (_ string, err error) {
	if c.conn, err = quiclab.Dial(ctx, c.lab, c.from, c.to); err != nil {
		return "", err
	}
	return c.exchange(ctx)
}

func (c *quicClient) exchange(ctx context.Context) (string, error) { return c.conn.Backend(ctx) }

func (c *quicClient) close() {
	if c.conn != nil {
		_ = c.conn.Close() // a broken connection cannot end well
		c.conn = nil
	}
}

// start lets clients talk until ctx ends, and returns what waits for that.
func start(ctx context.Context, t *tally, clients []client, pause time.Duration) (wait func()) {
	var talking sync.WaitGroup
	for i, c := range clients {
		talking.Go(func() { converse(ctx, t, c, pause*time.Duration(i)/time.Duration(len(clients)), pause) })
	}
	return talking.Wait
}
