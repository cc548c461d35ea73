package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// maxAnswer is what is read of an answer at most, in bytes. A head that is longer fails
// the probe; a body that does not fit is left unread.
const maxAnswer = 32 << 10

// HTTP passes when the target answers a GET request with one of the wanted statuses.
// Redirects are not followed: a 3xx is judged as what it is. The answer must be complete
// (up to maxAnswer) within the probe's time.
type HTTP struct {
	Addr   netip.AddrPort
	Via    Via
	Host   string // the Host header; empty: Addr
	Path   string // with the query, if any; empty: "/"
	Status []int  // the statuses that pass; empty: any 2xx
}

// Probe sends the request over a connection of its own. It speaks HTTP/1.1 on that
// connection itself: http.Transport would detach the dial from ctx and spend three
// goroutines on each probe.
func (p HTTP) Probe(ctx context.Context) (string, error) {
	req, err := p.request()
	if err != nil {
		return "", fmt.Errorf("build request: %w", err)
	}
	var status int
	err = converse(ctx, p.Via, p.Addr, func(conn net.Conn) (err error) {
		status, err = p.exchange(conn, req)
		return err
	})
	if err != nil {
		err = reason(ctx, err)
	} else if !p.wants(status) {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		return "", fmt.Errorf("GET %s: %w", req.URL, err)
	}
	// The target's own words stay out of logs and terminals.
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status))), nil
}

func (p HTTP) request() (*http.Request, error) {
	u := &url.URL{Path: "/"}
	if p.Path != "" {
		var err error
		if u, err = url.ParseRequestURI(p.Path); err != nil {
			return nil, err
		}
	}
	u.Scheme, u.Host = "http", p.Addr.String()
	return &http.Request{
		Method: http.MethodGet,
		URL:    u,
		Host:   p.Host,
		Header: http.Header{"User-Agent": {"xlb-health"}, "Accept": {"*/*"}},
		Close:  true,
	}, nil
}

func (p HTTP) wants(status int) bool {
	if len(p.Status) == 0 {
		return status >= 200 && status < 300
	}
	return slices.Contains(p.Status, status)
}

// exchange sends req on conn and returns the status of the answer, after having read the
// rest of it if the status is a wanted one: a bad status is bad news enough.
func (p HTTP) exchange(conn net.Conn, req *http.Request) (int, error) {
	if err := req.Write(conn); err != nil {
		return 0, err
	}
	limit := &io.LimitedReader{R: conn, N: maxAnswer}
	r := bufio.NewReader(limit)
	res, err := readHead(r, req)
	if err != nil {
		if limit.N <= 0 {
			return 0, fmt.Errorf("headers longer than %d KiB", maxAnswer>>10)
		}
		return 0, err
	}
	// The body is never closed: that would wait for the rest of it, and it holds nothing.
	if !p.wants(res.StatusCode) {
		return res.StatusCode, nil
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil && limit.N > 0 {
		return 0, plain(err)
	}
	return res.StatusCode, nil
}

// tlsAlert is the first byte of a TLS record that carries an alert, which is what a
// TLS server answers to plain HTTP.
const tlsAlert = 0x15

// readHead returns the first answer that is not merely an informational one.
func readHead(r *bufio.Reader, req *http.Request) (*http.Response, error) {
	first, err := r.Peek(1)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("connection closed without an answer")
	}
	if err != nil {
		return nil, err
	}
	if first[0] == tlsAlert {
		return nil, errors.New("answer is TLS, not HTTP")
	}
	for {
		res, err := http.ReadResponse(r, req)
		if err != nil {
			return nil, plain(err)
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, nil
		}
	}
}

// plain passes on errors of the connection, and puts those of the parser, which quote
// the answer, in a few words.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return errors.New("answer is not HTTP")
}
