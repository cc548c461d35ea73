package testenv

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"syscall"
)

// Cmd is an exec.Cmd whose process runs inside a namespace. Wait, the pipes and the fields are those of exec.Cmd.
type Cmd struct {
	*exec.Cmd
	ns *Namespace
}

// Command prepares a process inside the namespace; it takes what exec.CommandContext takes. The process sees the file
// systems of this one (bpffs too), only another network. It is killed when ctx ends, when the namespace is closed and when
// this process dies, however that happens; processes that it starts in turn are its own affair, and so are programs that
// change their credentials, for which the kernel forgets the wish to be killed.
func (n *Namespace) Command(ctx context.Context, name string, args ...string) *Cmd {
	c := &Cmd{Cmd: exec.CommandContext(ctx, name, args...), ns: n}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// Start is exec.Cmd.Start inside the namespace. Setting SysProcAttr anew before it loses the promise to kill the process.
func (c *Cmd) Start() error { return c.ns.onKeeper(c.Cmd.Start) }

// Run is exec.Cmd.Run inside the namespace.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output is exec.Cmd.Output inside the namespace, but that it leaves Stderr as it is.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("collect output: Stdout is set already, leave it nil")
	}
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput is exec.Cmd.CombinedOutput inside the namespace.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("collect output: Stdout or Stderr is set already, leave both nil")
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
