package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xlb-project/xlb/loader"
	"github.com/xlb-project/xlb/testenv"
)

// pinned are the numbers by which the kernel knows what an instance has pinned.
func pinned(t *testing.T, node *testenv.Node) map[string]int {
	t.Helper()
	root := filepath.Join(loader.DefaultRoot, node.Instance())
	ids := map[string]int{}
	must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, path)
		must(t, err)
		switch {
		case filepath.Base(path) == "program":
			p, err := ebpf.LoadPinnedProgram(path, nil)
			must(t, err)
			defer p.Close()
			info, err := p.Info()
			must(t, err)
			id, _ := info.ID()
			ids[name] = int(id)
		case filepath.Base(filepath.Dir(path)) == "links":
			l, err := link.LoadPinnedLink(path, nil)
			must(t, err)
			defer l.Close()
			info, err := l.Info()
			must(t, err)
			ids[name], ids[name+" runs"] = int(info.ID), int(info.Program)
		default:
			m, err := ebpf.LoadPinnedMap(path, nil)
			must(t, err)
			defer m.Close()
			info, err := m.Info()
			must(t, err)
			id, _ := info.ID()
			ids[name] = int(id)
		}
		return nil
	}))
	return ids
}

// programID is the program that an instance has on its first interface.
func programID(t *testing.T, node *testenv.Node) int {
	t.Helper()
	for name, id := range pinned(t, node) {
		if strings.HasSuffix(name, " runs") {
			return id
		}
	}
	t.Fatal("no program runs")
	return 0
}

// A daemon that ends and starts again, or crashes and does, touches nothing in the kernel, and no packet is lost.
func TestRestartTouchesNothingAndLosesNoPacket(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	node := startFaulty(t, lab, self, probed(lab, "", web("", lab.Backends...)))
	clients, end := traffic(t, lab, 8, true)
	before := pinned(t, node)
	if len(before) < 10 {
		t.Fatalf("only %v are pinned", before)
	}
	for n, stop := range []func() error{node.Stop, func() error { return node.Kill(deadline(t)) }, node.Stop} {
		must(t, clients.AwaitMore(deadline(t), 3))
		must(t, stop())
		must(t, clients.AwaitMore(deadline(t), 3))
		must(t, node.Start(deadline(t)))
		must(t, clients.AwaitMore(deadline(t), 3))
		for name, id := range pinned(t, node) {
			if before[name] != id {
				t.Errorf("restart %d: %s has number %d, and had %d", n, name, id, before[name])
			}
		}
	}
	if n := strings.Count(node.Output(), "program=adopted"); n != 3 {
		t.Errorf("%d of 3 daemons say that they adopted what runs:\n%s", n, node.Output())
	}
	wantNoOtherReasons(t, node)
	end()
}

// Another release, and another program, take over without a packet lost; what is down leaves nothing.
func TestUpgradeLosesNoPacket(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	plain := probed(lab, "", web("", lab.Backends...))
	node := startFaulty(t, lab, withEnv(self, versionEnv+"=1.0.0"), plain)
	clients, end := traffic(t, lab, 8, true)
	program := programID(t, node)
	for _, c := range []struct {
		version, config string
		replaced        bool
	}{
		{"2.0.0", plain, false}, // its program is the same
		{"2.0.0", probed(lab, "verify_checksum: true", web(", filter: {deny: [203.0.113.0/24]}", lab.Backends...)), true},
		{"3.0.0", probed(lab, "limits: {flows: 2097152}", web("", lab.Backends...)), true},
	} {
		must(t, clients.AwaitMore(deadline(t), 3))
		must(t, node.Stop())
		must(t, node.Configure(c.config))
		node.SetProgram(withEnv(self, versionEnv+"="+c.version))
		must(t, node.Start(deadline(t)))
		must(t, clients.AwaitMore(deadline(t), 3))
		v, err := node.Version(deadline(t))
		must(t, err)
		if v.Version != c.version {
			t.Errorf("version %s runs, want %s", v.Version, c.version)
		}
		if is := programID(t, node); (is != program) != c.replaced {
			t.Errorf("version %s: program %d runs after %d, want another one: %t", c.version, is, program, c.replaced)
		} else {
			program = is
		}
		if n := generations(t, node); len(n) != 1 {
			t.Errorf("version %s: generations %v are pinned", c.version, n)
		}
	}
	wantNoOtherReasons(t, node)
	end()
}

// Two instances on two interfaces of one node know nothing of each other.
func TestTwoInstancesDoNotMeet(t *testing.T) {
	other := testenv.DefaultVIP.Next()
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: []netip.Addr{testenv.DefaultVIP, other}, Decap: decap})
	addSecondLink(t, lab, other, lab.Backends[0])
	config := func(ifname string, vip netip.Addr, metrics int, backends ...*testenv.Backend) string {
		return fmt.Sprintf("interfaces: [%s]\nmetrics: {listen: \"127.0.0.1:%d\"}\nservices:\n%s", ifname, metrics, side("web", vip, backends...))
	}
	first := startFaulty(t, lab, self, config("eth0", testenv.DefaultVIP, 9480, lab.Backends[1:]...))
	clients, end := traffic(t, lab, 4, true)
	before := pinned(t, first)
	second := start(t, lab, config("eth1", other, 9481, lab.Backends[0]))
	wantSpread(t, lab, other, 30, lab.Backends[:1])
	must(t, clients.AwaitMore(deadline(t), 3))
	must(t, second.Kill(deadline(t)))
	must(t, second.Start(deadline(t)))
	must(t, second.Stop())
	must(t, second.Down())
	if left := generations(t, second); left != nil {
		t.Errorf("xlb down left %v", left)
	}
	must(t, clients.AwaitMore(deadline(t), 3))
	for name, id := range pinned(t, first) {
		if before[name] != id {
			t.Errorf("%s of the first instance has number %d, and had %d", name, id, before[name])
		}
	}
	end()
	status, err := first.Status(deadline(t))
	must(t, err)
	if !status.Serving || len(status.Services) != 1 {
		t.Errorf("the first instance is %+v", status)
	}
}

// addSecondLink gives the balancer another link with the router, by which a VIP comes in and a backend is reached.
func addSecondLink(t *testing.T, lab *testenv.Lab, vip netip.Addr, b *testenv.Backend) {
	t.Helper()
	lb, router := netip.MustParsePrefix("10.0.1.1/24"), netip.MustParsePrefix("10.0.1.254/24")
	must(t, testenv.Connect(testenv.End{NS: lab.LB, Interface: "eth1", Addrs: []netip.Prefix{lb}},
		testenv.End{NS: lab.Router, Interface: "lb2", Addrs: []netip.Prefix{router}}, testenv.LinkOptions{MTU: testenv.EncapMTU}))
	pass, err := testenv.AttachPass(lab.Router, "lb2")
	must(t, err)
	t.Cleanup(func() { pass.Close() })
	must(t, lab.RouteVIP(vip, lb.Addr()))
	must(t, lab.LB.AddRoute(netip.PrefixFrom(b.Addr, 32), router.Addr()))
}
