package testenv

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace that lives only as long as this process holds it. It has no name in the file system,
// so nothing is left behind after a crash: descriptors close, sockets close, and processes started inside it are killed.
type Namespace struct {
	name string
	fd   int
	nl   *netlink.Handle

	keeper keeper
	closed sync.Once
}

// keeper is the thread that made the namespace and stays in it. Children are started on it alone, because the signal a
// child gets at its parent's death is tied to the death of the thread that started it, not of the process.
type keeper struct {
	mu   sync.RWMutex // guards gone, and held for reading while work is sent or the namespace is entered
	gone bool
	work chan func()
	done chan struct{}
}

// NewNamespace makes an empty network namespace with its loopback interface up. The name is only for messages.
// It needs CAP_SYS_ADMIN and CAP_NET_ADMIN; without them the error wraps unix.EPERM.
func NewNamespace(name string) (*Namespace, error) {
	n := &Namespace{name: name, fd: -1}
	n.keeper.work = make(chan func())
	n.keeper.done = make(chan struct{})
	ready := make(chan error)
	go n.keep(ready)
	if err := <-ready; err != nil {
		<-n.keeper.done
		return nil, fmt.Errorf("make network namespace %s: %w", name, err)
	}
	if err := n.Do(n.prepare); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare network namespace %s: %w", name, err), n.Close())
	}
	return n, nil
}

// keep enters a new namespace with its thread and serves work on it until Close.
func (n *Namespace) keep(ready chan<- error) {
	defer close(n.keeper.done)
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread cannot end before the process: hold it, so that another goroutine lands on another thread.
		moved := make(chan struct{})
		go func() {
			defer close(moved)
			n.serve(ready)
		}()
		<-moved
		runtime.UnlockOSThread()
		return
	}
	n.serve(ready)
}

// serve never unlocks its thread: the runtime ends a thread whose goroutine returns locked, and a thread in a foreign
// namespace must not go back to the pool.
func (n *Namespace) serve(ready chan<- error) {
	runtime.LockOSThread()
	fd, err := unshareNet()
	n.fd = fd
	ready <- err
	if err != nil {
		return
	}
	for f := range n.keeper.work {
		f()
	}
}

func unshareNet() (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("unshare (run as root): %w", err)
	}
	return openCurrent()
}

// openCurrent opens the network namespace of the calling thread.
func openCurrent() (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open network namespace of this thread: %w", err)
	}
	return fd, nil
}

// settings of every new namespace. It may inherit those of the machine, whatever they are there; and direct return is
// asymmetric, so reverse path filters are off. IPv6 addresses are those that are given alone, usable at once, and no frames
// are sent that no test asked for: duplicate address detection, router solicitations, and reports of multicast groups for a
// link-local address that the kernel makes by itself. ICMP sockets are for everybody.
var settings = [][2]string{
	{"net.ipv4.ip_forward", "0"},
	{"net.ipv4.conf.all.rp_filter", "0"},
	{"net.ipv4.conf.default.rp_filter", "0"},
	{"net.ipv4.conf.all.send_redirects", "0"},
	{"net.ipv4.conf.default.send_redirects", "0"},
	{"net.ipv4.ping_group_range", "0 2147483647"},
	{"net.ipv6.conf.all.disable_ipv6", "0"},
	{"net.ipv6.conf.default.disable_ipv6", "0"},
	{"net.ipv6.conf.all.forwarding", "0"},
	{"net.ipv6.conf.all.accept_dad", "0"},
	{"net.ipv6.conf.default.accept_dad", "0"},
	{"net.ipv6.conf.default.accept_ra", "0"},
	{"net.ipv6.conf.default.router_solicitations", "0"},
	{"net.ipv6.conf.default.addr_gen_mode", "1"},
}

// prepare runs inside the new namespace.
func (n *Namespace) prepare() error {
	for _, s := range settings {
		if err := writeSysctl(s[0], s[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	nl, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("open netlink socket: %w", err)
	}
	n.nl = nl
	lo, err := nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback interface: %w", err)
	}
	if err := nl.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set loopback interface up: %w", err)
	}
	return nil
}

// Name returns the name given at creation.
func (n *Namespace) Name() string { return n.name }

// FD returns a descriptor of the namespace, valid until Close.
func (n *Namespace) FD() int { return n.fd }

// Netlink returns a handle whose sockets are in the namespace, usable from any thread until Close.
func (n *Namespace) Netlink() *netlink.Handle { return n.nl }

// Do calls f with the calling goroutine's thread in the namespace, and brings the thread back before it returns.
// Goroutines that f starts run elsewhere. Calls may nest, also across namespaces. What resolves interface indexes in the
// caller's thread (XDP attachment, devmap updates) belongs in here; /sys/class/net keeps showing the outer namespace.
func (n *Namespace) Do(f func() error) (err error) {
	runtime.LockOSThread()
	outer, err := openCurrent()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer unix.Close(outer)
	if err := n.enter(); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace %s: %w", n.name, err)
	}
	// Deferred, so that a test's FailNow inside f brings the thread back as well.
	defer func() {
		if back := unix.Setns(outer, unix.CLONE_NEWNET); back != nil {
			// The thread stays locked and ends with this goroutine.
			err = errors.Join(err, fmt.Errorf("leave network namespace %s: %w", n.name, back))
			return
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

// enter moves the calling thread into the namespace. A closed one is refused: its descriptor may be another namespace's now.
func (n *Namespace) enter() error {
	n.keeper.mu.RLock()
	defer n.keeper.mu.RUnlock()
	if n.keeper.gone {
		return os.ErrClosed
	}
	return unix.Setns(n.fd, unix.CLONE_NEWNET)
}

// Sysctl sets a kernel parameter of the namespace. The key is dotted ("net.ipv4.ip_forward"); only keys below "net." belong
// to a network namespace, others are refused. The error wraps os.ErrNotExist if the kernel has no such parameter.
func (n *Namespace) Sysctl(key, value string) error {
	if !strings.HasPrefix(key, "net.") {
		return fmt.Errorf("set sysctl %s: not a parameter of a network namespace, give one that starts with net", key)
	}
	return n.Do(func() error { return writeSysctl(key, value) })
}

func writeSysctl(key, value string) error {
	path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("set sysctl %s to %s: %w", key, value, err)
	}
	return nil
}

// onKeeper runs f on the thread that lives as long as the namespace.
func (n *Namespace) onKeeper(f func() error) error {
	n.keeper.mu.RLock()
	defer n.keeper.mu.RUnlock()
	if n.keeper.gone {
		return fmt.Errorf("use network namespace %s: %w", n.name, os.ErrClosed)
	}
	result := make(chan error, 1)
	n.keeper.work <- func() { result <- f() }
	return <-result
}

// Close lets go of the namespace and kills the processes that Command started in it and that still run. The kernel removes
// it, with its interfaces, once the last socket in it is closed as well. Closing twice is harmless.
func (n *Namespace) Close() error {
	var err error
	n.closed.Do(func() {
		n.keeper.mu.Lock()
		n.keeper.gone = true
		close(n.keeper.work)
		n.keeper.mu.Unlock()
		<-n.keeper.done
		if n.nl != nil {
			n.nl.Close()
		}
		if closeErr := unix.Close(n.fd); closeErr != nil {
			err = fmt.Errorf("close network namespace %s: %w", n.name, closeErr)
		}
	})
	return err
}
