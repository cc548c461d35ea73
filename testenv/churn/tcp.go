package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/testenv"
)

// patience is how long a client waits for an answer before it gives a connection up.
const patience = 10 * time.Second

// client is one long-lived client: it opens a connection, exchanges messages on it, and opens another when it breaks.
type client interface {
	// open returns the backend that the connection is with.
	open(ctx context.Context) (backend string, err error)
	// exchange sends a message and returns who answered.
	exchange(ctx context.Context) (backend string, err error)
	close()
}

// converse keeps a client talking until ctx ends: a message each pause, the first after wait.
func converse(ctx context.Context, t *tally, c client, wait, pause time.Duration) {
	defer c.close()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	backend, opened := "", time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(pause)
		step, start := t.now(), time.Now()
		within, cancel := context.WithTimeout(ctx, patience)
		if backend == "" {
			var err error
			opened = start
			backend, err = c.open(within)
			if ctx.Err() == nil {
				step.opened(err)
			}
			if err != nil {
				c.close()
				backend = ""
			}
			cancel()
			continue
		}
		from, err := c.exchange(within)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && from == backend:
			step.answered(time.Since(start))
		default:
			unavoidable := t.diedSince(backend, opened)
			step.broke(unavoidable)
			if !unavoidable {
				verbose("%s: a connection with %s broke: answer from %q, %v", step.Name, backend, from, err)
			}
			c.close()
			backend = ""
		}
	}
}

// tcpClient asks over HTTP on a connection that is kept.
type tcpClient struct {
	lab      *testenv.Lab
	from, to netip.AddrPort

	conn   net.Conn
	reader *bufio.Reader
}

func (c *tcpClient) open(ctx context.Context) (string, error) {
	conn, err := c.lab.Client.Dial(ctx, "tcp", c.from, c.to)
	if err != nil {
		return "", err
	}
	c.conn, c.reader = conn, bufio.NewReader(conn)
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // the source is used again at once
		return "", err
	}
	return c.exchange(ctx)
}

func (c *tcpClient) exchange(ctx context.Context) (string, error) {
	end, _ := ctx.Deadline()
	if err := c.conn.SetDeadline(end); err != nil {
		return "", err
	}
	conn := c.conn // the client may have closed it when the function runs
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := io.WriteString(c.conn, "GET / HTTP/1.1\r\nHost: churn\r\n\r\n"); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var a testenv.Answer
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return "", fmt.Errorf("status %s: %w", response.Status, err)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return a.Backend, err
}

func (c *tcpClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// knock opens short connections at a steady rate, each from a source of its own, until ctx ends.
func knock(ctx context.Context, t *tally, lab *testenv.Lab, to netip.AddrPort, sources []netip.AddrPort, perSecond int) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	atOnce := make(chan struct{}, 4*perSecond) // those that wait out a dead backend
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			for range cap(atOnce) {
				atOnce <- struct{}{}
			}
			return
		case <-tick.C:
		}
		atOnce <- struct{}{}
		go func() {
			defer func() { <-atOnce }()
			step := t.now()
			within, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			_, err := lab.Get(within, to, sources[i%len(sources)])
			if ctx.Err() == nil {
				step.opened(err)
				if err != nil {
					verbose("%s: %v", step.Name, err)
				}
			}
		}()
	}
}
