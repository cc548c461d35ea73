package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/xlb-project/xlb/control"
)

// Errors that callers tell apart besides control's, which a Problem is as well.
var (
	ErrNotRunning = errors.New("no xlb is running there: start it with `xlb run -c FILE`, or name its socket with --socket")
	ErrForbidden  = errors.New("not permitted: run as root or as a member of the group api.group")
)

// Client talks to the daemon behind a socket.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client for the daemon's socket; nothing is opened yet.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Client{path, http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Close lets go of the connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Socket returns the path of the daemon's socket.
func (c *Client) Socket() string { return c.path }

// Status asks for the node's state. Like all requests it returns ErrNotRunning if
// nobody answers, ErrForbidden if the socket is closed to the caller, and a
// *Problem if the daemon declines.
func (c *Client) Status(ctx context.Context) (control.Status, error) {
	return c.StatusOf(ctx, "", "")
}

// StatusOf is Status of one service alone, or of one backend alone.
func (c *Client) StatusOf(ctx context.Context, service, backend string) (control.Status, error) {
	query := url.Values{}
	if service != "" {
		query.Set("service", service)
	}
	if backend != "" {
		query.Set("backend", backend)
	}
	var status control.Status
	return status, c.do(ctx, request{method: http.MethodGet, path: "/v1/status", query: query}, &status)
}

// Version asks what runs.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var version Version
	return version, c.do(ctx, request{method: http.MethodGet, path: "/v1/version"}, &version)
}

// request is one to the daemon.
type request struct {
	method, path string // names in path are escaped
	query        url.Values
	kind         string // content type of body
	body         []byte
	revision     uint64 // that the caller saw; 0: any
	create       bool   // only if there is no such object
}

// do asks, and decodes the answer into what is not nil.
func (c *Client) do(ctx context.Context, r request, into any) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.path, err)
	}
	return nil
}

// send asks, and returns an answer that is no problem.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	if len(r.body) >= MaxBody {
		return nil, newProblem(CodeTooLarge, fmt.Sprintf("the configuration has %d bytes, with the lists that it names", len(r.body)),
			fmt.Sprintf("the daemon takes fewer than %d: write a shorter one", MaxBody))
	}
	target, err := url.Parse("http://xlb" + r.path)
	if err != nil {
		return nil, err
	}
	if path.Clean(target.Path) != target.Path {
		return nil, newProblem(CodeInvalid, "a name is empty or made of dots", "write the name of a service or backend")
	}
	target.RawQuery = r.query.Encode()
	req, err := http.NewRequestWithContext(ctx, r.method, target.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	if r.revision != 0 {
		req.Header.Set("If-Match", etag(r.revision))
	}
	if r.create {
		req.Header.Set("If-None-Match", "*")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unanswered(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, c.declined(resp)
	}
	return resp, nil
}

// unanswered says why there is no answer.
func (c *Client) unanswered(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		err = ErrNotRunning
	case errors.Is(err, fs.ErrPermission):
		err = ErrForbidden
	default:
		var request *url.Error
		if errors.As(err, &request) {
			err = request.Err // without the address, which is made up
		}
	}
	return fmt.Errorf("ask %s: %w", c.path, err)
}

func (c *Client) declined(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	p := new(Problem)
	if kind == p.ContentType("") && json.Unmarshal(text, p) == nil {
		return p
	}
	return errors.Join(fmt.Errorf("ask %s: %s: %s", c.path, resp.Status, strings.TrimSpace(string(text))), err)
}

// revisionOf returns the revision that an answer is of.
func revisionOf(resp *http.Response) (uint64, error) {
	return strconv.ParseUint(strings.Trim(resp.Header.Get("ETag"), `"`), 10, 64)
}

// read asks for something as it is, and for the revision that it is of.
func (c *Client) read(ctx context.Context, path string) ([]byte, uint64, error) {
	resp, err := c.send(ctx, request{method: http.MethodGet, path: path})
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("read the answer of %s: %w", c.path, err)
	}
	revision, err := revisionOf(resp)
	return text, revision, err
}

// Process returns the number of the daemon's process, as the kernel knows it.
func (c *Client) Process(ctx context.Context) (int, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.path)
	if err != nil {
		return 0, c.unanswered(err)
	}
	defer conn.Close()
	p, err := identify(conn.(*net.UnixConn))
	return p.pid, err
}
