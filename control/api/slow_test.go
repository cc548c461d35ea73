package api

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api/apitest"
	"github.com/xlb-project/xlb/control/config"
)

// hesitant is a node that takes its time to plan.
type hesitant struct {
	*apitest.Node
	time time.Duration
}

func (h hesitant) Plan(ctx context.Context, cfg *config.Config) (control.Plan, error) {
	select {
	case <-time.After(h.time):
		return h.Node.Plan(ctx, cfg)
	case <-ctx.Done():
		return control.Plan{}, ctx.Err()
	}
}

// impatient serves a node that waits 50 ms for bodies.
func impatient(t *testing.T, node Node) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "xlb.sock")
	access := Access{group: noGroup}
	l, err := Listen(socket, access)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, l, Handler(node, Options{Access: access, Log: log, bodyTimeout: 50 * time.Millisecond}), log)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return socket
}

func TestBodyThatDoesNotArriveIsGivenUp(t *testing.T) {
	cfg, err := config.Parse("", []byte(fuzzText))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", impatient(t, apitest.New(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/plan HTTP/1.1\r\nHost: xlb\r\nContent-Length: 100\r\n\r\nservices")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
}

func TestAnswerMayTakeLongerThanTheBodyHad(t *testing.T) {
	cfg, err := config.Parse("", []byte(fuzzText))
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(impatient(t, hesitant{apitest.New(cfg), 200 * time.Millisecond}))
	defer client.Close()
	if _, err := client.Plan(t.Context(), []byte(fuzzText)); err != nil {
		t.Error(err)
	}
}
