package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/loader"
	xlbmaps "github.com/xlb-project/xlb/maps"
	"github.com/xlb-project/xlb/testenv"
)

// Environment of the test binary when it is xlb. The product knows none of it.
const (
	faultsEnv  = "XLB_TEST_FAULTS"  // path of a file with an order, see faults
	versionEnv = "XLB_TEST_VERSION" // what it says that it is
)

// beFaulty makes this process the xlb that its environment asks for.
func beFaulty() {
	if v := os.Getenv(versionEnv); v != "" {
		version = v
	}
	if file := os.Getenv(faultsEnv); file != "" {
		failpoint = obey(file)
	}
}

// order is what a daemon is to do, and where.
type order struct {
	Number int    // of the order, so that one is told from the one before
	Step   string // "": it only notes the steps that it makes
	Nth    int    // time that it comes to the step, from 0
	How    int    // kill, or the number of the error that the step fails with
}

// kill is the order to die; it is no error number that a test would want.
const kill = 0

// obey has a daemon carry out the order in a file, while there is one.
func obey(file string) func(string) error {
	passed, last := 0, 0
	return func(step string) error {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil // there is none
		}
		var o order
		if err := json.Unmarshal(data, &o); err != nil {
			return fmt.Errorf("read the order %q: %w", data, err)
		}
		if o.Number != last {
			passed, last = 0, o.Number
		}
		if err := note(file+".steps", step); err != nil {
			return err
		}
		if step != o.Step {
			return nil
		}
		if passed++; passed-1 != o.Nth {
			return nil
		}
		if o.How == kill {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {} // it does not get any further
		}
		return fmt.Errorf("%s: %w", step, syscall.Errno(o.How))
	}
}

func note(file, step string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, step)
	return errors.Join(err, f.Close())
}

// faults gives a daemon orders.
type faults struct {
	t      *testing.T
	file   string
	orders *int
}

// faulty returns xlb with faults that can be ordered.
func faulty(t *testing.T) (testenv.Program, faults) {
	f := faults{t, filepath.Join(t.TempDir(), "order"), new(int)}
	return withEnv(self, faultsEnv+"="+f.file), f
}

// withEnv is a program with more environment.
func withEnv(p testenv.Program, env ...string) testenv.Program {
	p.Env = append(slices.Clone(p.Env), env...)
	return p
}

// order has the daemon fail at a step from now on.
func (f faults) order(step string, nth, how int) {
	f.t.Helper()
	*f.orders++
	data, err := json.Marshal(order{*f.orders, step, nth, how})
	must(f.t, err)
	must(f.t, os.WriteFile(f.file+".new", data, 0o600))
	must(f.t, os.Rename(f.file+".new", f.file))
}

// end takes the order back, and returns the steps since it was given.
func (f faults) end() []string {
	f.t.Helper()
	must(f.t, os.Remove(f.file))
	steps, err := os.ReadFile(f.file + ".steps")
	must(f.t, err)
	must(f.t, os.Remove(f.file+".steps"))
	return strings.Split(strings.TrimSpace(string(steps)), "\n")
}

// longEnv asks for tests at their full length; see docs/RELIABILITY.md.
const longEnv = "XLB_TEST_LONG"

func long() bool { return os.Getenv(longEnv) != "" }

// startFaulty is start with an xlb of the test's own.
func startFaulty(t *testing.T, lab *testenv.Lab, xlb testenv.Program, config string) *testenv.Node {
	t.Helper()
	node, err := testenv.StartNode(deadline(t), lab.LB, xlb, config)
	must(t, err)
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
		wantGone(t, lab, node)
	})
	return node
}

// wantGone wants an instance to have left nothing in the kernel, once it is down.
func wantGone(t *testing.T, lab *testenv.Lab, node *testenv.Node) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(loader.DefaultRoot, node.Instance())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("xlb down left pins: %v", err)
	}
	for _, name := range lab.LBInterfaces {
		l, err := lab.LB.Netlink().LinkByName(name)
		must(t, err)
		if xdp := l.Attrs().Xdp; xdp != nil && xdp.Attached {
			t.Errorf("xlb down left program %d on %s", xdp.ProgId, name)
		}
	}
	rules, err := lab.LB.Netlink().RuleList(netlink.FAMILY_ALL)
	must(t, err)
	for _, r := range rules {
		if r.Mark != 0 {
			t.Errorf("xlb down left the rule %s", r)
		}
	}
}

// generations are the programs that an instance has pinned.
func generations(t *testing.T, node *testenv.Node) []int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(loader.DefaultRoot, node.Instance()))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	must(t, err)
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// traffic runs clients of a VIP until the function that it returns is called, which wants all of them to have been served.
func traffic(t *testing.T, lab *testenv.Lab, connections int, datagrams bool) (_ *testenv.Traffic, end func() testenv.Report) {
	t.Helper()
	clients, err := lab.StartTraffic(context.Background(), port80(lab.VIPs[0]), connections, datagrams)
	must(t, err)
	t.Cleanup(func() { clients.End() })
	return clients, func() testenv.Report {
		t.Helper()
		r := clients.End()
		for _, err := range r.Failures {
			t.Errorf("not served: %v", err)
		}
		t.Logf("served: %d requests on %d connections that stayed, %d new connections, %d datagrams; failed: %d",
			r.Requests, connections, r.Connections, r.Datagrams, len(r.Failures))
		return r
	}
}

// entries are who has numbers in a node's tables.
func entries(t *testing.T, node *testenv.Node) (services []xlbmaps.ServiceEntry, backends []xlbmaps.BackendEntry) {
	t.Helper()
	numbers := generations(t, node)
	if len(numbers) == 0 {
		t.Fatal("nothing is pinned")
	}
	dir := filepath.Join(loader.DefaultRoot, node.Instance(), strconv.Itoa(slices.Max(numbers)))
	spec, err := bpf.LoadXlb()
	must(t, err)
	opened := map[string]*ebpf.Map{}
	for name := range spec.Maps {
		pin := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(name, "."), ".", "_"))
		m, err := ebpf.LoadPinnedMap(pin, nil)
		if errors.Is(err, os.ErrNotExist) {
			continue // constants
		}
		must(t, err)
		defer m.Close()
		opened[name] = m
	}
	tables, err := xlbmaps.Open(opened)
	must(t, err)
	defer tables.Close()
	return tables.ServiceEntries(), tables.BackendEntries()
}
