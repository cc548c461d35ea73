package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/testenv"
)

// A state file that cannot be trusted is set aside and told; what runs goes on, and who was drained stays out.
func TestCorruptStateIsSetAsideAndTrafficGoesOn(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	b := lab.Backends
	node := startFaulty(t, lab, self, probed(lab, "", web("", b...)))
	_, err := node.Disable(deadline(t), 0, "web", b[2].Name(), false)
	must(t, err)
	clients, end := traffic(t, lab, 4, true)
	for name, spoil := range map[string]func([]byte) []byte{
		"a flipped bit": func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
		"half of it":    func(data []byte) []byte { return data[:len(data)/2] },
		"nothing":       func([]byte) []byte { return nil },
	} {
		must(t, node.Kill(deadline(t)))
		data, err := os.ReadFile(node.StateFile())
		must(t, err)
		spoilt := spoil(data)
		must(t, os.WriteFile(node.StateFile(), spoilt, 0o600))
		must(t, node.Start(deadline(t)))
		must(t, clients.AwaitMore(deadline(t), 3))
		if out := node.Output(); !strings.Contains(out, "cannot be trusted") || !strings.Contains(out, node.StateFile()+".corrupt") {
			t.Errorf("%s: it is not told:\n%s", name, out)
		}
		if kept, err := os.ReadFile(node.StateFile() + ".corrupt"); err != nil || string(kept) != string(spoilt) {
			t.Errorf("%s: %q is set aside, %v", name, kept, err)
		}
		status, err := node.StatusOf(deadline(t), "web", b[2].Name())
		must(t, err)
		if is := status.Services[0].Backends[0]; is.Admin != control.AdminDisabled {
			t.Errorf("%s: the backend that was disabled is %+v", name, is)
		}
	}
	end()
}

// A socket that a dead daemon left is no obstacle, one that lives is, whichever way a second daemon meets it.
func TestAnotherDaemonIsRefusedAndADeadOneIsNot(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	config := probed(lab, "metrics: {listen: \"off\"}\n", web("", lab.Backends...))
	node := startFaulty(t, lab, self, config)
	clients, end := traffic(t, lab, 4, true)
	before := pinned(t, node)

	run := func(config string) string {
		t.Helper()
		file := t.TempDir() + "/xlb.yaml"
		must(t, os.WriteFile(file, []byte(config), 0o600))
		cmd := lab.LB.Command(deadline(t), self.Path, "run", "-c", file)
		cmd.Env = append(os.Environ(), self.Env...)
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("a second daemon ran; it printed:\n%s", out)
		}
		return string(out)
	}
	pid := strconv.Itoa(node.PID())
	mine := node.Complete(config)
	elsewhere := strings.Replace(mine, "state_dir: ", "state_dir: "+t.TempDir(), 1)
	for name, c := range map[string]struct{ config, says string }{
		"the same":                  {mine, pid},
		"with a state of its own":   {elsewhere, pid},
		"another, on its interface": {strings.Replace(mine, "instance: ", "instance: other-", 1), "another XDP program"},
	} {
		if out := run(c.config); !strings.Contains(out, c.says) {
			t.Errorf("%s: it does not say %q:\n%s", name, c.says, out)
		}
		must(t, clients.AwaitMore(deadline(t), 2))
		if _, err := node.Version(deadline(t)); err != nil {
			t.Errorf("%s: the first daemon does not answer any more: %v", name, err)
		}
	}
	if after := pinned(t, node); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("pinned are %v, and were %v", after, before)
	}
	must(t, node.Kill(deadline(t)))
	if _, err := os.Stat(node.Socket()); err != nil {
		t.Errorf("the killed daemon's socket: %v", err)
	}
	must(t, node.Start(deadline(t)))
	end()
}

// Without a bpffs a daemon does not start, and says what to do. One whose bpffs goes away does what it can without it, and
// refuses the rest.
func TestBPFFSThatGoesAway(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	path, err := os.Executable()
	must(t, err)
	plain := probed(lab, "", web("", lab.Backends[:2]...))
	out := refusalOf(t, lab, "unshare", "-m", "sh", "-c", "umount -l /sys/fs/bpf && exec "+path+" run -c $0", plain)
	if !strings.Contains(out, "mount -t bpf") {
		t.Errorf("without a bpffs it says:\n%s", out)
	}

	node := startFaulty(t, lab, withMounts(t), plain)
	node.SetProgram(self) // what comes after has no need of it
	clients, end := traffic(t, lab, 4, true)
	amongMounts(t, node, "umount -l /sys/fs/bpf")
	apply := func(config string) error {
		_, err := node.Apply(deadline(t), 0, "test", []byte(node.Complete(config)))
		return err
	}
	three := probed(lab, "", web("", lab.Backends...))
	must(t, apply(three)) // needs no other program
	if err := apply(probed(lab, "", web(", filter: {deny: [203.0.113.0/24]}", lab.Backends...))); err == nil {
		t.Error("a program is replaced that nobody can pin")
	} else if !strings.Contains(err.Error(), "pin") {
		t.Errorf("it says %v", err)
	}
	if !runs(t, node, three) {
		t.Error("what was refused has left traces")
	}
	must(t, clients.AwaitMore(deadline(t), 3))
	must(t, node.Stop())
	must(t, node.Start(deadline(t)))
	if !runs(t, node, three) {
		t.Error("the next daemon runs something else")
	}
	if n := generations(t, node); len(n) != 1 {
		t.Errorf("generations %v are pinned", n)
	}
	must(t, clients.AwaitMore(deadline(t), 3))
	end()
}

