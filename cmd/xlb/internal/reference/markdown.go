package reference

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// common are flags that the introduction explains.
var common = []string{"--socket", "--instance"}

// Markdown returns the commands as one document.
func Markdown(root *cobra.Command, statuses []ExitStatus) string {
	var b strings.Builder
	b.WriteString("# Command line\n\n" +
		"Generated from the commands by `make generate`. `xlb COMMAND --help` says the same; `xlb man DIR` writes man pages,\n" +
		"`xlb completion bash` (`zsh`, `fish`) a shell's completion, which knows the names of services and backends.\n\n" +
		"Commands that talk to the daemon find it by its socket: that of `--socket`, else of `--instance`, else of `$XLB_SOCKET`,\n" +
		"else of the instance `$XLB_INSTANCE`, else of the instance `default`. [api.md](api.md) has what they ask. `-o json` and\n" +
		"`-o yaml` are for programs: fields are added, never renamed.\n\n" +
		"## Exit statuses\n\nThe same for all commands; numbers are added, never changed.\n\n| status | meaning |\n|---|---|\n")
	for _, s := range statuses {
		fmt.Fprintf(&b, "| %d | %s |\n", s.Status, s.Meaning)
	}
	each(root, func(cmd *cobra.Command) {
		if !cmd.HasParent() {
			return
		}
		fmt.Fprintf(&b, "\n## %s\n\n", cmd.CommandPath())
		if !cmd.HasAvailableSubCommands() {
			fmt.Fprintf(&b, "    %s\n\n", usageOf(cmd))
		}
		b.WriteString(textOf(cmd) + "\n")
		flags := slices.DeleteFunc(flagsOf(cmd), func(f flag) bool { return slices.Contains(common, f.names) })
		if len(flags) > 0 {
			b.WriteString("\n| flag | |\n|---|---|\n")
			for _, f := range flags {
				fmt.Fprintf(&b, "| `%s` | %s |\n", strings.TrimSpace(f.names+" "+f.value), strings.ReplaceAll(f.usage, "|", `\|`))
			}
		}
		if cmd.Example != "" {
			b.WriteString("\n" + indent(cmd.Example) + "\n")
		}
	})
	return b.String()
}

// indent makes examples, which begin with two spaces, a block of code.
func indent(example string) string {
	return "  " + strings.ReplaceAll(example, "\n", "\n  ")
}
