package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestNoChangeBreaksAConnection plays the whole script on a small scale. How long connections stall is for `make churn` on a
// machine that has nothing else to do.
func TestNoChangeBreaksAConnection(t *testing.T) {
	dir := t.TempDir()
	build := func(name string) string {
		to := filepath.Join(dir, name)
		if out, err := exec.Command("go", "build", "-ldflags", "-X main.version="+name, "-o", to, "../../cmd/xlb").CombinedOutput(); err != nil {
			t.Fatalf("build xlb: %v: %s", err, out)
		}
		return to
	}
	verbose = t.Logf
	c, err := play(context.Background(), options{
		xlb: build("old"), next: build("new"), backends: 10, tcp: 200, udp: 20, quic: 20, short: 20, step: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.tally.total()
	for _, s := range c.tally.steps[1:] {
		if n := s.Broken - s.BrokenUnavoidable; n != 0 {
			t.Errorf("%s: %d connections broke whose backend lives", s.Name, n)
		}
		if s.PacketsLost > 0 && !s.Death {
			t.Errorf("%s: xlb lost %d packets", s.Name, s.PacketsLost)
		}
		if s.Exchanges == 0 && !s.Death {
			t.Errorf("%s: nobody said anything", s.Name)
		}
	}
	if died := c.tally.total().BrokenUnavoidable; died == 0 {
		t.Error("two backends died, and no connection broke: nothing is measured")
	}
}