// withMounts is xlb with mounts of its own, as systemd gives it.
func withMounts(t *testing.T) testenv.Program {
	t.Helper()
	path, err := os.Executable()
	must(t, err)
	p := self
	p.Path, p.Args = "unshare", []string{"-m", path}
	return p
}

// amongMounts runs a command among the mounts of a node's process.
func amongMounts(t *testing.T, node *testenv.Node, command string) {
	t.Helper()
	if out, err := exec.Command("nsenter", "-t", strconv.Itoa(node.PID()), "-m", "sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// A change that cannot be noted on the disk is not begun. Once there is room again it is made.
func TestNothingChangesWhileTheDiskIsFull(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	b := lab.Backends
	two := probed(lab, "", web("", b[:2]...))
	node := startFaulty(t, lab, withMounts(t), two)
	clients, end := traffic(t, lab, 4, true)
	before := revision(t, node)
	dir := filepath.Dir(node.StateFile())
	amongMounts(t, node, fmt.Sprintf("mount -t tmpfs -o size=64k full %s && ! dd if=/dev/zero of=%s/full bs=4k 2>/dev/null", dir, dir))
	_, err := node.Apply(deadline(t), 0, "test", []byte(node.Complete(probed(lab, "", web("", b...)))))
	if err == nil || !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
		t.Errorf("on a full disk it says %v", err)
	}
	if _, err := node.Disable(deadline(t), 0, "web", b[0].Name(), false); err == nil || !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
		t.Errorf("on a full disk it says %v", err)
	}
	if revision(t, node) != before || !runs(t, node, two) {
		t.Error("what was refused has left traces")
	}
	must(t, clients.AwaitMore(deadline(t), 2))
	amongMounts(t, node, "umount -l "+dir)
	_, err = node.Apply(deadline(t), 0, "test", []byte(node.Complete(probed(lab, "", web("", b...)))))
	must(t, err)
	must(t, clients.AwaitMore(deadline(t), 2))
	end()
}

// refusalOf runs a command whose last argument is the path of a configuration, and returns what it prints.
func refusalOf(t *testing.T, lab *testenv.Lab, name string, args ...string) string {
	t.Helper()
	file := t.TempDir() + "/xlb.yaml"
	last := len(args) - 1
	config := args[last] + fmt.Sprintf("\napi: {socket: %q}\ninstance: none\nstate_dir: %s\n", file+".sock", t.TempDir())
	must(t, os.WriteFile(file, []byte(config), 0o600))
	args[last] = file
	cmd := lab.LB.Command(deadline(t), name, args...)
	cmd.Env = append(os.Environ(), self.Env...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("it ran, and printed:\n%s", out)
	}
	return string(out)
}

// A daemon that was stopped while routes changed faster than the kernel keeps news of has the right next hops afterwards.
func TestLostNewsOfRoutesAreMadeUpFor(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{Decap: decap})
	b := lab.Backends
	node := startFaulty(t, lab, self, configOf(lab, "", side("web", testenv.DefaultVIP, b...)))
	clients, end := traffic(t, lab, 4, true)

	must(t, syscall.Kill(node.PID(), syscall.SIGSTOP))
	dead := &netlink.Route{Dst: prefix(b[2].Addr), Type: unix.RTN_UNREACHABLE}
	flood(t, lab.LB, 20_000)
	must(t, lab.LB.Netlink().RouteAdd(dead))
	flood(t, lab.LB, 20_000)
	must(t, clients.AwaitMore(deadline(t), 3)) // nobody has told the data path
	end()
	must(t, syscall.Kill(node.PID(), syscall.SIGCONT))

	must(t, node.WaitFor(deadline(t), "the backend without a route to be down", func(s control.Status) error {
		if is := s.Services[0].Backends[2]; is.State != control.StateUnresolved {
			return fmt.Errorf("%+v", is)
		}
		return nil
	}))
	must(t, node.WaitFor(deadline(t), "the overrun to be told", func(control.Status) error {
		if !strings.Contains(node.Output(), "kind=overrun") {
			return errors.New("not told")
		}
		return nil
	}))
	must(t, lab.LB.Netlink().RouteDel(dead))
	must(t, node.WaitFor(deadline(t), "all backends to be up", func(s control.Status) error {
		if s.Services[0].Up != 3 {
			return fmt.Errorf("%d are", s.Services[0].Up)
		}
		return nil
	}))
	wantSpread(t, lab, testenv.DefaultVIP, 50, b)
}

func prefix(a netip.Addr) *net.IPNet { return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(32, 32)} }

// flood adds a route and removes it, n times, which the kernel tells everybody who listens.
func flood(t *testing.T, n *testenv.Namespace, times int) {
	t.Helper()
	lo, err := n.Netlink().LinkByName("lo")
	must(t, err)
	route := &netlink.Route{Dst: prefix(netip.MustParseAddr("203.0.113.99")), LinkIndex: lo.Attrs().Index}
	for range times / 2 {
		must(t, n.Netlink().RouteAdd(route))
		must(t, n.Netlink().RouteDel(route))
	}
}
