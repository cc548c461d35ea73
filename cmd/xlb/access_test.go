package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/api/apitest"
	"github.com/xlb-project/xlb/control/config"
)

// nobody runs a command of the binary as a user without rights, and as a member
// of one more group.
func nobody(t *testing.T, socket string, group uint32, args ...string) (string, exitStatus) {
	t.Helper()
	cmd := exec.CommandContext(deadline(t), self.Path, args...)
	cmd.Env = append(os.Environ(), append(self.Env, "XLB_SOCKET="+socket)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{group}}}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), exitStatus(cmd.ProcessState.ExitCode())
}

// TestKernelSaysWhoMayDoWhat needs root, to be somebody else.
func TestKernelSaysWhoMayDoWhat(t *testing.T) {
	for _, c := range []struct {
		name         string
		settings     config.API
		group        uint32
		look, change exitStatus
		says         string
	}{
		{"a stranger", config.API{Group: "12345", Read: config.ReadGroup}, 54321, exitForbidden, exitForbidden, "not permitted: run as root"},
		{"a stranger who may look", config.API{Group: "12345", Read: config.ReadAll}, 54321, 0, exitForbidden, "may not do that: root and members of the group 12345 may"},
		{"a member of the group", config.API{Group: "12345", Read: config.ReadGroup}, 12345, 0, 0, "has weight 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "xlb-access-") // not t.TempDir, which is root's alone
			must(t, err)
			defer os.RemoveAll(dir)
			must(t, os.Chmod(dir, 0o755))
			cfg, err := config.Parse("xlb.yaml", []byte("interfaces: [eth0]\nservices:\n  - {name: web, vip: 192.0.2.10, port: 80, forward: ipip, backends: [{address: 10.1.0.1, name: b1}]}\n"))
			must(t, err)
			socket := filepath.Join(dir, "xlb.sock")
			access, err := api.NewAccess(c.settings)
			must(t, err)
			l, err := api.Listen(socket, access)
			must(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			log := slog.New(slog.DiscardHandler)
			go func() {
				done <- api.Serve(ctx, l, api.Handler(apitest.New(cfg), api.Options{Access: access, Log: log}), log)
			}()
			defer func() { cancel(); must(t, <-done) }()

			if out, status := nobody(t, socket, c.group, "service", "ls"); status != c.look {
				t.Errorf("looking ends with %d, want %d:\n%s", status, c.look, out)
			}
			out, status := nobody(t, socket, c.group, "backend", "weight", "web", "b1", "7")
			if status != c.change || !strings.Contains(out, c.says) {
				t.Errorf("changing ends with %d, want %d, and %q:\n%s", status, c.change, c.says, out)
			}
		})
	}
}
