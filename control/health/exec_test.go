package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func shell(script string) Exec { return Exec{Command: []string{"/bin/sh", "-c", script}} }

func TestExecIsJudgedByTheExitStatus(t *testing.T) {
	for script, want := range map[string]string{
		"exit 0":                           "exit status 0",
		"echo all well; echo and more":     "all well",
		"echo; echo; echo well >&2":        "well",
		"printf 'a\\033[31m\\377b\\tc\\n'": "a?[31m?b?c",
		"yes $(seq 100) | head -100000":    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 3",
	} {
		wantPass(t, shell(script), want)
	}
	for script, want := range map[string]string{
		"exit 3":                "exit status 3",
		"echo too slow; exit 1": "exit status 1: too slow",
		"kill -9 $$":            "signal: killed",
	} {
		wantFailure(t, time.Minute, shell(script), want)
	}
}

func TestExecIsToldItsEnvironmentAndNoMore(t *testing.T) {
	t.Setenv("SECRET", "of the daemon")
	p := shell("echo $(env | sort | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=) $(pwd) $(cat)")
	p.Env = []string{"XLB_BACKEND=a b", "XLB_ADDRESS=10.1.0.1"}
	wantPass(t, p, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin XLB_ADDRESS=10.1.0.1 XLB_BACKEND=a b /"[:100])
}

func TestExecThatCannotBeStartedIsNotSent(t *testing.T) {
	_, err := probeWithin(t, time.Minute, Exec{Command: []string{"/no/such/program"}})
	if !errors.Is(err, ErrNotSent) || err.Error() != "not sent: fork/exec /no/such/program: no such file or directory" {
		t.Errorf("got %v", err)
	}
}

// gone waits until there is no process, or only one that nobody has waited for yet.
func gone(t *testing.T, pid int) {
	t.Helper()
	for ctx := t.Context(); ; {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return
		}
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		unix.Close(fd)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			t.Fatal(err)
		}
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
}

func readPid(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestExecOutOfTimeEndsWithAllItStarted(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pid")
	p := shell("sleep 1000 & echo $! >" + pids + "; trap '' TERM; sleep 1000")
	wantFailure(t, 2*time.Second, p, "timeout after 2s")
	gone(t, readPid(t, pids))
}

func TestExecLeavesNothingBehind(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pid")
	wantPass(t, shell("sleep 1000 & echo $! >"+pids+"; echo well"), "well")
	gone(t, readPid(t, pids))
}

func TestExecDoesNotWaitForWhatEscapesIt(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pid")
	wantPass(t, shell("setsid sh -c 'echo $$ >"+pids+".new; mv "+pids+".new "+pids+"; exec sleep 1000' & while [ ! -e "+pids+" ]; do :; done; echo well"), "well")
	pid := readPid(t, pids)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	gone(t, pid)
}

func TestExecWithoutAPlaceIsNotSent(t *testing.T) {
	for range maxPrograms {
		programs <- struct{}{}
	}
	_, err := probeWithin(t, brief, shell("exit 0"))
	for range maxPrograms {
		<-programs
	}
	if !errors.Is(err, ErrNotSent) {
		t.Errorf("got %v", err)
	}
	wantPass(t, shell("exit 0"), "exit status 0")
}

func TestExecEndsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	time.AfterFunc(brief, func() { cancel(stopped) })
	if _, err := shell("sleep 1000").Probe(ctx); err != stopped {
		t.Errorf("got %v, want %v", err, stopped)
	}
}
