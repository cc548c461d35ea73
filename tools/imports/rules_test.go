package main

import (
	"strings"
	"testing"
)

func TestCheckAllowsOnlyDownwardImports(t *testing.T) {
	const test = true
	for _, tt := range []struct {
		from, to string
		inTest   bool
		allowed  bool
	}{
		{from: "bpf", to: ebpf, allowed: true},
		{from: "bpf", to: "net/netip", allowed: true},
		{from: "bpf", to: "github.com/vishvananda/netlink", allowed: false},
		{from: "bpf", to: module + "maps", allowed: false},
		{from: "bpf", to: module + "maps", inTest: test, allowed: true},
		{from: "bpf", to: module + "loader", inTest: test, allowed: false},
		{from: "bpf", to: module + "bpf/model", allowed: false},
		{from: "bpf", to: module + "bpf/model", inTest: test, allowed: true},
		{from: "bpf/model", to: module + "maps", allowed: true},
		{from: "bpf/model", to: module + "bpf", allowed: false},
		{from: "bpf/model", to: ebpf, allowed: false},
		{from: "bpf/model", to: module + "control/balance", allowed: false},
		{from: "bpf/model", to: "github.com/gopacket/gopacket", allowed: false},
		{from: "bpf/model", to: "github.com/gopacket/gopacket", inTest: test, allowed: true},
		{from: "maps", to: module + "bpf/model", allowed: false},
		{from: "testenv", to: module + "bpf/model", allowed: false},
		{from: "testenv/bench", to: module + "bpf/model", allowed: true},
		{from: "testenv/bench/report", to: module + "testenv/bench", allowed: true},
		{from: "testenv", to: module + "testenv/bench", allowed: false},
		{from: "cmd/xlb", to: module + "testenv/bench", allowed: false},
		{from: "cmd/xlb", to: module + "bpf/model", allowed: false},
		{from: "cmd/xlb/internal/explain", to: module + "bpf/model", inTest: test, allowed: true},
		{from: "maps", to: module + "bpf", allowed: true},
		{from: "maps", to: module + "loader", allowed: false},
		{from: "maps", to: module + "testenv", allowed: false},
		{from: "maps", to: module + "testenv", inTest: test, allowed: true},
		{from: "loader", to: module + "maps", allowed: true},
		{from: "loader", to: module + "control/config", allowed: false},
		{from: "control/health", to: module + "control/config", allowed: true},
		{from: "control/health", to: module + "maps", allowed: true},
		{from: "control/health", to: module + "loader", allowed: false},
		{from: "control/health", to: ebpf, allowed: false},
		{from: "control/health", to: ebpf + "/link", inTest: test, allowed: false},
		{from: "control/health", to: "pgregory.net/rapid", inTest: test, allowed: true},
		{from: "testenv", to: module + "loader", allowed: true},
		{from: "testenv", to: module + "cmd/xlb", allowed: false},
		{from: "cmd/xlb", to: module + "testenv", allowed: true},
		{from: "cmd/xlb", to: module + "loader", allowed: true},
		{from: "loader", to: module + "cmd/xlb", inTest: test, allowed: false},
	} {
		p := pkg{ImportPath: module + tt.from, Imports: []string{tt.to}}
		if tt.inTest {
			p = pkg{ImportPath: module + tt.from, XTestImports: []string{tt.to}}
		}
		if faults := check([]pkg{p}); (len(faults) == 0) != tt.allowed {
			t.Errorf("%s imports %s (test: %v): allowed should be %v, got %q", tt.from, tt.to, tt.inTest, tt.allowed, faults)
		}
	}
}

func TestCheckAsksForALayerForEveryPackage(t *testing.T) {
	faults := check([]pkg{{ImportPath: module + "util"}})
	if len(faults) != 1 || !strings.Contains(faults[0], "belongs to no layer") {
		t.Errorf("got %q", faults)
	}
}

// The tests stand in for go list, so this reads the real thing: the module that holds this command.
func TestListReadsAModule(t *testing.T) {
	packages, err := list("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		if p.ImportPath == module+"tools/imports" && len(p.Imports) > 0 && len(p.TestImports) > 0 {
			return
		}
	}
	t.Errorf("no imports of this package in %v", packages)
}
