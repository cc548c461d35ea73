package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/xlb-project/xlb/loader"
	"github.com/xlb-project/xlb/testenv"
)

// TestMain lets the test binary be xlb itself, so that tests and scripts run it
// as a process of its own without building it first.
func TestMain(m *testing.M) {
	if os.Getenv("XLB_TEST_AS_XLB") != "" {
		beFaulty()
		main()
		return
	}
	testscript.Main(m, map[string]func(){"xlb": main})
}

var self = testenv.Program{Path: "/proc/self/exe", Env: []string{"XLB_TEST_AS_XLB=1"}}

// deadline bounds a test that waits for something that does not come.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// start runs xlb on the lab's balancer.
func start(t *testing.T, lab *testenv.Lab, config string) *testenv.Node {
	t.Helper()
	node, err := testenv.StartNode(deadline(t), lab.LB, self, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	return node
}

// configFor is a configuration with one service for all of the lab's backends.
func configFor(lab *testenv.Lab, forward, protocol string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s]\nmetrics: {listen: 127.0.0.1:9480}\nservices:\n", strings.Join(lab.LBInterfaces, ", "))
	fmt.Fprintf(&b, "  - name: web\n    vip: %s\n    port: %d\n    protocol: %s\n    forward: %s\n", lab.VIPs[0], lab.Port, protocol, forward)
	fmt.Fprintf(&b, "    health: {http: {path: /healthz, port: %d}, interval: 100ms, timeout: 2s, rise: 2, fall: 2}\n    backends:\n", lab.Port)
	for _, backend := range lab.Backends {
		fmt.Fprintf(&b, "      - {name: %s, address: %s}\n", backend.Name(), backend.Addr)
	}
	return b.String()
}

// decap is the product's own decapsulation for a lab's backends.
func decap(n *testenv.Namespace, device string) (io.Closer, error) {
	var d *loader.Decap
	err := n.Do(func() (err error) {
		d, err = loader.AttachDecap(device, loader.Native, loader.DecapOptions{})
		return err
	})
	return d, err
}
