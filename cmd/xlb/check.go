package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control/config"
)

// checked is what is known about a file.
type checked struct {
	Good     bool         `json:"good"`
	Services int          `json:"services"`
	Backends int          `json:"backends"`
	Errors   []checkFault `json:"errors"`
}

type checkFault struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

func checkCommand() *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say whether a configuration file is good, and what is wrong with it",
		Long: "Reads a file with all that it names, as the daemon would, and tells every mistake with its place. It looks at nothing\n" +
			"else: `xlb plan FILE` asks the daemon whether the file fits the machine. FILE - is standard input.",
		Example: "  xlb check /etc/xlb/xlb.yaml\n" +
			"  xlb check new.yaml -o json | jq -r '.errors[].message'",
		Args:              takes(1, 1),
		ValidArgsFunction: completeFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadFrom(args[0], cmd.InOrStdin())
			if f == asTable && err != nil {
				return err
			}
			out := checked{Good: err == nil, Errors: []checkFault{}}
			var faults config.Errors
			if err != nil && !errors.As(err, &faults) {
				return err
			}
			for _, e := range faults {
				out.Errors = append(out.Errors, checkFault(e))
			}
			if cfg != nil {
				out.Services = len(cfg.Services)
				for _, s := range cfg.Services {
					out.Backends += len(s.Backends)
				}
			}
			return errors.Join(show(cmd.OutOrStdout(), f, out, func(w io.Writer) {
				fmt.Fprintf(w, "%s is good: %s, %s\n", args[0], count(out.Services, "service"), count(out.Backends, "backend"))
			}), err)
		},
	}
	outputFlag(cmd, &f, asTable, asJSON, asYAML)
	return cmd
}
