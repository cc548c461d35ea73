package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/api/apitest"
	"github.com/xlb-project/xlb/control/config"
)

// nodeInMemory serves a node in memory on a socket until the test ends.
func nodeInMemory(t *testing.T, text string) (*apitest.Node, string) {
	t.Helper()
	cfg, err := config.Parse("xlb.yaml", []byte(text))
	must(t, err)
	node := apitest.New(cfg)
	access, err := api.NewAccess(cfg.API)
	must(t, err)
	socket := filepath.Join(t.TempDir(), "xlb.sock")
	l, err := api.Listen(socket, access)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	log := slog.New(slog.DiscardHandler)
	go func() { done <- api.Serve(ctx, l, api.Handler(node, api.Options{Access: access, Log: log}), log) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	return node, socket
}

func TestEventsAreFollowedUntilCtrlC(t *testing.T) {
	node, socket := nodeInMemory(t, "interfaces: [eth0]\nservices: []\n")
	for range 3 {
		node.Tell(control.Event{Kind: control.EventHealth, Service: "web", Backend: "b1", Text: "old"})
	}
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	in, out := io.Pipe()
	root := rootCommand()
	root.SetArgs([]string{"events", "-f", "-n", "2", "--socket", socket})
	root.SetOut(out)
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	lines := bufio.NewScanner(in)
	for _, want := range []string{"old", "old", "new, by somebody", "... 5 events are lost", "newest"} {
		if want == "new, by somebody" {
			node.Tell(control.Event{Kind: control.EventDrain, Text: "new", Actor: "somebody"})
			node.Lose(5)
			node.Tell(control.Event{Kind: control.EventDrain, Text: "newest"})
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("line %q, want one with %q", lines.Text(), want)
		}
	}
	cancel()
	must(t, <-ended)
}
