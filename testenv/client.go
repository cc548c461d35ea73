package testenv

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Get asks an address over HTTP, on a new TCP connection from exactly that source, and returns the name of the backend that
// answered. A source without an address is the client's choice, as is port 0. The same source can be used again at once:
// the connection is reset after the answer, so that no TIME_WAIT is left on either side. It is an error if the backend saw
// another source. Errors of the connection are wrapped (syscall.ECONNREFUSED of a killed backend, for one).
func (l *Lab) Get(ctx context.Context, to, from netip.AddrPort) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("get http://%s from %s: %w", to, from, err) }
	c, err := l.Client.Dial(ctx, "tcp", from, to)
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	defer interrupt(ctx, c)()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		return fail(err)
	}
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", to); err != nil {
		return fail(because(ctx, err))
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return fail(because(ctx, err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("status %s", response.Status))
	}
	var a Answer
	if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
		return fail(because(ctx, err))
	}
	if seen := c.LocalAddr().(*net.TCPAddr).AddrPort(); a.Client != seen {
		return fail(fmt.Errorf("%s saw client %s, not %s", a.Backend, a.Client, seen))
	}
	return a.Backend, nil
}

// Owners gets from every source, a few at a time, and returns which backend answered each. It ends at the first error.
func (l *Lab) Owners(ctx context.Context, to netip.AddrPort, sources []netip.AddrPort) (map[netip.AddrPort]string, error) {
	const atOnce = 8
	var mu sync.Mutex
	owners := make(map[netip.AddrPort]string, len(sources))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, from := range sources {
		g.Go(func() error {
			name, err := l.Get(ctx, to, from)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			owners[from] = name
			return nil
		})
	}
	return owners, g.Wait()
}

// HTTPClient returns a client in the lab's client namespace that keeps its connections alive. They come from the address, or
// from the client's choice if it is invalid. Call its CloseIdleConnections when done.
func (l *Lab) HTTPClient(from netip.Addr) *http.Client {
	var source netip.AddrPort
	if from.IsValid() {
		source = netip.AddrPortFrom(from, 0)
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			to, err := netip.ParseAddrPort(addr)
			if err != nil {
				return nil, fmt.Errorf("dial %s: labs have no names, use an address: %w", addr, err)
			}
			return l.Client.Dial(ctx, network, source, to)
		},
	}}
}

// Ask sends one datagram from exactly that source, and returns the name of the backend that answered it. It never repeats
// the question: give ctx a deadline, since a lost datagram means waiting until its end. Only an answer from the address
// asked is one.
func (l *Lab) Ask(ctx context.Context, to, from netip.AddrPort) (string, error) {
	fail := func(err error) (string, error) { return "", fmt.Errorf("ask udp %s from %s: %w", to, from, err) }
	c, err := l.Client.Dial(ctx, "udp", from, to)
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	defer interrupt(ctx, c)()
	question := []byte("who answers " + c.LocalAddr().String() + "?")
	if _, err := c.Write(question); err != nil {
		return fail(because(ctx, err))
	}
	buf := make([]byte, 1<<16)
	n, err := c.Read(buf)
	if err != nil {
		return fail(because(ctx, err))
	}
	name, echoed, found := bytes.Cut(buf[:n], []byte{'\n'})
	if !found || !bytes.Equal(echoed, question) {
		return fail(fmt.Errorf("answer %q does not hold the question", buf[:n]))
	}
	return string(name), nil
}

// interrupt ends reads and writes on c when ctx ends; the returned function stops that.
func interrupt(ctx context.Context, c net.Conn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
}

// because puts the reason of an interrupted read or write before its error.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return errors.Join(cause, err)
	}
	return err
}
