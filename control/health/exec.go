package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPrograms is how many programs run at a time for all Exec probes of a process. They
// cost ten times what other probes do, and more; those that find no place in time are not sent.
const maxPrograms = 32

var programs = make(chan struct{}, maxPrograms)

// Bounds of what a program says: what is kept of it, and what is shown of its first line.
const (
	maxOutput = 4 << 10
	maxLine   = 100
)

// Exec passes when a program ends with status 0. Whatever it started ends with it.
type Exec struct {
	Command []string // absolute path of the program, and its arguments
	Env     []string // NAME=value: all its environment but for PATH
}

// Probe runs the program in a process group of its own, without input.
func (p Exec) Probe(ctx context.Context) (string, error) {
	select {
	case programs <- struct{}{}:
		defer func() { <-programs }()
	case <-ctx.Done():
		return "", fmt.Errorf("%w: %d programs of other checks were running all the time", ErrNotSent, maxPrograms)
	}
	line, err := p.run(ctx)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err == nil && line == "":
		return "exit status 0", nil
	case err == nil:
		return line, nil
	case errors.As(err, &exit) && line == "":
		return "", errors.New(exit.String())
	case errors.As(err, &exit):
		return "", fmt.Errorf("%s: %s", exit, line)
	}
	return "", reason(ctx, err)
}

// run returns the first line that the program wrote.
func (p Exec) run(ctx context.Context) (string, error) {
	out := &head{left: maxOutput}
	cmd := exec.Command(p.Command[0], p.Command[1:]...)
	cmd.Dir = "/"
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, p.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = minLag / 2 // for output held open by something that left the group
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // whose end would otherwise count as xlb's
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(killed)
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	})
	// The number stays that of the program until Wait, however long ago it ended.
	err := waitFor(cmd.Process.Pid)
	if !stop() {
		<-killed
	}
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // what it left running
	if e := cmd.Wait(); !errors.Is(e, exec.ErrWaitDelay) {
		err = errors.Join(err, e)
	}
	return out.line(), err
}

// waitFor returns once the process has ended, and leaves it to be waited for.
func waitFor(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// head keeps the beginning of what is written to it.
type head struct {
	buf  bytes.Buffer
	left int
}

var _ io.Writer = (*head)(nil)

func (h *head) Write(p []byte) (int, error) {
	n := min(len(p), h.left)
	h.buf.Write(p[:n])
	h.left -= n
	return len(p), nil
}

// line returns the beginning of the first line, as far as it is fit for a terminal.
func (h *head) line() string {
	first, _, _ := strings.Cut(strings.TrimSpace(h.buf.String()), "\n")
	first = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, first)
	return strings.TrimSpace(first[:min(len(first), maxLine)])
}
