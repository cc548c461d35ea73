package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/loader"
)

// endTime is what a daemon gets to end.
const endTime = 30 * time.Second

func downCommand() *cobra.Command {
	var s session
	var file string
	var yes bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop forwarding: take an instance out of the kernel",
		Long: "Ends the daemon if one runs, takes the data path off all interfaces, and removes everything that the instance has in\n" +
			"the kernel. From then on its packets go to the kernel. A daemon that ends, or is killed, leaves all of it at work;\n" +
			"this does not, so it asks. Files and the state of changes at run time stay.",
		Example: "  xlb down\n" +
			"  systemctl stop xlb && xlb down --yes\n" +
			"  xlb down --yes --instance edge2         # or -c FILE, whose instance it is",
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			instance, err := s.find(file)
			if err != nil {
				return err
			}
			client := s.client()
			defer client.Close()
			daemon, err := s.daemonOf(cmd, client, &instance)
			if err != nil {
				return err
			}
			if unit := supervisor(daemon); unit != "" {
				return insist(fmt.Sprintf("instance %s is run by systemd, which would start it again: `systemctl stop %s` first", instance, unit))
			}
			question := fmt.Sprintf("All services of instance %s lose their traffic. Take it down?", instance)
			if err := confirm(cmd, yes, question); err != nil {
				return err
			}
			if daemon != 0 {
				if err := end(cmd.Context(), daemon); err != nil {
					return fmt.Errorf("end the daemon of instance %s: %w", instance, err)
				}
			}
			if err := loader.Down(loader.Instance{Name: instance}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "instance %s is down\n", instance)
			return nil
		},
	}
	s.flags(cmd)
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `file` that names instance and socket")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do it without asking")
	cmd.MarkFlagsMutuallyExclusive("config", "instance")
	return cmd
}

// find returns the instance that is named, and notes the socket that a file names.
// Without either it is empty.
func (s *session) find(file string) (string, error) {
	if file == "" {
		return s.instance, nil
	}
	cfg, err := config.Load(file)
	if err != nil {
		return "", err
	}
	if s.socket == "" {
		s.socket = cfg.API.Socket
	}
	return cfg.Instance, nil
}

// daemonOf returns the process of the daemon behind the socket, 0 without one. It
// is asked for its instance, if none is named; that of another is left alone.
func (s *session) daemonOf(cmd *cobra.Command, client *api.Client, instance *string) (int, error) {
	daemon, err := client.Process(cmd.Context())
	if errors.Is(err, api.ErrNotRunning) {
		*instance = cmp.Or(*instance, s.instanceName())
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	version, err := client.Version(cmd.Context())
	if err != nil {
		return 0, err
	}
	if *instance != "" && version.Instance != *instance {
		return 0, usagef(cmd, "the daemon on %s runs instance %s, not %s: name one or the other", client.Socket(), version.Instance, *instance)
	}
	*instance = version.Instance
	return daemon, nil
}

// supervisor returns the unit of systemd that runs a process, "" if it is started
// by hand: out of a session, or out of the unit that this command itself is in.
func supervisor(pid int) string {
	unit := unitOf(pid)
	if pid == 0 || !strings.HasSuffix(unit, ".service") || unit == unitOf(os.Getpid()) {
		return ""
	}
	return unit
}

func unitOf(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if _, group, ok := strings.Cut(strings.TrimSpace(line), "0::"); ok {
			return path.Base(group)
		}
	}
	return ""
}

// end asks a process to end, and waits for it. What has the number is held fast
// meanwhile, so that no other process is hit.
func end(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	process := os.NewFile(uintptr(fd), "pidfd")
	defer process.Close()
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for deadline := time.Now().Add(endTime); time.Now().Before(deadline); {
		if n, err := unix.Poll(poll, 100); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		} else if n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return fmt.Errorf("process %d has not ended within %s: kill it (kill -9 %d) and repeat", pid, brief(endTime), pid)
}
