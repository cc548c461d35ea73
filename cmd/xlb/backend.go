package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
)

func backendCommand() *cobra.Command {
	return group("backend", "Look at backends, and change them at run time",
		backendListCommand(), backendAddCommand(), backendRemoveCommand(),
		drainCommand(), undrainCommand(), weightCommand(), enableCommand(), disableCommand())
}

func backendListCommand() *cobra.Command {
	var s session
	var f format
	cmd := &cobra.Command{
		Use:               "ls [SERVICE]",
		Short:             "List backends with their state, of all services or of one",
		Example:           "  xlb backend ls\n  xlb backend ls web -o json",
		Aliases:           []string{"list"},
		Args:              takes(0, 1),
		ValidArgsFunction: s.completeService,
		RunE: func(cmd *cobra.Command, args []string) error {
			client := s.client()
			defer client.Close()
			service := ""
			if len(args) > 0 {
				service = args[0]
			}
			status, err := client.StatusOf(cmd.Context(), service, "")
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), f, listed(status), func(w io.Writer) { printBackends(w, status, time.Now()) })
		},
	}
	s.flags(cmd)
	outputFlag(cmd, &f, asTable, asJSON, asYAML)
	return cmd
}

// listedBackend is a backend with its service's name.
type listedBackend struct {
	Service string `json:"service"`
	control.BackendStatus
}

func listed(status control.Status) []listedBackend {
	out := []listedBackend{}
	for _, s := range status.Services {
		for _, b := range s.Backends {
			out = append(out, listedBackend{s.Name, b})
		}
	}
	return out
}

func printBackends(w io.Writer, status control.Status, now time.Time) {
	t := newTable()
	t.AppendHeader(table.Row{"service", "backend", "address", "state", "for", "weight", "share", "flows", "packets", "reason"})
	for _, s := range status.Services {
		for _, b := range s.Backends {
			t.AppendRow(table.Row{
				s.Name, b.Name, b.Address, describeState(b), age(b.Since, now), b.Weight, shareOf(b, s),
				b.Flows, quantity(b.Traffic.Packets), b.Reason,
			})
		}
	}
	rightAlign(t, "weight", "share", "flows", "packets")
	fmt.Fprintln(w, t.Render())
}

// edit is what commands that change one object have in common.
type edit struct {
	session
	format   format
	revision uint64
}

func (e *edit) flags(cmd *cobra.Command) {
	e.session.flags(cmd)
	outputFlag(cmd, &e.format, asTable, asJSON, asYAML)
	cmd.Flags().Uint64Var(&e.revision, "revision", 0, "change something only if this is the present revision")
}

// do asks the daemon for a change, and says what became of it.
func (e *edit) do(cmd *cobra.Command, done string, change func(context.Context, *api.Client) (uint64, error)) error {
	client := e.client()
	defer client.Close()
	revision, err := change(cmd.Context(), client)
	if err != nil {
		return err
	}
	return show(cmd.OutOrStdout(), e.format, api.Revision{Revision: revision}, func(w io.Writer) {
		fmt.Fprintf(w, "%s; revision %d\n", done, revision)
	})
}

func undrainCommand() *cobra.Command {
	var e edit
	cmd := &cobra.Command{
		Use:               "undrain SERVICE BACKEND",
		Short:             "Take a drain back: the backend gets new connections again",
		Example:           "  xlb backend undrain web 10.0.0.7",
		Args:              takes(2, 2),
		ValidArgsFunction: e.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.do(cmd, args[0]+"/"+args[1]+" takes new connections again", func(ctx context.Context, client *api.Client) (uint64, error) {
				return client.Undrain(ctx, e.revision, args[0], args[1])
			})
		},
	}
	e.flags(cmd)
	return cmd
}

func enableCommand() *cobra.Command {
	var e edit
	cmd := &cobra.Command{
		Use:               "enable SERVICE BACKEND",
		Short:             "Bring a backend back that was disabled or drained",
		Example:           "  xlb backend enable web 10.0.0.7",
		Args:              takes(2, 2),
		ValidArgsFunction: e.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.do(cmd, args[0]+"/"+args[1]+" is enabled", func(ctx context.Context, client *api.Client) (uint64, error) {
				return client.Enable(ctx, e.revision, args[0], args[1])
			})
		},
	}
	e.flags(cmd)
	return cmd
}

