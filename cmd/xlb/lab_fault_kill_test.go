package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control"
	xlbmaps "github.com/xlb-project/xlb/maps"
	"github.com/xlb-project/xlb/testenv"
)

// A daemon may be killed at any step of a change: clients do not notice, and the next daemon has made the change or knows
// nothing of it.
func TestDaemonMayDieAtEveryStepOfAnApply(t *testing.T) {
	c := newChanges(t)
	clients, end := traffic(t, c.lab, 8, true)
	want := c.steps()
	var log strings.Builder
	for !want[0].empty() || !want[1].empty() {
		at, some := want[1-c.is].take()
		if !some {
			must(t, c.apply())
			c.is = 1 - c.is
			continue
		}
		must(t, clients.AwaitMore(deadline(t), 2))
		before := revision(t, c.node)
		c.faults.order(at.step, at.nth, kill)
		err := c.apply()
		c.faults.end()
		step := at.step
		if err == nil {
			t.Errorf("a change is made that has not come to %q", step)
			c.is = 1 - c.is
			continue
		}
		must(t, c.node.AwaitEnd(deadline(t)))
		must(t, clients.AwaitMore(deadline(t), 2))
		began := time.Now()
		must(t, c.node.Start(deadline(t)))
		took, after := time.Since(began), revision(t, c.node)
		what := "absent"
		switch {
		case runs(t, c.node, c.configs[1-c.is]):
			what, c.is = "finished", 1-c.is
			if after != before+1 {
				t.Errorf("killed at %q: the change is finished with revision %d, want %d", step, after, before+1)
			}
		case !runs(t, c.node, c.configs[c.is]):
			t.Errorf("killed at %q: neither the one nor the other configuration", step)
		case after != before:
			t.Errorf("killed at %q: the change is absent with revision %d, want %d", step, after, before)
		}
		c.wantWhole("killed at " + step)
		fmt.Fprintf(&log, "\n%-14s %-9s started again in %s", step, what, took.Round(time.Millisecond))
	}
	must(t, clients.AwaitMore(deadline(t), 2))
	t.Logf("killed at:%s", log.String())
	end()
	c.wantNumbersBack()
}

// What kills one daemon after the other is given up: the third one runs what ran before.
func TestAChangeThatKillsDaemonsIsGivenUp(t *testing.T) {
	c := newChanges(t)
	clients, end := traffic(t, c.lab, 4, true)
	before := revision(t, c.node)
	c.faults.order("settings", 0, kill)
	_ = c.apply()
	must(t, c.node.AwaitEnd(deadline(t)))
	for range 2 {
		if err := c.node.Start(deadline(t)); err == nil {
			t.Fatal("a daemon lives that was to be killed")
		}
		must(t, c.node.AwaitEnd(deadline(t)))
		must(t, clients.AwaitMore(deadline(t), 2))
	}
	c.faults.end()
	must(t, c.node.Start(deadline(t)))
	if !runs(t, c.node, c.configs[0]) || revision(t, c.node) != before {
		t.Errorf("revision %d runs, want the one before the change, %d", revision(t, c.node), before)
	}
	if out := c.node.Output(); !strings.Contains(out, "is given up") {
		t.Errorf("nothing is told about it:\n%s", out)
	}
	c.wantWhole("given up")
	must(t, c.apply()) // nobody kills it any more
	must(t, clients.AwaitMore(deadline(t), 2))
	end()
}

// A step that the kernel refuses, for want of room or of rights, is told, and everything is as before.
func TestAStepThatFailsIsTakenBack(t *testing.T) {
	c := newChanges(t)
	clients, end := traffic(t, c.lab, 8, true)
	want := c.steps()
	told := 0
	for n := 0; !want[0].empty() || !want[1].empty(); n++ {
		at, some := want[1-c.is].take()
		if !some {
			must(t, c.apply())
			c.is = 1 - c.is
			continue
		}
		before := revision(t, c.node)
		errno := []syscall.Errno{unix.ENOSPC, unix.EPERM}[n%2]
		c.faults.order(at.step, at.nth, int(errno))
		err := c.apply()
		c.faults.end()
		step := at.step
		switch {
		case err == nil: // what comes after the change stands is no reason to take it back
			c.is = 1 - c.is
			if revision(t, c.node) != before+1 || !runs(t, c.node, c.configs[c.is]) {
				t.Errorf("%q failed: the change is made, and something else runs", step)
			}
		case !strings.Contains(err.Error(), errno.Error()) || !strings.Contains(err.Error(), step):
			t.Errorf("%q failed with %q, and it says %v", step, errno, err)
		case revision(t, c.node) != before || !runs(t, c.node, c.configs[c.is]):
			t.Errorf("%q failed: revision %d runs, want %d", step, revision(t, c.node), before)
		default:
			told++
		}
		must(t, clients.AwaitMore(deadline(t), 2))
		must(t, c.node.WaitFor(deadline(t), "one program alone", func(control.Status) error { return c.whole() }))
	}
	if told < 10 {
		t.Errorf("%d failures were told, want at least 10", told)
	}
	end()
	c.wantNumbersBack()
}

// changes is a node with two configurations: one change needs another program before it and after it, adds a service and
// removes one, adds a backend and removes one that has connections, and makes tables of other sizes. So does the way back.
type changes struct {
	t       *testing.T
	lab     *testenv.Lab
	node    *testenv.Node
	faults  faults
	configs [2]string
	is      int // which of them runs
}

