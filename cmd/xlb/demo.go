package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/cmd/xlb/internal/demo"
	"github.com/xlb-project/xlb/testenv"
)

// interruptedStatus is what shells expect of a program that Ctrl-C ended.
const interruptedStatus = 130

func demoCommand() *cobra.Command {
	var asJSON bool
	options := demo.Options{XLB: testenv.Program{Path: "/proc/self/exe"}}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show xlb at work in a lab on this machine",
		Long: "Builds a lab of network namespaces on this machine and runs xlb in it: HTTP requests spread over\n" +
			"backends, one backend is killed and comes back. Takes some seconds and leaves nothing behind.\n" +
			"Ends with status 1 if xlb does not keep what it promises.",
		Example: "  xlb demo\n  xlb demo --json",
		Args:    takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The lab is to be removed also when the terminal or the reader of a pipe goes away.
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
			defer stop()
			signal.Ignore(syscall.SIGPIPE)

			observer := demo.NewObserver(os.Stdout, options.Backends, demo.NewLines(cmd.OutOrStdout()))
			if asJSON {
				observer = demo.NewObserver(os.Stderr, options.Backends, demo.Silence{})
			}
			result, err := demo.Run(ctx, options, observer)
			if ctx.Err() != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "xlb: interrupted; the lab is removed")
				os.Exit(interruptedStatus)
			}
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				err = encoder.Encode(result)
			} else {
				printDemo(cmd.OutOrStdout(), result)
			}
			return errors.Join(err, promises(result))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the outcome as JSON, and nothing else, on standard output")
	cmd.Flags().IntVar(&options.Requests, "requests", demo.DefaultRequests, "requests of each phase, each from a client of its own; few make shares a matter of chance")
	cmd.Flags().IntVar(&options.Backends, "backends", demo.DefaultBackends, fmt.Sprintf("backends in the lab, 2 to %d", demo.MaxBackends))
	return cmd
}

// promises is an error if xlb broke one.
func promises(r demo.Result) error {
	if r.OK {
		return nil
	}
	return fmt.Errorf("the demo did not go as promised:\n  %s", strings.Join(r.Broken, "\n  "))
}

func printDemo(w io.Writer, r demo.Result) {
	fmt.Fprintf(w, "\n%s\n\n", demoTable(r).Render())
	d := r.DataPath
	fmt.Fprintf(w, "Per packet: %d runs of xlb's program in the driver, %.0f ns each (some tens\n"+
		"of them to measure): %.3f s, %.1f %% of %.1f s of CPU time of the whole demo.\n", d.Runs, d.NsPerRun, d.RunSeconds, d.CPUPercent, d.CPUSeconds)
	if r.OK {
		fmt.Fprintf(w, "\nAs promised, in %.1f s: %d requests, %d failed otherwise, %d moved needlessly.\n",
			r.Total.Seconds, r.Total.Requests, r.Total.FailedOutsideWindow, r.Total.MovedNeedlessly)
	}
}

// demoTable has a column for each phase, so that any number of backends fits.
func demoTable(r demo.Result) table.Writer {
	t := newTable()
	header := table.Row{""}
	for _, p := range r.Phases {
		header = append(header, p.Name)
	}
	t.AppendHeader(header)
	row := func(name string, cell func(demo.Phase) any) {
		cells := table.Row{name}
		for _, p := range r.Phases {
			cells = append(cells, cell(p))
		}
		t.AppendRow(cells)
	}
	row("requests", func(p demo.Phase) any { return p.Requests })
	row("failed until found", func(p demo.Phase) any { return p.FailedInWindow })
	row("failed otherwise", func(p demo.Phase) any { return p.Failed - p.FailedInWindow })
	for i := range len(r.Phases[0].PerBackend) {
		name := fmt.Sprintf("backend%d", i+1)
		row(name, func(p demo.Phase) any { return p.PerBackend[name] })
	}
	row("clients moved", func(p demo.Phase) any { return p.Moved })
	row("  needlessly", func(p demo.Phase) any { return p.MovedNeedlessly })
	row("found after", func(p demo.Phase) any {
		if p.DetectMs == nil {
			return "-"
		}
		return fmt.Sprintf("%.0f ms", *p.DetectMs)
	})
	rightAlign(t, demo.Phases...)
	return t
}
