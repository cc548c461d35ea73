package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/xlb-project/xlb/control"
)

// ErrNotRunning means that no daemon answers on the socket.
var ErrNotRunning = errors.New("no xlb is running there: start it with `xlb run -c FILE`, or name its socket with --socket")

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

// Status asks for the node's state. It returns ErrNotRunning if nobody answers.
func (c *Client) Status(ctx context.Context) (control.Status, error) {
	var status control.Status
	return status, c.get(ctx, statusPath, &status)
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://xlb"+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("ask %s: %w", c.path, ErrNotRunning)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("ask %s: not permitted: run as root or as a member of the socket's group", c.path)
	case err != nil:
		return fmt.Errorf("ask %s: %w", c.path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("ask %s: %s", c.path, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.path, err)
	}
	return nil
}
