package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/config"
)

func planCommand() *cobra.Command {
	var s session
	var f format
	var detailed bool
	cmd := &cobra.Command{
		Use:   "plan [FILE]",
		Short: "Say what applying a file would change; without one, what was changed at run time",
		Long: "Compares a configuration with what runs: which services and backends would be added, changed or removed, which\n" +
			"share of new flows and how many recorded ones would move, and whether another program would be loaded.\n" +
			"Without FILE it says how what runs differs from the daemon's own file. Nothing is changed.",
		Example: "  xlb plan new.yaml\n" +
			"  xlb plan                                # what do runtime changes add to the file?\n" +
			"  xlb plan --detailed-exitcode new.yaml   # exit status 6 if there is something to do",
		Args:              takes(0, 1),
		ValidArgsFunction: completeFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			client := s.client()
			defer client.Close()
			var plan control.Plan
			var err error
			if len(args) == 0 {
				plan, err = client.Drift(cmd.Context())
			} else {
				plan, _, err = planOf(cmd.Context(), client, args[0], cmd.InOrStdin())
			}
			if err != nil {
				return err
			}
			err = show(cmd.OutOrStdout(), f, plan, func(w io.Writer) {
				if len(args) == 0 {
					printDrift(w, plan)
				} else {
					printPlan(w, plan)
				}
			})
			if err == nil && detailed && !plan.Empty {
				err = errChanges
			}
			return err
		},
	}
	s.flags(cmd)
	outputFlag(cmd, &f, asTable, asJSON, asYAML)
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 6 if there are changes")
	return cmd
}

func applyCommand() *cobra.Command {
	var s session
	var f format
	var yes bool
	cmd := &cobra.Command{
		Use:   "apply FILE",
		Short: "Make a file the configuration that runs, all of it or nothing",
		Long: "Shows the plan, asks, and applies exactly that: if somebody else makes a change in between, nothing happens. What\n" +
			"runs afterwards is what FILE says; what differs from the daemon's own file counts as changed at run time, and is\n" +
			"kept across restarts. FILE - is standard input.",
		Example: "  xlb apply new.yaml\n" +
			"  xlb apply --yes new.yaml                # unasked\n" +
			"  xlb export | sed s/weight:.50/weight:.80/ | xlb apply --yes -",
		Args:              takes(1, 1),
		ValidArgsFunction: completeFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			client := s.client()
			defer client.Close()
			plan, text, err := planOf(cmd.Context(), client, args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			if plan.Empty {
				return show(cmd.OutOrStdout(), f, plan, func(w io.Writer) { printPlan(w, plan) })
			}
			if f == asTable {
				printPlan(cmd.OutOrStdout(), plan)
				fmt.Fprintln(cmd.OutOrStdout())
			}
			if err := confirm(cmd, yes, "Apply this?"); err != nil {
				return err
			}
			done, err := client.Apply(cmd.Context(), plan.Revision, sourceOf(args[0]), text)
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), f, done, func(w io.Writer) { fmt.Fprintf(w, "applied; revision %d\n", done.Revision) })
		},
	}
	s.flags(cmd)
	outputFlag(cmd, &f, asTable, asJSON, asYAML)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "apply without asking")
	return cmd
}

func reloadCommand() *cobra.Command {
	var s session
	var f format
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its file again; changes made at run time stay",
		Long:  "Does what SIGHUP and `systemctl reload` do, and shows what changed. A file with a mistake changes nothing.",
		Example: "  xlb reload\n" +
			"  xlb check /etc/xlb/xlb.yaml && xlb reload",
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := s.client()
			defer client.Close()
			plan, err := client.Reload(cmd.Context())
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), f, plan, func(w io.Writer) {
				printPlan(w, plan)
				if !plan.Empty {
					fmt.Fprintf(w, "\nreloaded; revision %d\n", plan.Revision)
				}
			})
		},
	}
	s.flags(cmd)
	outputFlag(cmd, &f, asTable, asJSON, asYAML)
	return cmd
}

// planOf asks what applying a file would do, and returns the text to apply: with
// the lists and directories that the file names in it, since their paths begin
// where the file is.
func planOf(ctx context.Context, client *api.Client, file string, stdin io.Reader) (control.Plan, []byte, error) {
	cfg, err := loadFrom(file, stdin)
	if err != nil {
		return control.Plan{}, nil, err
	}
	var text bytes.Buffer
	if err := cfg.Write(&text); err != nil {
		return control.Plan{}, nil, err
	}
	plan, err := client.Plan(ctx, text.Bytes())
	return plan, text.Bytes(), err
}

// loadFrom reads a configuration from a file, or from standard input for "-".
func loadFrom(file string, stdin io.Reader) (*config.Config, error) {
	if file != "-" {
		return config.Load(file)
	}
	text, err := io.ReadAll(io.LimitReader(stdin, api.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return config.Parse("standard input", text)
}

// sourceOf names a file for people elsewhere.
func sourceOf(file string) string {
	if file == "-" {
		return "standard input"
	}
	if path, err := filepath.Abs(file); err == nil {
		return path
	}
	return file
}
