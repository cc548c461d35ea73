package api_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/api/apitest"
	"github.com/xlb-project/xlb/control/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const text = `
interfaces: [eth0]
services:
  - name: web
    vip: 192.0.2.10
    port: 80
    forward: ipip
    backends: [{address: 10.1.0.1, name: b1}, {address: 10.1.0.2, name: b2}]
  - {name: dns, vip: 192.0.2.53, port: 53, protocol: udp, forward: ipip, backends: [{address: 10.1.0.3}]}
`

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("xlb.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// serve serves a node on a socket of its own until the test ends.
func serve(t testing.TB, node api.Node) *api.Client {
	t.Helper()
	return serveWith(t, node, config.API{Group: config.DefaultAPIGroup})
}

func serveWith(t testing.TB, node api.Node, settings config.API) *api.Client {
	t.Helper()
	access, err := api.NewAccess(settings)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "xlb.sock")
	l, err := api.Listen(socket, access)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- api.Serve(ctx, l, api.Handler(node, api.Options{Access: access, Version: "v1.2.3", Log: log}), log)
	}()
	client := api.NewClient(socket)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		client.Close()
	})
	return client
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestClientGetsWhatTheNodeSays(t *testing.T) {
	node := apitest.New(parse(t, text))
	client := serve(t, node)
	want, err := node.Status(t.Context())
	must(t, err)
	got, err := client.Status(t.Context())
	must(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	version, err := client.Version(t.Context())
	must(t, err)
	if version.Version != "v1.2.3" {
		t.Errorf("version %+v", version)
	}
}

func TestStatusCanBeOfOneServiceOrOneBackend(t *testing.T) {
	client := serve(t, apitest.New(parse(t, text)))
	status, err := client.StatusOf(t.Context(), "dns", "")
	must(t, err)
	if len(status.Services) != 1 || status.Services[0].Name != "dns" {
		t.Errorf("services %+v", status.Services)
	}
	status, err = client.StatusOf(t.Context(), "web", "10.1.0.2")
	must(t, err)
	if len(status.Services) != 1 || len(status.Services[0].Backends) != 1 || status.Services[0].Backends[0].Name != "b2" {
		t.Errorf("services %+v", status.Services)
	}
	_, err = client.StatusOf(t.Context(), "web", "b3")
	if !errors.Is(err, control.ErrUnknown) || err.Error() != "service web has no backend b3: did you mean b1 or b2?" {
		t.Errorf("error %v", err)
	}
}

func TestEditsNameWhoMadeThem(t *testing.T) {
	node := apitest.New(parse(t, text))
	client := serve(t, node)
	revision, err := client.SetWeight(t.Context(), 0, "web", "b1", 50)
	must(t, err)
	if revision != 2 {
		t.Errorf("revision %d, want 2", revision)
	}
	effective, err := node.Config(t.Context())
	must(t, err)
	if weight := effective.Config.Services[0].Backends[0].Weight; weight != 50 {
		t.Errorf("weight %d", weight)
	}
	for event, err := range client.Events(t.Context(), 1, false) {
		must(t, err)
		if !strings.Contains(event.Actor, "(") || !strings.Contains(event.Actor, "pid ") || event.Revision != 2 {
			t.Errorf("event %+v", event)
		}
	}
}

func TestSecondOfTwoWritersIsToldOfTheFirst(t *testing.T) {
	client := serve(t, apitest.New(parse(t, text)))
	_, err := client.Drain(t.Context(), 1, "web", "b1", time.Minute, false)
	must(t, err)
	_, err = client.RemoveService(t.Context(), 1, "web")
	var p *api.Problem
	if !errors.As(err, &p) || !errors.Is(err, control.ErrConflict) || p.Object != "service web" || len(p.Since) != 1 {
		t.Fatalf("error %#v", err)
	}
	if e := p.Since[0]; e.Revision != 2 || e.Kind != control.EventDrain || e.Backend != "b1" || !strings.Contains(e.Actor, "pid ") {
		t.Errorf("it tells of %+v", e)
	}
	if _, err := client.RemoveService(t.Context(), 2, "web"); err != nil {
		t.Error(err)
	}
}

func TestDrainOfTheLastBackendNeedsForce(t *testing.T) {
	client := serve(t, apitest.New(parse(t, text)))
	_, err := client.Drain(t.Context(), 0, "dns", "10.1.0.3", 0, false)
	var p *api.Problem
	if !errors.As(err, &p) || !errors.Is(err, control.ErrRefused) || p.Object != "backend dns/10.1.0.3" || p.Status != http.StatusConflict {
		t.Errorf("error %#v", err)
	}
	_, err = client.Drain(t.Context(), 0, "dns", "10.1.0.3", 0, true)
	must(t, err)
}

func TestProblemsAreToldApart(t *testing.T) {
	node := apitest.New(parse(t, text))
	client := serve(t, node)
	for _, c := range []struct {
		name string
		err  func() error
		is   error
		says string
	}{
		{"unknown service", func() error { _, err := client.Undrain(t.Context(), 0, "wbe", "b1"); return err }, control.ErrUnknown, "did you mean web?"},
		{"weight", func() error { _, err := client.SetWeight(t.Context(), 0, "web", "b1", 1001); return err }, control.ErrInvalid, "1 to 1000"},
		{"empty name", func() error { _, err := client.RemoveService(t.Context(), 0, ""); return err }, control.ErrInvalid, "empty"},
		{"name of dots", func() error { _, err := client.RemoveBackend(t.Context(), 0, "web", ".."); return err }, control.ErrInvalid, "dots"},
		{"name with a slash", func() error { _, err := client.RemoveBackend(t.Context(), 0, "web", "10.0.0.0/8"); return err }, control.ErrUnknown, "10.0.0.0/8"},
		{"configuration", func() error { _, err := client.Plan(t.Context(), []byte("services: 1")); return err }, control.ErrInvalid, "interfaces"},
		{"body of 17 MiB", func() error { _, err := client.Plan(t.Context(), make([]byte, 17<<20)); return err }, nil, "write a shorter one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.err()
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want one that says %q", err, c.says)
			}
		})
	}
	if effective, _ := node.Config(t.Context()); effective.Revision != 1 {
		t.Errorf("revision %d: something was changed", effective.Revision)
	}
	node.Fail = control.ErrEnded
	if _, err := client.Status(t.Context()); !errors.Is(err, control.ErrEnded) {
		t.Errorf("error %v", err)
	}
}

func TestApplyOfWhatWasPlannedChangesWhatRuns(t *testing.T) {
	node := apitest.New(parse(t, text))
	client := serve(t, node)
	next := []byte(strings.Replace(text, "name: web", "name: www", 1))
	plan, err := client.Plan(t.Context(), next)
	must(t, err)
	applied, err := client.Apply(t.Context(), plan.Revision, "new.yaml", next)
	must(t, err)
	if applied.Revision != plan.Revision+1 {
		t.Errorf("revision %d after %d", applied.Revision, plan.Revision)
	}
	if _, err := client.Apply(t.Context(), plan.Revision, "new.yaml", next); !errors.Is(err, control.ErrConflict) {
		t.Errorf("the plan's revision is gone, and still: %v", err)
	}
	applied.Revision = plan.Revision
	if diff := cmp.Diff(plan, applied); diff != "" || plan.Empty {
		t.Errorf("-planned +applied:\n%s", diff)
	}
	if plan, err := client.Plan(t.Context(), next); err != nil || !plan.Empty {
		t.Errorf("afterwards there is %+v to do (%v)", plan, err)
	}
	if drift, err := client.Drift(t.Context()); err != nil || drift.Empty {
		t.Errorf("there is no drift from the file: %+v (%v)", drift, err)
	}
	if _, err := client.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEventsAreKeptAndFollowed(t *testing.T) {
	node := apitest.New(parse(t, text))
	client := serve(t, node)
	for _, text := range []string{"one", "two", "three"} {
		node.Tell(control.Event{Kind: control.EventHealth, Level: slog.LevelWarn, Text: text})
	}
	collect := func(last int) string {
		var texts []string
		for event, err := range client.Events(t.Context(), last, false) {
			must(t, err)
			texts = append(texts, event.Text)
		}
		return strings.Join(texts, ",")
	}
	for last, want := range map[int]string{api.AllKept: "serving 2 services,one,two,three", 2: "two,three", 0: "", 100: "serving 2 services,one,two,three"} {
		if got := collect(last); got != want {
			t.Errorf("the last %d are %s, want %s", last, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var followed []string
	for event, err := range client.Events(ctx, 1, true) {
		must(t, err)
		if event.Level != slog.LevelWarn {
			t.Errorf("level %v", event.Level)
		}
		followed = append(followed, event.Text)
		if event.Text == "three" {
			node.Tell(control.Event{Level: slog.LevelWarn, Text: "four"})
		} else {
			cancel()
		}
	}
	if diff := cmp.Diff([]string{"three", "four"}, followed); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFollowersLearnThatTheDaemonEnds(t *testing.T) {
	node := apitest.New(parse(t, text))
	access, err := api.NewAccess(config.API{Group: config.DefaultAPIGroup})
	must(t, err)
	socket := filepath.Join(t.TempDir(), "xlb.sock")
	l, err := api.Listen(socket, access)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	log := slog.New(slog.DiscardHandler)
	go func() { done <- api.Serve(ctx, l, api.Handler(node, api.Options{Access: access, Log: log}), log) }()
	client := api.NewClient(socket)
	defer client.Close()
	var last error
	for _, last = range client.Events(t.Context(), api.AllKept, true) {
		cancel()
	}
	if !errors.Is(last, io.ErrUnexpectedEOF) {
		t.Errorf("the stream ended with %v", last)
	}
	must(t, <-done)
	if _, err := client.Status(t.Context()); !errors.Is(err, api.ErrNotRunning) {
		t.Errorf("error %v", err)
	}
}
