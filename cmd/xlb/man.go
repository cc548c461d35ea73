package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/cmd/xlb/internal/reference"
)

func manCommand() *cobra.Command {
	var markdown string
	cmd := &cobra.Command{
		Use:     "man DIR",
		Short:   "Write man pages of all commands into a directory",
		Example: "  xlb man /usr/local/share/man/man1",
		Args:    takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			statuses := documentedStatuses()
			if markdown != "" {
				if err := os.WriteFile(markdown, []byte(reference.Markdown(cmd.Root(), statuses)), 0o644); err != nil {
					return fmt.Errorf("write the reference: %w", err)
				}
				return nil
			}
			if len(args) == 0 {
				return usagef(cmd, "something is missing: write %s", cmd.UseLine())
			}
			return reference.WriteMan(args[0], cmd.Root(), statuses)
		},
	}
	cmd.Flags().StringVar(&markdown, "markdown", "", "file for all of it as one document in Markdown, instead")
	_ = cmd.Flags().MarkHidden("markdown")
	return cmd
}

func documentedStatuses() []reference.ExitStatus {
	var out []reference.ExitStatus
	for _, s := range exitStatuses {
		out = append(out, reference.ExitStatus{Status: int(s.status), Meaning: s.meaning})
	}
	return out
}
