package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// probePort is where backends of this test are probed, by servers of its own.
const probePort = 8080

// Servers that answer probes as badly as they can are down, with the reason; that of one that answers is up all the while,
// and the daemon does not grow.
func TestServersThatMakeProbesWaitOrSwellAreDownAlone(t *testing.T) {
	const timeout = 300 * time.Millisecond
	rude := map[string]struct {
		serve func(net.Conn)
		says  string
	}{
		"hangs": {func(c net.Conn) { io.Copy(io.Discard, c) }, "timeout"},
		"a byte a second": {func(c net.Conn) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\n\r\n") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}, "timeout"},
		"10 MB without what is looked for": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n")
			io.CopyN(c, zeros{}, 10<<20)
		}, "body"},
		"a header without end": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nX: ")
			io.Copy(c, zeros{})
		}, ""},
		"no HTTP": {func(c net.Conn) { io.Copy(c, zeros{}) }, ""},
	}
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: 1 + len(rude), Decap: decap})
	good := lab.Backends[0]
	answer(t, good, func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall is well")
	})
	behaves, says := map[string]string{}, map[string]string{}
	for name, r := range rude {
		b := lab.Backends[1+len(behaves)]
		behaves[b.Name()], says[b.Name()] = name, r.says
		answer(t, b, r.serve)
	}
	node := startFaulty(t, lab, self, configOf(lab, "", fmt.Sprintf(
		"  - {name: web, vip: %s, port: 80, protocol: [tcp, udp], forward: ipip, "+
			"health: {target: address, http: {path: /, port: %d, body: well}, interval: 100ms, timeout: %s, rise: 1, fall: 2}, backends: [%s]}\n",
		testenv.DefaultVIP, probePort, timeout, strings.Join(over4(lab.Backends...), ", "))))
	clients, end := traffic(t, lab, 2, true)
	before := memory(t, node)
	must(t, node.WaitFor(deadline(t), "10 more probes of everybody", moreProbes(t, node, 10)))
	status, err := node.Status(deadline(t))
	must(t, err)
	for _, b := range status.Services[0].Backends {
		name, bad := behaves[b.Name]
		switch {
		case bad && (b.State != control.StateDown || !strings.Contains(b.Reason, says[b.Name])):
			t.Errorf("%s: the backend is %s, as %q; want it down as %q", name, b.State, b.Reason, says[b.Name])
		case bad:
			t.Logf("%s: %s", name, b.Reason)
		case b.State != control.StateUp || b.Check.Failed > 0:
			t.Errorf("the good backend is %s, as %q, after %+v", b.State, b.Reason, b.Check)
		}
	}
	after := memory(t, node)
	t.Logf("resident memory before and after: %d kB, %d kB", before, after)
	if after > before+20<<10 {
		t.Errorf("the daemon grew from %d to %d kB", before, after)
	}
	must(t, clients.AwaitMore(deadline(t), 2))
	end()
}

// zeros is a body without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// answer has a backend treat each probe as serve does, until the test ends.
func answer(t *testing.T, b *testenv.Backend, serve func(net.Conn)) {
	t.Helper()
	l, err := b.Listen("tcp", netip.AddrPortFrom(b.Addr, probePort).String())
	must(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				if _, err := c.Read(make([]byte, 4096)); err == nil {
					serve(c)
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
}

// moreProbes is content once every backend got n more probes.
func moreProbes(t *testing.T, node *testenv.Node, n uint64) func(control.Status) error {
	t.Helper()
	status, err := node.Status(deadline(t))
	must(t, err)
	want := map[string]uint64{}
	for _, b := range status.Services[0].Backends {
		want[b.Name] = b.Check.Passed + b.Check.Failed + n
	}
	return func(s control.Status) error {
		for _, b := range s.Services[0].Backends {
			if got := b.Check.Passed + b.Check.Failed; got < want[b.Name] {
				return errors.New(b.Name + " got fewer")
			}
		}
		return nil
	}
}

// memory is what a node has of the machine's, in kB.
func memory(t *testing.T, node *testenv.Node) (kB int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", node.PID()))
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	_, err = fmt.Sscan(rest, &kB)
	must(t, err)
	return kB
}
