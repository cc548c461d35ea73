package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// talk is a connection that stays with the backend that it met first.
type talk struct {
	conversation
	backend string
}

// crowd is many of them.
type crowd struct {
	t     *testing.T
	lab   *testenv.Lab
	to    netip.AddrPort
	talks []*talk
}

// begin opens n more connections.
func (c *crowd) begin(n int) {
	c.t.Helper()
	for range n {
		conn, err := c.lab.Client.Dial(deadline(c.t), "tcp", netip.AddrPort{}, c.to)
		must(c.t, err)
		c.t.Cleanup(func() { conn.Close() })
		k := &talk{conversation: conversation{conn, bufio.NewReader(conn)}}
		if k.backend, err = k.speak(); err != nil {
			c.t.Fatalf("a new connection: %v", err)
		}
		c.talks = append(c.talks, k)
	}
}

// broken counts the connections that do not go on where they were; they are let go of.
func (c *crowd) broken() int {
	n := 0
	c.talks = slices.DeleteFunc(c.talks, func(k *talk) bool {
		got, err := k.speak()
		if bad := err != nil || got != k.backend; bad {
			k.Close()
			n++
			return true
		}
		return false
	})
	return n
}

// unbroken has all connections speak.
func (c *crowd) unbroken(after string) {
	c.t.Helper()
	if n := c.broken(); n > 0 {
		c.t.Fatalf("%s: %d connections broke", after, n)
	}
}

// with returns those of a backend.
func (c *crowd) with(backend string) int {
	n := 0
	for _, k := range c.talks {
		if k.backend == backend {
			n++
		}
	}
	return n
}

// await has all connections speak until the node is as it should be.
func (c *crowd) await(ctx context.Context, node *testenv.Node, what string, cond func(control.ServiceStatus) bool) control.ServiceStatus {
	c.t.Helper()
	var last control.ServiceStatus
	must(c.t, node.WaitFor(ctx, what, func(s control.Status) error {
		if n := c.broken(); n > 0 {
			c.t.Fatalf("while awaiting %s %d connections broke", what, n)
		}
		if last = s.Services[0]; !cond(last) {
			return errors.New("not yet")
		}
		return nil
	}))
	return last
}

func backendOf(t *testing.T, s control.ServiceStatus, name string) control.BackendStatus {
	t.Helper()
	for _, b := range s.Backends {
		if b.Name == name {
			return b
		}
	}
	t.Fatalf("no backend %s", name)
	return control.BackendStatus{}
}

// gather is a lab with a node and connections.
func gather(t *testing.T, node, settings string, connections int) (*crowd, *testenv.Node) {
	t.Helper()
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	n := start(t, lab, configOf(lab, node, service("web", fmt.Sprintf("vip: %s, port: %d, forward: ipip%s", lab.VIPs[0], lab.Port, settings), over4(lab.Backends...))))
	c := &crowd{t: t, lab: lab, to: netip.AddrPortFrom(lab.VIPs[0], lab.Port)}
	c.begin(connections)
	return c, n
}

func TestOverlappingChangesBreakNoConnection(t *testing.T) {
	for _, tracking := range []string{"change", "always"} {
		t.Run(tracking, func(t *testing.T) {
			c, node := gather(t, "flows: {idle: 10s, learn: 1s}", ", tracking: "+tracking, 60)
			third := fmt.Sprintf("{name: backend3, address: %s}", c.lab.Backends[2].Addr)
			for _, step := range []struct {
				what string
				do   func(context.Context) (uint64, error)
			}{
				{"a drain", func(ctx context.Context) (uint64, error) {
					return node.Drain(ctx, 0, "web", "backend1", time.Minute, false)
				}},
				{"a weight", func(ctx context.Context) (uint64, error) { return node.SetWeight(ctx, 0, "web", "backend2", 10) }},
				{"the end of the drain", func(ctx context.Context) (uint64, error) { return node.Undrain(ctx, 0, "web", "backend1") }},
				{"a removal", func(ctx context.Context) (uint64, error) { return node.RemoveBackend(ctx, 0, "web", "backend3") }},
				{"another size", func(ctx context.Context) (uint64, error) {
					out, err := xlb(t, c.lab, "service", "set", "web", "slots=4093", "--socket", node.Socket())
					if err != nil {
						return 0, fmt.Errorf("%w: %s", err, out)
					}
					return 0, nil
				}},
				{"another drain", func(ctx context.Context) (uint64, error) { return node.Drain(ctx, 0, "web", "backend2", 0, false) }},
				{"an addition", func(ctx context.Context) (uint64, error) {
					return node.AddBackend(ctx, 0, "web", "backend3", []byte(third))
				}},
				{"the former weight", func(ctx context.Context) (uint64, error) { return node.SetWeight(ctx, 0, "web", "backend2", 100) }},
			} {
				if _, err := step.do(t.Context()); err != nil {
					t.Fatalf("%s: %v", step.what, err)
				}
				c.unbroken(step.what)
				c.begin(10)
				c.unbroken("new connections after " + step.what)
			}
			c.await(deadline(t), node, "the other size", func(s control.ServiceStatus) bool { return s.Slots == 4093 })
			c.begin(10)
			c.unbroken("the other size")
			if _, err := node.Undrain(t.Context(), 0, "web", "backend2"); err != nil {
				t.Fatal(err)
			}
			c.begin(10)
			c.unbroken("a change in the table of another size")
		})
	}
}