func disableCommand() *cobra.Command {
	var e edit
	var force bool
	cmd := &cobra.Command{
		Use:   "disable SERVICE BACKEND",
		Short: "Take a backend out at once; its connections break",
		Long: "Takes a backend out at once, whatever its health check says, until `xlb backend enable`. Its connections break; to\n" +
			"spare them, use `xlb backend drain`.",
		Example:           "  xlb backend disable web 10.0.0.7",
		Args:              takes(2, 2),
		ValidArgsFunction: e.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.do(cmd, args[0]+"/"+args[1]+" is disabled", func(ctx context.Context, client *api.Client) (uint64, error) {
				return client.Disable(ctx, e.revision, args[0], args[1], force)
			})
		},
	}
	e.flags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "also if no other backend of the service accepts connections")
	return cmd
}

func weightCommand() *cobra.Command {
	var e edit
	cmd := &cobra.Command{
		Use:   "weight SERVICE BACKEND WEIGHT",
		Short: "Change a backend's share of new connections",
		Long: "Sets a backend's weight, 1 to 1000, relative to the other backends of its service. Only the share that it wins or\n" +
			"loses moves, and connections that there are stay where they are.",
		Example:           "  xlb backend weight web 10.0.0.7 50",
		Args:              takes(3, 3),
		ValidArgsFunction: e.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			weight, err := strconv.Atoi(args[2])
			if err != nil {
				return usagef(cmd, "weight %q is no number: write 1 to 1000", args[2])
			}
			return e.do(cmd, fmt.Sprintf("%s/%s has weight %d", args[0], args[1], weight), func(ctx context.Context, client *api.Client) (uint64, error) {
				return client.SetWeight(ctx, e.revision, args[0], args[1], weight)
			})
		},
	}
	e.flags(cmd)
	return cmd
}

func backendRemoveCommand() *cobra.Command {
	var e edit
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm SERVICE BACKEND",
		Short: "Take a backend away for good",
		Long: "Removes a backend from its service. The connections that it has break, so of one that is in use it asks; drain it\n" +
			"first.",
		Example: "  xlb backend drain web 10.0.0.7 --timeout 5m --wait && xlb backend rm web 10.0.0.7\n" +
			"  xlb backend rm web 10.0.0.7 --yes       # unasked",
		Aliases:           []string{"remove"},
		Args:              takes(2, 2),
		ValidArgsFunction: e.completeBackend,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.do(cmd, args[0]+"/"+args[1]+" is removed", func(ctx context.Context, client *api.Client) (uint64, error) {
				status, err := client.StatusOf(ctx, args[0], args[1])
				if err != nil {
					return 0, err
				}
				if b := status.Services[0].Backends[0]; inUse(b) {
					question := fmt.Sprintf("%s/%s is %s: its connections break. Remove it?", args[0], b.Name, describeState(b))
					if err := confirm(cmd, yes, question); err != nil {
						return 0, err
					}
				}
				return client.RemoveBackend(ctx, e.revision, args[0], args[1])
			})
		},
	}
	e.flags(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "remove it without asking")
	return cmd
}

// inUse says whether a backend may have connections.
func inUse(b control.BackendStatus) bool {
	return b.Admin == control.AdminDraining || b.Admin == control.AdminNone && b.State == control.StateUp
}

// describeState is a backend's state with what an operator made of it.
func describeState(b control.BackendStatus) string {
	if b.Admin != control.AdminNone {
		return b.Admin
	}
	if b.State == control.StateUp && b.Clients != "" {
		return "up, " + b.Clients
	}
	if b.State == control.StateUp && b.Live > 0 && b.Live < 1 {
		return fmt.Sprintf("up (%.0f %%)", 100*b.Live)
	}
	return b.State
}

func shareOf(b control.BackendStatus, s control.ServiceStatus) string {
	return percent(float64(b.Slots) / float64(cmp.Or(s.Slots, 1)))
}
