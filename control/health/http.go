package health

import (
	"cmp"
	"context"
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

// HTTP passes when the target answers a request as wanted. Redirects are not followed: a
// 3xx is judged as what it is. The answer must be complete (up to maxAnswer) within the
// probe's time.
type HTTP struct {
	Addr     netip.AddrPort
	Via      Via
	Secure   *Secure // nil: without TLS
	HTTP2    bool    // without TLS by prior knowledge; with it Secure must ask for it
	Method   string  // GET or HEAD; empty: GET
	Host     string  // the Host header; empty: Addr
	Path     string  // with the query, if any; empty: "/"
	Header   []Field // of the request
	Status   []int   // the statuses that pass; empty: any 2xx
	Expected []Field // fields that the answer's header must have; an empty value: any
	Body     *Match  // nil: any
}

// Field is one of a header.
type Field struct {
	Name, Value string
}

// Protocols to ask for by ALPN.
const (
	HTTP1 = "http/1.1"
	HTTP2 = "h2"
)

// answer is what a target said, as far as anybody wants to know.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// Probe sends the request over a connection of its own. It speaks HTTP on that connection
// itself: http.Transport would detach the dial from ctx and spend three goroutines on each
// probe.
func (p HTTP) Probe(ctx context.Context) (string, error) {
	u, err := p.url()
	if err != nil {
		return "", fmt.Errorf("build request: %w", err)
	}
	var a answer
	err = converseSecure(ctx, p.Via, p.Addr, p.Secure, func(conn net.Conn) (err error) {
		if p.HTTP2 {
			a, err = p.exchange2(conn, u)
		} else {
			a, err = p.exchange(conn, u)
		}
		return err
	})
	if err != nil {
		err = reason(ctx, err)
	} else {
		err = p.judge(a)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", p.method(), u, err)
	}
	// The target's own words stay out of logs and terminals.
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))), nil
}

func (p HTTP) url() (*url.URL, error) {
	u, err := url.ParseRequestURI(cmp.Or(p.Path, "/"))
	if err != nil {
		return nil, err
	}
	u.Scheme, u.Host = "http", p.Addr.String()
	if p.Secure != nil {
		u.Scheme = "https"
	}
	return u, nil
}

func (p HTTP) method() string { return cmp.Or(p.Method, http.MethodGet) }

// wants says whether a status passes: of an answer with another one nothing more is read.
func (p HTTP) wants(status int) bool {
	if len(p.Status) == 0 {
		return status >= 200 && status < 300
	}
	return slices.Contains(p.Status, status)
}

func (p HTTP) judge(a answer) error {
	if !p.wants(a.status) {
		return fmt.Errorf("status %d", a.status)
	}
	for _, f := range p.Expected {
		values := a.header.Values(f.Name)
		switch {
		case len(values) == 0:
			return fmt.Errorf("no header %s", f.Name)
		case f.Value != "" && !slices.Contains(values, f.Value):
			return fmt.Errorf("header %s is not %q", f.Name, f.Value)
		}
	}
	return p.Body.check(a.body)
}

// readBody returns a body, or of one that does not fit into limit its beginning.
func readBody(body io.Reader, limit *io.LimitedReader) ([]byte, error) {
	b, err := io.ReadAll(body)
	if err != nil && limit.N > 0 {
		return nil, plain(err)
	}
	return b, nil
}
