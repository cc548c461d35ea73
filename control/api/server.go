// Package api is how the command line talks to a running daemon: HTTP with JSON
// over a unix socket.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/xlb-project/xlb/control"
)

// Node is what the API tells about and acts on; *control.Engine is one.
type Node interface {
	Status(context.Context) (control.Status, error)
}

const statusPath = "/v1/status"

// Listen opens the daemon's socket. Only root and the socket's group may talk to
// it. A socket that a dead daemon left behind is replaced; with a live one behind
// it, Listen returns an error that says so.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of socket %s: %w", path, err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open socket: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("protect socket: %w", err), l.Close())
	}
	return l, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for an old socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("open socket %s: there is a file that is no socket: remove it, or set api.socket to another path", path)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return fmt.Errorf("open socket %s: another xlb answers there: end it, or set api.socket to another path", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket of a dead xlb: %w", err)
	}
	return nil
}

// Handler serves a node's API.
func Handler(node Node) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, r *http.Request) {
		status, err := node.Status(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(status) // the client went away
	})
	return mux
}
