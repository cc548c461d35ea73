package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"
)

const many = math.MaxInt

// takes accepts from least to most arguments, and says in words of the command
// what is missing.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usagef(cmd, "something is missing: write %s", cmd.UseLine())
		case len(args) > most:
			return usagef(cmd, "%q is too much: write %s", args[most], cmd.UseLine())
		}
		return nil
	}
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: namesCommand, RunE: showHelp, SuggestionsMinimumDistance: 2}
	cmd.AddCommand(commands...)
	return cmd
}

// namesCommand refuses what is no command, with those that may have been meant.
func namesCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := "there are " + strings.Join(names, ", ")
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %s?", strings.Join(near, " or "))
	}
	return usagef(cmd, "%s has no command %s: %s", cmd.CommandPath(), args[0], hint)
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }
