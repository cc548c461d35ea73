package control

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/xlb-project/xlb/control/config"
)

func TestStatusCountsTheObjectsThatDifferFromTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := twoServe(t)
		want := func(what string, count int) {
			t.Helper()
			if got := n.status().Drift; got != count {
				t.Errorf("%s: %d objects differ from the file, want %d", what, got, count)
			}
		}
		want("at first", 0)
		edit := Edit{Actor: "root"}
		if _, err := n.Drain(t.Context(), edit, "web", "10.0.0.1", DrainOptions{Timeout: time.Hour}); err != nil {
			t.Fatal(err)
		}
		want("with a drain", 1)
		if _, err := n.SetWeight(t.Context(), edit, "web", "10.0.0.1", 50); err != nil {
			t.Fatal(err)
		}
		want("with another weight of the same backend", 1)
		s := n.service("web")
		s.SlowStart, s.Panic = time.Second, 30
		if _, err := n.SetService(t.Context(), edit, s); err != nil {
			t.Fatal(err)
		}
		want("with two settings of the service", 2)
		n.stop()
		n.start()
		defer n.stop()
		n.tell(nil, hosts(1, 2)...)
		want("after a restart", 2)
		if _, err := n.Undrain(t.Context(), edit, "web", "10.0.0.1"); err != nil {
			t.Fatal(err)
		}
		if _, err := n.SetWeight(t.Context(), edit, "web", "10.0.0.1", 100); err != nil {
			t.Fatal(err)
		}
		want("when the backend is as in the file", 1)
	})
}

// service is a service as it is wanted.
func (n *node) service(name string) config.Service {
	n.t.Helper()
	effective, err := n.Config(context.Background())
	if err != nil {
		n.t.Fatal(err)
	}
	return effective.Config.Services[serviceIndex(effective.Config, name)]
}
