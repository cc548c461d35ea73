package testenv

import (
	"bufio"
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
	request, err := http.NewRequest(http.MethodGet, "http://"+to.String()+"/", nil)
	if err != nil {
		return fail(err)
	}
	a, err := l.ask(ctx, request, to, from)
	if err != nil {
		return fail(err)
	}
	return a.Backend, nil
}

// ask sends a request that is answered with an Answer, and returns it.
func (l *Lab) ask(ctx context.Context, request *http.Request, to, from netip.AddrPort) (Answer, error) {
	var a Answer
	err := l.exchange(ctx, request, to, from, func(response *http.Response, local netip.AddrPort) error {
		if err := json.NewDecoder(response.Body).Decode(&a); err != nil {
			return err
		}
		if a.Client != local {
			return fmt.Errorf("%s saw client %s, not %s", a.Backend, a.Client, local)
		}
		return nil
	})
	return a, err
}

// exchange sends a request on a connection of its own and has use read the response of status 200. The connection is reset
// afterwards. local is the source as the client knows it.
func (l *Lab) exchange(ctx context.Context, request *http.Request, to, from netip.AddrPort, use func(response *http.Response, local netip.AddrPort) error) error {
	c, err := l.Client.Dial(ctx, "tcp", from, to)
	if err != nil {
		return err
	}
	defer c.Close()
	defer interrupt(ctx, c)()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	request.Close = true
	if err := request.Write(c); err != nil {
		return because(ctx, err)
	}
	response, err := http.ReadResponse(bufio.NewReader(c), request)
	if err != nil {
		return because(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	if err := use(response, c.LocalAddr().(*net.TCPAddr).AddrPort()); err != nil {
		return because(ctx, err)
	}
	return nil
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
