package health

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// exchange sends the request on conn and returns the answer, without its body if the
// status is no wanted one: a bad status is bad news enough.
func (p HTTP) exchange(conn net.Conn, u *url.URL) (answer, error) {
	req := &http.Request{
		Method: p.method(),
		URL:    u,
		Host:   p.Host,
		Header: http.Header{"User-Agent": {userAgent}, "Accept": {"*/*"}},
		Close:  true,
	}
	for _, f := range p.Header {
		req.Header.Add(f.Name, f.Value)
	}
	if err := req.Write(conn); err != nil {
		return answer{}, err
	}
	limit := &io.LimitedReader{R: conn, N: maxAnswer}
	r := bufio.NewReader(limit)
	res, err := readHead(r, req)
	if err != nil {
		if limit.N <= 0 {
			return answer{}, errLongHead
		}
		return answer{}, err
	}
	a := answer{status: res.StatusCode, header: res.Header}
	if !p.wants(a.status) {
		return a, nil
	}
	// The body is never closed: that would wait for the rest of it, and it holds nothing.
	a.body, err = readBody(res.Body, limit)
	return a, err
}

const userAgent = "xlb-health"

var errLongHead = fmt.Errorf("headers longer than %d KiB", maxAnswer>>10)

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
	if errors.As(err, &op) || isEnd(err) {
		return err
	}
	return errors.New("answer is not HTTP")
}
