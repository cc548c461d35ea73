// Package reference writes what the commands say of themselves as documents: one
// in Markdown, and a man page for each.
package reference

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ExitStatus is a status that commands end with.
type ExitStatus struct {
	Status  int
	Meaning string
}

// each calls f with every command that people use, each before those it holds.
// What the library adds explains itself.
func each(cmd *cobra.Command, f func(*cobra.Command)) {
	if cmd.HasParent() && (!cmd.IsAvailableCommand() || cmd.Name() == "completion" || cmd.Name() == "help") {
		return
	}
	cmd.InitDefaultHelpFlag()
	f(cmd)
	for _, c := range cmd.Commands() {
		each(c, f)
	}
}

// flag is a flag as documents show it.
type flag struct {
	names, value, usage string
}

// flagsOf returns the flags of a command, but for --help.
func flagsOf(cmd *cobra.Command) []flag {
	var flags []flag
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		names := "--" + f.Name
		if f.Shorthand != "" {
			names = "-" + f.Shorthand + ", " + names
		}
		value, usage := pflag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "[]" {
			usage += " (default " + f.DefValue + ")"
		}
		flags = append(flags, flag{names, value, usage})
	})
	return flags
}

// textOf is what a command says of itself: its long text, else the short one as a sentence.
func textOf(cmd *cobra.Command) string {
	if cmd.Long != "" {
		return cmd.Long
	}
	return cmd.Short + "."
}

// usageOf is the line to type, without the word for flags.
func usageOf(cmd *cobra.Command) string {
	return strings.TrimSuffix(cmd.UseLine(), " [flags]")
}