func TestAPreviousOwnerThatDiesBreaksItsOwnConnectionsAlone(t *testing.T) {
	c, node := gather(t, "flows: {idle: 10s, learn: 1s}", "", 60)
	if _, err := node.Drain(t.Context(), 0, "web", "backend1", 0, false); err != nil {
		t.Fatal(err)
	}
	c.unbroken("a drain")
	doomed := c.with("backend1")
	if s, err := node.Status(t.Context()); err != nil || backendOf(t, s.Services[0], "backend1").TransitionSlots == 0 || doomed == 0 {
		t.Fatalf("backend1 is nobody's former owner, or has none of the connections (%d): %v", doomed, err)
	}
	c.lab.Backends[0].Kill()
	must(t, node.WaitFor(deadline(t), "the death", func(s control.Status) error {
		if b := backendOf(t, s.Services[0], "backend1"); b.State != control.StateDown || b.TransitionSlots != 0 {
			return fmt.Errorf("it is %s with %d slots", b.State, b.TransitionSlots)
		}
		return nil
	}))
	if n := c.broken(); n != doomed {
		t.Errorf("%d connections broke, and backend1 had %d", n, doomed)
	}
	c.begin(30)
	must(t, c.lab.Backends[0].Restore())
	c.await(deadline(t), node, "its return", func(s control.ServiceStatus) bool { return backendOf(t, s, "backend1").State == control.StateUp })
	if n := c.with("backend1"); n != 0 {
		t.Errorf("%d new connections met a backend that is drained", n)
	}
}

func TestAFullFlowTableBreaksNoConnection(t *testing.T) {
	c, node := gather(t, "flows: {idle: 10s, learn: 1s}\nlimits: {flows: 8}", "", 60)
	for i, change := range []func() (uint64, error){
		func() (uint64, error) { return node.Drain(t.Context(), 0, "web", "backend1", time.Minute, false) },
		func() (uint64, error) { return node.SetWeight(t.Context(), 0, "web", "backend2", 10) },
		func() (uint64, error) { return node.Undrain(t.Context(), 0, "web", "backend1") },
	} {
		if _, err := change(); err != nil {
			t.Fatal(err)
		}
		c.unbroken(fmt.Sprintf("change %d", i))
		c.begin(10)
	}
}

func TestWithoutTrackingSlotsMoveAtOnce(t *testing.T) {
	c, node := gather(t, "flows: {idle: 10s, learn: 1s}", ", tracking: never", 60)
	had := c.with("backend1")
	if _, err := node.Drain(t.Context(), 0, "web", "backend1", time.Minute, false); err != nil {
		t.Fatal(err)
	}
	s, err := node.Status(t.Context())
	if err != nil || s.Services[0].Tracking != "never" || s.Services[0].TransitionSlots != 0 {
		t.Errorf("%+v (error: %v)", s.Services[0], err)
	}
	if n := c.broken(); n != had || n == 0 {
		t.Errorf("%d connections broke, want the %d of backend1", n, had)
	}
}

func TestPanicIsSaidInStatusEventAndMetric(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	config := strings.Replace(configFor(lab, "ipip", "tcp"), "    backends:\n", "    panic: 50\n    backends:\n", 1)
	node := start(t, lab, config)
	for _, b := range lab.Backends[:2] {
		b.SetHealthy(false) // and yet it answers
	}
	must(t, node.WaitFor(deadline(t), "panic", func(s control.Status) error {
		if !s.Services[0].Panic {
			return errors.New("it is calm")
		}
		return nil
	}))
	owners, err := lab.Owners(deadline(t), netip.AddrPortFrom(lab.VIPs[0], lab.Port), testenv.Sources(60))
	must(t, err)
	met := map[string]bool{}
	for _, owner := range owners {
		met[owner] = true
	}
	if len(met) != 3 {
		t.Errorf("clients meet %v, want all three", met)
	}
	if text := scrape(t, lab); !strings.Contains(text, "\nxlb_service_panic{service=\"web\"} 1\n") {
		t.Error("no metric says so")
	}
	out, err := xlb(t, lab, "status", "--socket", node.Socket())
	must(t, err)
	if !strings.Contains(out, "panic: too few backends are healthy, so all are used") {
		t.Errorf("status says:\n%s", out)
	}
	out, err = xlb(t, lab, "events", "--kind", "panic", "--socket", node.Socket())
	must(t, err)
	if !strings.Contains(out, "1 of 3 backends are healthy, fewer than 50 %: all are used") {
		t.Errorf("events say:\n%s", out)
	}
	lab.Backends[0].SetHealthy(true)
	must(t, node.WaitFor(deadline(t), "calm", func(s control.Status) error {
		if s.Services[0].Panic {
			return errors.New("panic")
		}
		return nil
	}))
}

func TestABackendThatCameUpTakesItsShareSlowly(t *testing.T) {
	c, node := gather(t, "flows: {idle: 10s, learn: 1s}", ", slow_start: 10s", 0)
	c.lab.Backends[0].Kill()
	c.await(deadline(t), node, "the death", func(s control.ServiceStatus) bool { return backendOf(t, s, "backend1").Live == 0 })
	must(t, c.lab.Backends[0].Restore())
	var shares []float64
	c.await(deadline(t), node, "the whole share", func(s control.ServiceStatus) bool {
		b := backendOf(t, s, "backend1")
		if b.Live > 0 && (len(shares) == 0 || shares[len(shares)-1] != b.Live) {
			shares = append(shares, b.Live)
		}
		return b.Live == 1
	})
	if !slices.IsSorted(shares) || len(shares) < 4 || shares[0] > 0.5 {
		t.Errorf("its share was %v, want it to grow", shares)
	}
}
