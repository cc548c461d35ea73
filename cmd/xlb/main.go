// Command xlb is a layer-4 load balancer in XDP: the daemon, and the commands
// that talk to it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"
)

// version is set by the linker; see the Makefile.
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		printError(err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "xlb",
		Short:         "A layer-4 load balancer in XDP",
		Version:       versionString(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), downCommand(), statusCommand(), explainCommand(), decapCommand(), demoCommand())
	return root
}

// printError writes an error for people; a verifier's refusal comes with its log.
func printError(err error) {
	fmt.Fprintln(os.Stderr, "xlb:", err)
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) {
		fmt.Fprintf(os.Stderr, "%+v\n", verifier)
	}
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
