package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/cmd/xlb/internal/reference"
)

func eachCommand(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, c := range cmd.Commands() {
		eachCommand(c, f)
	}
}

func TestEveryCommandSaysWhatItTakesAndHowItIsUsed(t *testing.T) {
	eachCommand(rootCommand(), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Args == nil {
			t.Errorf("%s: anything goes as arguments", path)
		}
		if strings.HasSuffix(cmd.Short, ".") || len(cmd.Short) > 90 {
			t.Errorf("%s: %q is no short line", path, cmd.Short)
		}
		if !cmd.HasSubCommands() && cmd.Example == "" {
			t.Errorf("%s has no example", path)
		}
		for line := range strings.Lines(cmd.Example) {
			if strings.TrimSpace(line) == "" || !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: example %q does not begin with two spaces", path, line)
			}
		}
		for line := range strings.Lines(cmd.Long) {
			if len(line) > 121 {
				t.Errorf("%s: %d columns in %q", path, len(line), line)
			}
		}
	})
}

func TestReferenceIsThatOfTheCommands(t *testing.T) {
	got, err := os.ReadFile("../../docs/cli.md")
	must(t, err)
	if string(got) != reference.Markdown(rootCommand(), documentedStatuses()) {
		t.Error("docs/cli.md is out of date: run make generate")
	}
}
