package main

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/xlb-project/xlb/testenv"
)

// A node whose daemon has ended serves on, and after the time that its configuration says leaves packets to the kernel or
// drops them.
func TestTrafficPassesOrStopsWhenNoDaemonHasRunForLong(t *testing.T) {
	const after = 5 * time.Second
	for action, passes := range map[string]bool{"pass-after": true, "drop-after": false} {
		t.Run(action, func(t *testing.T) {
			lab := testenv.New(t, testenv.NewRouted, testenv.Options{Backends: 1, Decap: decap})
			node := start(t, lab, configOf(lab, fmt.Sprintf("dead_daemon: %s %s", action, after),
				service("web", "vip: 192.0.2.10, port: [80, 81], protocol: [tcp, udp], forward: ipip", over4(lab.Backends...))))
			out, kernel := openTap(t, lab.LBPeers[0].NS, lab.LBPeers[0].Interface), openTap(t, lab.LB, lab.LBInterfaces[0])
			packet := datagram(t, lab, testenv.Sources(1)[0], silent(lab.VIPs[0]))
			inject(t, lab, packet)
			fromLB(t, out)

			stopped := time.Now()
			must(t, node.Stop())
			inject(t, lab, packet)
			fromLB(t, out)
			for served := true; served; {
				inject(t, lab, packet)
				served = comes(t, out)
			}
			if waited := time.Since(stopped); waited < after-time.Second {
				t.Errorf("packets %s %s after the daemon's end, want no less than %s after its last tick", action, waited, after)
			}
			inject(t, lab, packet)
			if passes {
				wantInKernel(t, kernel, packet)
			} else if comes(t, kernel) {
				t.Error("the kernel gets packets that are to be dropped")
			}
		})
	}
}

// comes tells whether a frame with the test's payload comes in soon.
func comes(t *testing.T, tap *testenv.Tap) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := tap.Find(ctx, "a frame with the test's payload", func(f testenv.Frame) bool {
		return !f.Outgoing && bytes.Contains(f.Data, payload)
	})
	return err == nil
}
