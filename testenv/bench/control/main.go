// Command control measures the control plane: how long slot tables take to
// compute, a change of health to reach all slots, a large configuration to be
// applied, and xlb to begin forwarding. docs/PERFORMANCE.md has the method.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/xlb-project/xlb/testenv/bench/report"
)

func main() {
	var o options
	flag.StringVar(&o.json, "json", "bench-control.json", "write the results to this `file`")
	flag.StringVar(&o.xlb, "xlb", "bin/xlb", "`path` of the binary to start")
	flag.BoolVar(&o.check, "check", false, "exit with status 1 if a bar is missed")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintf(os.Stderr, "bench-control: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	json, xlb string
	check     bool
}

func run(ctx context.Context, o options) error {
	var results []report.Result
	for _, part := range []func(context.Context, options) ([]report.Result, error){benchTables, benchFlips, benchSmall, benchLarge} {
		r, err := part(ctx, o)
		if err != nil {
			return err
		}
		results = append(results, r...)
	}
	return report.Write(os.Stdout, o.json, results, o.check)
}
