package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// refusal runs xlb with a configuration that it must not accept, and returns
// what it says.
func refusal(t *testing.T, lab *testenv.Lab, config string, change ...func(*testenv.Cmd)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "xlb-refusal-") // not t.TempDir, which is root's alone
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	file := filepath.Join(dir, "xlb.yaml")
	if !strings.Contains(config, "api:") {
		config += fmt.Sprintf("\napi: {socket: %q}\n", filepath.Join(dir, "xlb.sock"))
	}
	config += fmt.Sprintf("instance: %s\nstate_dir: %s\n", filepath.Base(dir), dir)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := lab.LB.Command(deadline(t), self.Path, "run", "-c", file)
	cmd.Env = append(os.Environ(), self.Env...)
	for _, f := range change {
		f(cmd)
	}
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("xlb ran; it printed:\n%s", out)
	}
	return string(out)
}

func TestRunRefusesWhatCannotWorkWithTheObjectAndTheRemedy(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, lab *testenv.Lab)
		edit    func(config string) string
		run     func(*testenv.Cmd)
		says    []string
	}{
		{name: "an interface that does not exist",
			edit: func(c string) string { return strings.Replace(c, "[eth0]", "[eth7]", 1) },
			says: []string{"xlb.yaml:1:14", "eth7", "eth0"}},
		{name: "a VIP that is an address of the node",
			prepare: func(t *testing.T, lab *testenv.Lab) {
				must(t, lab.LB.HoldVIPs(lab.VIPs[0]))
			},
			says: []string{"xlb.yaml:4:5", "web", "192.0.2.10", "lo", "remove it"}},
		{name: "another XDP program on the interface",
			prepare: func(t *testing.T, lab *testenv.Lab) {
				c, err := testenv.AttachPass(lab.LB, "eth0")
				must(t, err)
				t.Cleanup(func() { c.Close() })
			},
			says: []string{"eth0", "another XDP program is attached", "does not replace", "xdp off"}},
		{name: "a user without privileges",
			run:  func(c *testenv.Cmd) { c.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534} },
			says: []string{"not permitted", "root"}},
		{name: "a port of 0",
			edit: func(c string) string { return strings.Replace(c, "port: 80\n    protocol", "port: 0\n    protocol", 1) },
			says: []string{"xlb.yaml:6:11", "1 to 65535"}},
		{name: "tables too small for the services",
			edit: func(c string) string { return c + "limits: {services: 1, backends: 2, slots: 100000}\n" },
			says: []string{"limits.backends", "3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
			if c.prepare != nil {
				c.prepare(t, lab)
			}
			config := configFor(lab, "ipip", "tcp")
			if c.edit != nil {
				config = c.edit(config)
			}
			var change []func(*testenv.Cmd)
			if c.run != nil {
				change = append(change, c.run)
			}
			out := refusal(t, lab, config, change...)
			for _, word := range c.says {
				if !strings.Contains(out, word) {
					t.Errorf("it does not say %q; it says:\n%s", word, out)
				}
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBackendWithoutANeighbourIsOutWithThatReasonAndTheOthersServe(t *testing.T) {
	lab := testenv.New(t, testenv.NewSwitched, testenv.Options{})
	config := strings.Replace(configFor(lab, "l2", "tcp"), "    backends:\n", "    backends:\n      - {name: ghost, address: 10.1.0.99}\n", 1)
	config = strings.Replace(config, "    health: ", "    # ", 1) // unchecked: only the neighbour can tell
	node := start(t, lab, config)
	waitForState(t, node, "ghost", control.StateUnresolved)
	status, err := node.Status(context.Background())
	must(t, err)
	if reason := status.Services[0].Backends[0].Reason; !strings.Contains(reason, "10.1.0.99") || !strings.Contains(reason, "ARP") {
		t.Errorf("reason %q, want one that names the address and ARP", reason)
	}
	owners, err := lab.Owners(deadline(t), netip.AddrPortFrom(lab.VIPs[0], lab.Port), testenv.Sources(50))
	must(t, err)
	if len(owners) != 50 {
		t.Errorf("%d of 50 requests were answered", len(owners))
	}
}

func TestGenericModeWorksAndWarns(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	node := start(t, lab, configFor(lab, "ipip", "tcp")+"xdp_mode: generic\n")
	if _, err := lab.Owners(deadline(t), netip.AddrPortFrom(lab.VIPs[0], lab.Port), testenv.Sources(20)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(node.Output(), "level=WARN msg=\"generic XDP") {
		t.Errorf("no warning; xlb printed:\n%s", node.Output())
	}
	status, err := node.Status(t.Context())
	must(t, err)
	if mode := status.Interfaces[0].Mode; mode != "generic" {
		t.Errorf("status says %s", mode)
	}
}
