package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Traffic is what clients of a VIP do all the time while a test does something else: requests on connections that stay,
// connections of one request each, and datagrams. All expect an answer.
type Traffic struct {
	lab     *Lab
	to      netip.AddrPort
	workers []*worker
	running sync.WaitGroup
	cancel  context.CancelFunc

	mu       sync.Mutex // guards failures
	failures []error
}

// worker is one client. It makes a step after the other.
type worker struct {
	kind  int
	steps atomic.Int64
}

// Kinds of clients.
const (
	keptConnection = iota
	newConnections
	datagrams
)

// Report is what became of traffic.
type Report struct {
	Requests    int64   // answered on connections that stayed
	Connections int64   // of one request, answered
	Datagrams   int64   // answered
	Failures    []error // each a request, connection or datagram without an answer, the first hundred
}

const (
	// pace is the pause between two steps of a client: tests share their machine.
	pace = 10 * time.Millisecond
	// patience is how long a client waits for an answer. What is lost is sent again by TCP, but not datagrams.
	patience = 10 * time.Second
	// keepFailures bounds the report of a network that is broken for good.
	keepFailures = 100
)

// StartTraffic begins with so many connections that stay, until End. Some clients make new connections meanwhile, and
// with datagrams some send these.
func (l *Lab) StartTraffic(ctx context.Context, to netip.AddrPort, connections int, withDatagrams bool) (*Traffic, error) {
	ctx, cancel := context.WithCancel(ctx)
	t := &Traffic{lab: l, to: to, cancel: cancel}
	for range connections {
		t.workers = append(t.workers, &worker{kind: keptConnection})
	}
	for range 2 {
		t.workers = append(t.workers, &worker{kind: newConnections})
		if withDatagrams {
			t.workers = append(t.workers, &worker{kind: datagrams})
		}
	}
	// Clients have sources of their own, that repeat only after thousands of steps.
	const each = 1000
	sources := SourcesFor(to.Addr(), each*len(t.workers))
	for i, w := range t.workers {
		mine := sources[i*each : (i+1)*each]
		t.running.Go(func() {
			switch w.kind {
			case keptConnection:
				t.keep(ctx, w, mine)
			case newConnections:
				t.repeat(ctx, w, mine, l.Get)
			case datagrams:
				t.repeat(ctx, w, mine, l.Ask)
			}
		})
	}
	if err := t.AwaitMore(ctx, 1); err != nil {
		t.End()
		return nil, err
	}
	return t, nil
}

// AwaitMore waits until every client has made n more steps, and reports failures so far.
func (t *Traffic) AwaitMore(ctx context.Context, n int64) error {
	for _, w := range t.workers {
		want := w.steps.Load() + n
		if err := Eventually(ctx, "more answers", func() error {
			if got := w.steps.Load(); got < want {
				return fmt.Errorf("%d, want %d", got, want)
			}
			return nil
		}); err != nil {
			return errors.Join(append(t.failed(), err)...)
		}
	}
	return errors.Join(t.failed()...)
}

// End stops the clients, each after its step.
func (t *Traffic) End() Report {
	t.cancel()
	t.running.Wait()
	r := Report{Failures: t.failed()}
	for _, w := range t.workers {
		switch n := w.steps.Load(); w.kind {
		case keptConnection:
			r.Requests += n
		case newConnections:
			r.Connections += n
		case datagrams:
			r.Datagrams += n
		}
	}
	return r
}

func (t *Traffic) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.failures) < keepFailures {
		t.failures = append(t.failures, fmt.Errorf("%s %w", time.Now().Format("15:04:05.000"), err))
	}
}

func (t *Traffic) failed() []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]error(nil), t.failures...)
}

// pause waits for the next step, false if there is none.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pace):
		return true
	}
}

// repeat asks from one source after the other. Each answer is waited for, also once the traffic is to end.
func (t *Traffic) repeat(ctx context.Context, w *worker, sources []netip.AddrPort, ask func(context.Context, netip.AddrPort, netip.AddrPort) (string, error)) {
	for i := 0; pause(ctx); i++ {
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		if _, err := ask(patient, t.to, sources[i%len(sources)]); err != nil {
			t.fail(err)
		}
		cancel()
		w.steps.Add(1)
	}
}

// keep makes requests on one connection. One that breaks is told, and followed by another.
func (t *Traffic) keep(ctx context.Context, w *worker, sources []netip.AddrPort) {
	for i := 0; ctx.Err() == nil; i++ {
		if err := t.converse(ctx, w, sources[i%len(sources)]); err != nil {
			t.fail(err)
			pause(ctx)
		}
	}
}

func (t *Traffic) converse(ctx context.Context, w *worker, from netip.AddrPort) error {
	patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	c, err := t.lab.Client.Dial(patient, "tcp", from, t.to)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodGet, "http://"+t.to.String()+"/", nil)
	if err != nil {
		return err
	}
	answers := bufio.NewReader(c)
	for n := 0; pause(ctx); n++ {
		if err := errors.Join(c.SetDeadline(time.Now().Add(patience)), request.Write(c)); err != nil {
			return fmt.Errorf("request %d on the connection from %s: %w", n, from, err)
		}
		response, err := http.ReadResponse(answers, request)
		if err != nil {
			return fmt.Errorf("answer %d on the connection from %s: %w", n, from, err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err != nil {
			return fmt.Errorf("answer %d on the connection from %s: %w", n, from, err)
		}
		w.steps.Add(1)
	}
	return nil
}