func newChanges(t *testing.T) *changes {
	other := testenv.DefaultVIP.Next()
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: []netip.Addr{testenv.DefaultVIP, other}, Decap: decap})
	xlb, faults := faulty(t)
	b := lab.Backends
	c := &changes{t: t, lab: lab, faults: faults, configs: [2]string{
		probed(lab, "", web("", b[0], b[1]), side("old", other, b...)),
		probed(lab, "limits: {flows: 65536, rules: 1000}", web(", filter: {deny: [203.0.113.0/24]}", b[1], b[2]), side("new", other, b...)),
	}}
	c.node = startFaulty(t, lab, xlb, c.configs[0])
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("xlb printed:\n%s", c.node.Output())
		}
	})
	return c
}

// apply asks for the configuration that does not run.
func (c *changes) apply() error {
	_, err := c.node.Apply(deadline(c.t), 0, "test", []byte(c.node.Complete(c.configs[1-c.is])))
	return err
}

// steps are those of the changes to each configuration that are to be tried: all of them in a long test, else one of each
// name, there and back in turns.
func (c *changes) steps() (want [2]queue) {
	c.t.Helper()
	var all [2]queue
	for range all {
		c.faults.order("", 0, kill)
		must(c.t, c.apply())
		c.is = 1 - c.is
		count := map[string]int{}
		for _, step := range c.faults.end() {
			if strings.HasPrefix(step, "slots of") && count[step] > 0 {
				continue // that a table made anew has to be filled depends on what was done before
			}
			all[c.is] = append(all[c.is], moment{step, count[step]})
			count[step]++
		}
	}
	if n := len(all[0]) + len(all[1]); n < 30 {
		c.t.Errorf("the changes have %d steps, want at least 30: %v", n, all)
	}
	if long() {
		return all
	}
	seen := map[moment]bool{}
	for to := range all {
		for _, m := range all[to] {
			if m.nth > 0 || seen[m] {
				continue
			}
			way := to
			if seen[m] = true; len(seen)%2 == 0 && slices.Contains(all[1-to], m) {
				way = 1 - to
			}
			want[way] = append(want[way], m)
		}
	}
	return want
}

// moment is when a daemon comes to a step for the nth time, from 0, in one change.
type moment struct {
	step string
	nth  int
}

// queue are moments to be tried.
type queue []moment

func (q *queue) empty() bool { return len(*q) == 0 }

func (q *queue) take() (m moment, some bool) {
	if q.empty() {
		return m, false
	}
	m, *q = (*q)[0], (*q)[1:]
	return m, true
}

// whole is an error if more is pinned than what runs.
func (c *changes) whole() error {
	if n := generations(c.t, c.node); len(n) != 1 {
		return fmt.Errorf("generations %v are pinned", n)
	}
	return nil
}

// wantWhole wants nothing to be left of what was begun.
func (c *changes) wantWhole(when string) {
	c.t.Helper()
	if err := c.whole(); err != nil {
		c.t.Errorf("%s: %v", when, err)
	}
	services, backends := entries(c.t, c.node)
	if len(services) != 2 {
		c.t.Errorf("%s: services %v have numbers, want two", when, services)
	}
	for _, b := range backends {
		if !slices.ContainsFunc(services, func(s xlbmaps.ServiceEntry) bool { return s.ID == b.Service }) && b.Admin == 0 {
			c.t.Errorf("%s: backend %+v has a number, and its service has none", when, b)
		}
	}
}

// wantNumbersBack wants the numbers of backends back that are gone, once no record can name them.
func (c *changes) wantNumbersBack() {
	c.t.Helper()
	if !long() {
		return // as long as flows may be silent
	}
	err := testenv.Eventually(deadline(c.t), "numbers to be free again", func() error {
		if _, backends := entries(c.t, c.node); len(backends) != 5 {
			return fmt.Errorf("%d backends have numbers, want 5: %+v", len(backends), backends)
		}
		return nil
	})
	if err != nil {
		c.t.Error(err)
	}
}

// probed is a configuration whose records of flows end soon.
func probed(lab *testenv.Lab, node string, services ...string) string {
	return configOf(lab, "flows: {idle: 10s}\n"+node, services...)
}

// web is the service that traffic of a test goes to, probed as clients reach it.
func web(settings string, backends ...*testenv.Backend) string {
	return fmt.Sprintf("  - {name: web, vip: %s, port: 80, protocol: [tcp, udp], forward: ipip, tracking: change%s, "+
		"health: {http: {path: /healthz}, interval: 100ms, timeout: 2s, rise: 1, fall: 3}, backends: [%s]}\n",
		testenv.DefaultVIP, settings, strings.Join(over4(backends...), ", "))
}

// side is another service, without health checks.
func side(name string, vip netip.Addr, backends ...*testenv.Backend) string {
	return fmt.Sprintf("  - {name: %s, vip: %s, port: 80, protocol: [tcp, udp], forward: ipip, backends: [%s]}\n", name, vip, strings.Join(over4(backends...), ", "))
}

func revision(t *testing.T, node *testenv.Node) uint64 {
	t.Helper()
	_, r, err := node.Config(deadline(t))
	must(t, err)
	return r
}

// runs says whether a node has exactly that configuration.
func runs(t *testing.T, node *testenv.Node, config string) bool {
	t.Helper()
	p, err := node.Plan(deadline(t), []byte(node.Complete(config)))
	must(t, err)
	return p.Empty
}
