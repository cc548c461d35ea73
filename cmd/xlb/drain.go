package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
)

const (
	drainPoll  = time.Second
	drainLine  = 10 * time.Second // between lines where no terminal shows progress
	daemonGone = 30 * time.Second // that a wait outlasts a daemon that is being restarted
)

func drainCommand() *cobra.Command {
	var e edit
	var timeout time.Duration
	var force, wait bool
	cmd := &cobra.Command{
		Use:   "drain SERVICE BACKEND",
		Short: "Send new connections elsewhere and keep those that there are",
		Long: "New connections go to the other backends. When no connection is left, or --timeout is over, the backend is out until\n" +
			"`xlb backend undrain` or `xlb backend enable`. With --wait it shows how many are left and ends with the drain; Ctrl-C\n" +
			"ends the waiting alone.",
		Example: "  xlb backend drain web 10.0.0.7 --timeout 5m --wait\n" +
			"  xlb backend drain web 10.0.0.7 --force  # the last one: clients get nothing new",
		Args:              takes(2, 2),
		ValidArgsFunction: e.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout < 0 {
				return usagef(cmd, "--timeout %s: write how long, such as 5m", timeout)
			}
			service, backend := args[0], args[1]
			done := fmt.Sprintf("%s/%s drains: new connections go elsewhere", service, backend)
			if timeout > 0 {
				done += fmt.Sprintf(", and it is out in %s at the latest", brief(timeout))
			}
			err := e.do(cmd, done, func(ctx context.Context, client *api.Client) (uint64, error) {
				return client.Drain(ctx, e.revision, service, backend, timeout, force)
			})
			if err != nil || !wait {
				return err
			}
			client := e.client()
			defer client.Close()
			w := drainWait{client: client, service: service, backend: backend, out: cmd.ErrOrStderr()}
			return w.run(cmd.Context())
		},
	}
	e.flags(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "take it out after that long, whatever connections are left")
	cmd.Flags().BoolVar(&wait, "wait", false, "show the connections that are left until there are none")
	cmd.Flags().BoolVar(&force, "force", false, "also if no other backend of the service accepts connections")
	return cmd
}

// drainWait follows a drain to its end.
type drainWait struct {
	client           *api.Client
	service, backend string
	out              io.Writer
	written          time.Time // of the last line
}

func (d *drainWait) run(ctx context.Context) error {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	heard := time.Now()
	for {
		status, err := d.client.StatusOf(ctx, d.service, d.backend)
		switch {
		case ctx.Err() != nil:
			return d.stopped()
		case errors.Is(err, api.ErrNotRunning) && time.Since(heard) < daemonGone:
		case err != nil:
			return err
		default:
			heard = time.Now()
			if done, err := d.look(status.Services[0].Backends[0]); done || err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return d.stopped()
		}
	}
}

func (d *drainWait) stopped() error {
	d.endLine()
	return fmt.Errorf("stopped waiting: %[1]s/%[2]s goes on draining, see `xlb backend ls %[1]s`; `xlb backend undrain %[1]s %[2]s` takes it back", d.service, d.backend)
}

// look says how far the drain is, and whether that is its end.
func (d *drainWait) look(b control.BackendStatus) (done bool, err error) {
	switch b.Admin {
	case control.AdminDrained:
		d.endLine()
		fmt.Fprintf(d.out, "%s/%s is drained\n", d.service, b.Name)
		return true, nil
	case control.AdminDraining:
		d.progress(b)
		return false, nil
	}
	d.endLine()
	return true, fmt.Errorf("%s/%s drains no longer: it is %s; `xlb events --service %s` says who changed that", d.service, b.Name, describeState(b), d.service)
}

// progress writes over the last line of a terminal, and elsewhere a line now and then.
func (d *drainWait) progress(b control.BackendStatus) {
	text := fmt.Sprintf("%s/%s: %s left", d.service, b.Name, count(b.Flows, "connection"))
	if b.Drain != nil && b.Drain.Deadline != nil {
		text += fmt.Sprintf(", out in %s at the latest", age(time.Now(), *b.Drain.Deadline))
	}
	switch {
	case d.onTerminal():
		fmt.Fprint(d.out, "\r\x1b[K"+text)
	case time.Since(d.written) < drainLine:
		return
	default:
		fmt.Fprintln(d.out, text)
	}
	d.written = time.Now()
}

func (d *drainWait) onTerminal() bool {
	f, ok := d.out.(*os.File)
	return ok && isTerminal(f)
}

func (d *drainWait) endLine() {
	if d.onTerminal() && !d.written.IsZero() {
		fmt.Fprint(d.out, "\r\x1b[K")
	}
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
