package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
)

// Program is how to start xlb: a path, leading arguments and additional environment.
type Program struct {
	Path string
	Args []string
	Env  []string
}

// Node is a running xlb in a namespace, a process of its own with a socket of its own.
type Node struct {
	*api.Client

	ns     *Namespace
	xlb    Program
	cmd    *Cmd
	dir    string
	socket string
	output lockedBuffer
	exited chan struct{} // closed when the process has ended
	err    error         // of the process, once exited is closed
	killed bool          // its end was expected
}

// stopTime is what a node gets to end by itself.
const stopTime = 5 * time.Second

// StartNode runs xlb in a namespace with a configuration, to which the path of a socket and an instance of its own are
// added, and waits until it serves. A node that ends before that is an error with what it printed.
func StartNode(ctx context.Context, n *Namespace, xlb Program, config string) (*Node, error) {
	removeAbandoned(xlb)
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", nodePrefix, os.Getpid()))
	if err != nil {
		return nil, err
	}
	node := &Node{ns: n, xlb: xlb, dir: dir, socket: filepath.Join(dir, "xlb.sock")}
	node.Client = api.NewClient(node.socket)
	if err := node.Configure(config); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := node.Start(ctx); err != nil {
		if node.exited == nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		return nil, errors.Join(err, node.Close())
	}
	return node, nil
}

// Complete adds to a configuration what makes it this node's.
func (n *Node) Complete(config string) string {
	return config + fmt.Sprintf("\napi: {socket: %q}\ninstance: %s\nstate_dir: %s\n", n.socket, n.Instance(), n.dir)
}

// Configure writes another configuration file for the node. It is read when the node is told to, or starts.
func (n *Node) Configure(config string) error {
	return os.WriteFile(n.file(), []byte(n.Complete(config)), 0o600)
}

func (n *Node) file() string { return filepath.Join(n.dir, "xlb.yaml") }

// Instance returns the name of the node's instance.
func (n *Node) Instance() string { return filepath.Base(n.dir) }

// StateFile returns the path of the file in which the node keeps what it must not forget.
func (n *Node) StateFile() string { return filepath.Join(n.dir, n.Instance(), "state") }

// Start runs xlb, again if it has ended, and waits until it serves.
func (n *Node) Start(ctx context.Context) error {
	n.Client.Close() // connections to the former process are of no use
	n.cmd = n.ns.Command(context.WithoutCancel(ctx), n.xlb.Path, append(n.xlb.Args, "run", "-c", n.file())...)
	n.cmd.Env = append(os.Environ(), n.xlb.Env...)
	n.cmd.Stdout, n.cmd.Stderr = &n.output, &n.output
	if err := n.cmd.Start(); err != nil {
		return fmt.Errorf("start xlb in %s: %w", n.ns.Name(), err)
	}
	n.exited, n.killed = make(chan struct{}), false
	go func(cmd *Cmd, exited chan struct{}) {
		n.err = cmd.Wait()
		close(exited)
	}(n.cmd, n.exited)
	return n.WaitFor(ctx, "xlb to serve", func(s control.Status) error {
		if !s.Serving {
			return errors.New("not serving yet")
		}
		return nil
	})
}

// SetProgram has another xlb run when the node is started next.
func (n *Node) SetProgram(xlb Program) { n.xlb = xlb }

// PID returns the process that runs, or ran last.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Kill ends the node as a crash would, and returns when it has.
func (n *Node) Kill(ctx context.Context) error {
	_ = n.cmd.Process.Kill() // it may have ended already
	return n.AwaitEnd(ctx)
}

// AwaitEnd waits until the node has ended, in whatever way.
func (n *Node) AwaitEnd(ctx context.Context) error {
	select {
	case <-n.exited:
		n.killed = true
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of xlb: %w; it printed:\n%s", context.Cause(ctx), n.Output())
	}
}

// nodePrefix begins the names of nodes' directories; the process that made one follows.
const nodePrefix = "xlb-node-"

// removeAbandoned removes the directories and the pins of nodes whose process was killed before it could.
func removeAbandoned(xlb Program) {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), nodePrefix+"*"))
	if err != nil {
		return // the pattern is well-formed
	}
	for _, dir := range dirs {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), nodePrefix+"%d-", &pid); err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			down := exec.Command(xlb.Path, append(xlb.Args, "down", "--yes", "--instance", filepath.Base(dir))...)
			down.Env = append(os.Environ(), xlb.Env...)
			_ = down.Run() // somebody else may be at it too
			_ = os.RemoveAll(dir)
		}
	}
}

// WaitFor asks for the node's status until cond is content with it. The error says what was awaited and what the node
// printed last.
func (n *Node) WaitFor(ctx context.Context, what string, cond func(control.Status) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	exited := n.exited
	go func() {
		select {
		case <-exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := Eventually(ctx, what, func() error {
		status, err := n.Status(ctx)
		if err != nil {
			return err
		}
		return cond(status)
	})
	if err != nil {
		return fmt.Errorf("%w; xlb printed:\n%s", err, n.Output())
	}
	return nil
}

// Socket returns the path of the node's socket.
func (n *Node) Socket() string { return n.socket }

// Output returns all that the node has printed.
func (n *Node) Output() string { return n.output.String() }

// Stop asks the node to end and waits for it. An exit status other than 0 is an error, unless its end was awaited.
func (n *Node) Stop() error {
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-n.exited:
	case <-time.After(stopTime):
		_ = n.cmd.Process.Kill()
		<-n.exited
		return fmt.Errorf("stop xlb: it did not end within %s; it printed:\n%s", stopTime, n.Output())
	}
	if n.err != nil && !n.killed {
		return fmt.Errorf("xlb ended with %w; it printed:\n%s", n.err, n.Output())
	}
	return nil
}

// Down takes what the node left in the kernel out of it. Done twice it is harmless.
func (n *Node) Down() error {
	cmd := n.ns.Command(context.Background(), n.xlb.Path, append(n.xlb.Args, "down", "--yes", "--instance", n.Instance())...)
	cmd.Env = append(os.Environ(), n.xlb.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("xlb down: %w; it printed:\n%s", err, out)
	}
	return nil
}

// Close stops the node, takes it out of the kernel and removes its files.
func (n *Node) Close() error {
	err := errors.Join(n.Stop(), n.Down())
	n.Client.Close()
	return errors.Join(err, os.RemoveAll(n.dir))
}

// lockedBuffer is written by a process while others read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
