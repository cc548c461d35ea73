package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
	stopTime      = time.Second // that requests get to finish when the daemon ends

	// maxConnections of one user that is not root at one time: whoever leaks them
	// keeps nobody else out.
	maxConnections = 64
)

// Serve answers requests on a listener of Listen until ctx ends, which is no
// error, and lets those under way finish.
func Serve(ctx context.Context, l net.Listener, handler http.Handler, log *slog.Logger) error {
	streams, endStreams := context.WithCancel(context.Background())
	defer endStreams()
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), streamsKey{}, streams)
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if c, ok := c.(*conn); ok {
				ctx = withPeer(ctx, c.peer)
			}
			return ctx
		},
	}
	server.RegisterOnShutdown(endStreams)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	err := server.Shutdown(stop)
	<-done
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return err
}

type streamsKey struct{}

// streaming returns a context that ends with ctx, or when the server stops:
// answers without end must not keep it.
func streaming(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(ctx)
	if streams, ok := ctx.Value(streamsKey{}).(context.Context); ok {
		stop := context.AfterFunc(streams, cancel)
		return out, func() { stop(); cancel() }
	}
	return out, cancel
}

// listener finds out who connects, and bounds how often.
type listener struct {
	net.Listener

	mu   sync.Mutex
	open map[uint32]int // connections of each user
}

func newListener(l net.Listener) *listener { return &listener{Listener: l, open: map[uint32]int{}} }

// conn is a connection whose peer is known.
type conn struct {
	net.Conn
	peer    peer
	release func()
}

func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

// Accept skips connections whose peer is gone already, or has too many.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p, err := identify(c.(*net.UnixConn))
		if err != nil || !l.admit(p.uid) {
			c.Close()
			continue
		}
		return &conn{c, p, sync.OnceFunc(func() { l.leave(p.uid) })}, nil
	}
}

func (l *listener) admit(uid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if uid != 0 && l.open[uid] >= maxConnections {
		return false
	}
	l.open[uid]++
	return true
}

func (l *listener) leave(uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[uid]--; l.open[uid] == 0 {
		delete(l.open, uid)
	}
}
