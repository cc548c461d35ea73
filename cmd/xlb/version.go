package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control/api"
)

// versions are those of the command and of the daemon.
type versions struct {
	Client string       `json:"client"`
	Daemon *api.Version `json:"daemon"` // null: none answers
}

func versionCommand() *cobra.Command {
	var s session
	var f format
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the version of this command and of the daemon",
		Long:    "Shows the version of this command and of the daemon. After an upgrade they differ until the daemon is restarted.",
		Example: "  xlb version\n  xlb version -o json",
		Args:    takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := s.client()
			defer client.Close()
			v := versions{Client: versionString()}
			daemon, err := client.Version(cmd.Context())
			switch {
			case err == nil:
				v.Daemon = &daemon
			case !errors.Is(err, api.ErrNotRunning):
				return err
			}
			return show(cmd.OutOrStdout(), f, v, func(w io.Writer) {
				fmt.Fprintf(w, "client  %s\n", v.Client)
				if v.Daemon == nil {
					fmt.Fprintf(w, "daemon  none answers on %s\n", client.Socket())
					return
				}
				fmt.Fprintf(w, "daemon  %s, instance %s\n", v.Daemon.Version, v.Daemon.Instance)
			})
		},
	}
	s.flags(cmd)
	outputFlag(cmd, &f, asTable, asJSON, asYAML)
	return cmd
}
