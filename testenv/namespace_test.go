package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newNamespace(t *testing.T, name string) *Namespace {
	t.Helper()
	n, err := NewNamespace(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// currentInode identifies the network namespace of the calling thread.
func currentInode(t *testing.T) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func TestDoRunsInsideAndComesBack(t *testing.T) {
	a, b := newNamespace(t, "a"), newNamespace(t, "b")
	outer := currentInode(t)
	var inA, inB, backInA uint64
	err := a.Do(func() error {
		inA = currentInode(t)
		if err := b.Do(func() error { inB = currentInode(t); return nil }); err != nil {
			return err
		}
		backInA = currentInode(t)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if inA == outer || inB == outer || inA == inB || backInA != inA || currentInode(t) != outer {
		t.Fatalf("outer %d, a %d, b %d, back in a %d, after %d", outer, inA, inB, backInA, currentInode(t))
	}
}

func TestDoReturnsTheErrorOfItsFunction(t *testing.T) {
	n := newNamespace(t, "n")
	want := errors.New("no")
	if err := n.Do(func() error { return want }); err != want {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func TestClosedNamespaceRefusesEverything(t *testing.T) {
	n := newNamespace(t, "n")
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Fatal(err)
	}
	if err := n.Do(func() error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Do: got %v, want %v", err, os.ErrClosed)
	}
	if err := n.Command(t.Context(), "true").Run(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Command: got %v, want %v", err, os.ErrClosed)
	}
}

func TestSysctlBelongsToOneNamespace(t *testing.T) {
	a, b := newNamespace(t, "a"), newNamespace(t, "b")
	if err := a.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[*Namespace]string{a: "1", b: "0"} {
		err := n.Do(func() error {
			got, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
			if strings.TrimSpace(string(got)) != want {
				err = fmt.Errorf("ip_forward of %s is %q, want %s", n.Name(), got, want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if err := a.Sysctl("kernel.hostname", "x"); err == nil {
		t.Error("a parameter of the whole machine was accepted")
	}
	if err := a.Sysctl("net.ipv4.no_such_thing", "1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unknown parameter: got %v, want %v", err, os.ErrNotExist)
	}
}

func TestSocketsLiveInTheNamespace(t *testing.T) {
	a, b := newNamespace(t, "a"), newNamespace(t, "b")
	l, err := a.Listen("tcp4", "127.0.0.1:7000")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := netip.MustParseAddrPort("127.0.0.1:7000")
	from := netip.MustParseAddrPort("127.0.0.9:7001")
	c, err := a.Dial(t.Context(), "tcp4", from, to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.LocalAddr().String(); got != from.String() {
		t.Errorf("source %s, want %s", got, from)
	}
	if c, err := b.Dial(t.Context(), "tcp4", netip.AddrPort{}, to); err == nil {
		c.Close()
		t.Error("the listener of a is reachable in b")
	}
	mptcp, err := c.(*net.TCPConn).MultipathTCP()
	if err != nil || mptcp {
		t.Errorf("MPTCP %v, %v; want plain TCP", mptcp, err)
	}
}

func TestCommandRunsInside(t *testing.T) {
	n := newNamespace(t, "n")
	var want uint64
	if err := n.Do(func() error { want = currentInode(t); return nil }); err != nil {
		t.Fatal(err)
	}
	out, err := n.Command(t.Context(), "readlink", "/proc/self/ns/net").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != fmt.Sprintf("net:[%d]", want) {
		t.Fatalf("the child is in %s, want net:[%d]", got, want)
	}
}

func TestCommandFailureKeepsItsOutput(t *testing.T) {
	n := newNamespace(t, "n")
	out, err := n.Command(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || string(out) != "out\nerr\n" {
		t.Fatalf("got %q, %v", out, err)
	}
}

func TestClosingTheNamespaceKillsItsProcesses(t *testing.T) {
	n := newNamespace(t, "n")
	ctx := within(t, 10*time.Second)
	c := n.Command(ctx, "sleep", "600")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || err.Error() != "signal: killed" || ctx.Err() != nil {
		t.Fatalf("got %v, want signal: killed at once; %v", err, ctx.Err())
	}
}

func TestCommandOutlivesTheGoroutineThatStartedIt(t *testing.T) {
	n := newNamespace(t, "n")
	c := n.Command(t.Context(), "cat")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error)
	go func() { started <- c.Start() }()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	// Many threads come and go; the child must not notice.
	for range 50 {
		done := make(chan error)
		go func() { done <- n.Do(func() error { return nil }) }()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Fatalf("cat ended with %v", err)
	}
}

// crashHelper is run by the test binary itself when TestMain finds helperEnv set: it builds a lab with a child process,
// tells about both, and waits to be killed.
func crashHelper() error {
	lab, err := NewRouted(Options{})
	if err != nil {
		return err
	}
	child := lab.LB.Command(context.Background(), "sleep", "600")
	if err := child.Start(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(lab.LB.FD(), &st); err != nil {
		return err
	}
	fmt.Println(child.Process.Pid, st.Ino)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, lab.Close())
}

func TestNothingIsLeftAfterSIGKILL(t *testing.T) {
	helper := exec.Command("/proc/self/exe")
	helper.Env = append(os.Environ(), helperEnv+"=crash")
	helper.Stderr = os.Stderr
	if _, err := helper.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var pid int
	var inode uint64
	if _, scanErr := fmt.Sscan(line, &pid, &inode); err != nil || scanErr != nil {
		helper.Process.Kill()
		t.Fatalf("helper said %q, %v", line, err)
	}
	if !namespaceInUse(t, inode) {
		t.Error("the namespace of the helper cannot be seen while it lives: the test would prove nothing")
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	helper.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = Eventually(ctx, "child and namespace gone", func() error {
		if running(pid) {
			return fmt.Errorf("child %d still runs", pid)
		}
		if namespaceInUse(t, inode) {
			return fmt.Errorf("namespace %d is still in use", inode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// running tells whether a process exists and is not merely waiting to be reaped.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// namespaceInUse tells whether any process has the network namespace as its own or open.
func namespaceInUse(t *testing.T, inode uint64) bool {
	t.Helper()
	want := fmt.Sprintf("net:[%d]", inode)
	pids, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pids {
		dir := "/proc/" + p.Name()
		if to, _ := os.Readlink(dir + "/ns/net"); to == want {
			return true
		}
		fds, _ := os.ReadDir(dir + "/fd")
		for _, fd := range fds {
			if to, _ := os.Readlink(dir + "/fd/" + fd.Name()); to == want {
				return true
			}
		}
	}
	return false
}
