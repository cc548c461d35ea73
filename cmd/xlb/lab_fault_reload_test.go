package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xlb-project/xlb/testenv"
)

// Reloads of a short test and of a long one.
const (
	fewReloads  = 12
	manyReloads = 1000
)

// Reload after reload under traffic: no client notices, and the daemon holds no more than before. Of four configurations
// two need another program than the one before, and two do not.
func TestReloadsLoseNothingAndLeakNothing(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	b := lab.Backends
	filter := ", filter: {deny: [203.0.113.0/24]}"
	const metrics = "metrics: {listen: \"127.0.0.1:9480\"}\n"
	configs := []string{
		probed(lab, metrics, web("", b[0], b[1])),
		probed(lab, metrics, web("", b[0], b[1], b[2])),
		probed(lab, metrics, web(filter, b[0], b[2])),
		probed(lab, metrics, web(filter, b...)),
	}
	node := startFaulty(t, lab, self, configs[0])
	clients, end := traffic(t, lab, 8, true)
	reload := func(n int) {
		t.Helper()
		must(t, node.Configure(configs[n%len(configs)]))
		plan, err := node.Reload(deadline(t))
		must(t, err)
		if plan.Empty || (plan.Program != nil) != (n%2 == 0) {
			t.Fatalf("reload %d is %+v", n, plan)
		}
	}
	warm := len(configs) + 1 // ends with the same configuration as all of them
	for n := 1; n < warm; n++ {
		reload(n)
	}
	before := holds(t, lab, node)
	count := fewReloads
	if long() {
		count = manyReloads
	}
	began := time.Now()
	for n := range count / len(configs) * len(configs) {
		reload(n + 1)
	}
	took := time.Since(began)
	must(t, clients.AwaitMore(deadline(t), 3))
	// Goroutines and connections of the last change may be about to end.
	must(t, testenv.Eventually(deadline(t), "the daemon to hold no more than before", func() error {
		return before.exceededBy(holds(t, lab, node))
	}))
	t.Logf("%d reloads in %s, half of them with another program; before %+v, after %+v", count, took.Round(time.Millisecond), before, holds(t, lab, node))
	end()
	wantNoOtherReasons(t, node)
}

// held is what a daemon has of things that can leak.
type held struct {
	Goroutines, Descriptors, Maps, Programs, Links, Pins int
}

func (h held) exceededBy(now held) error {
	if now.Goroutines > h.Goroutines || now.Descriptors > h.Descriptors || now.Maps > h.Maps || now.Programs > h.Programs || now.Links > h.Links || now.Pins != h.Pins {
		return fmt.Errorf("%+v, before it was %+v", now, h)
	}
	return nil
}

// holds counts what a daemon has: its descriptors by kind, its goroutines, and what it has pinned.
func holds(t *testing.T, lab *testenv.Lab, node *testenv.Node) held {
	t.Helper()
	h := held{Goroutines: goroutines(t, lab), Pins: len(pinned(t, node))}
	dir := fmt.Sprintf("/proc/%d/fd", node.PID())
	entries, err := os.ReadDir(dir)
	must(t, err)
	h.Descriptors = len(entries)
	for _, e := range entries {
		switch target, _ := os.Readlink(filepath.Join(dir, e.Name())); target {
		case "anon_inode:bpf-map":
			h.Maps++
		case "anon_inode:bpf-prog":
			h.Programs++
		case "anon_inode:bpf_link":
			h.Links++
		}
	}
	return h
}

// goroutines asks a node's metrics.
func goroutines(t *testing.T, lab *testenv.Lab) (n int) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		err = lab.LB.Do(func() error {
			c, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return c, err
	}}}
	request, err := http.NewRequestWithContext(deadline(t), http.MethodGet, "http://127.0.0.1:9480/metrics", nil)
	must(t, err)
	response, err := client.Do(request)
	must(t, err)
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			_, err := fmt.Sscan(text, &n)
			must(t, err)
		}
	}
	_, _ = io.Copy(io.Discard, response.Body)
	return n
}
