// Command xlb is a layer-4 load balancer in XDP: the daemon, and the commands
// that talk to it.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

//go:generate go run . man --markdown ../../docs/cli.md

// version is set by the linker; see the Makefile.
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		printError(err)
		os.Exit(int(exitStatusOf(err)))
	}
}

func rootCommand() *cobra.Command {
	root := group("xlb", "A layer-4 load balancer in XDP")
	root.Long = "xlb is a layer-4 load balancer: `xlb run` forwards, the other commands talk to it through its socket.\n" +
		"`xlb COMMAND --help` has examples."
	root.Version = versionString()
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{cmd, err} })
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"node", "The node:", []*cobra.Command{runCommand(), checkCommand(), reloadCommand(), downCommand()}},
		{"look", "Look:", []*cobra.Command{statusCommand(), eventsCommand(), explainCommand(), versionCommand()}},
		{"change", "Change:", []*cobra.Command{planCommand(), applyCommand(), exportCommand(), serviceCommand(), backendCommand()}},
		{"other", "Besides:", []*cobra.Command{decapCommand(), demoCommand(), manCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, cmd := range g.commands {
			cmd.GroupID = g.id
			root.AddCommand(cmd)
		}
	}
	root.SetCompletionCommandGroupID("other")
	root.SetHelpCommandGroupID("other")
	return root
}

func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
