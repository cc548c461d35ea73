// Command control measures the control plane: how long slot tables take to
// compute, a change of health to reach all slots, a large configuration to be
// applied, xlb to begin forwarding, and what many health checks cost.
// docs/PERFORMANCE.md has the method.
package main

import (
	"context"
	"errors"
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
	flag.StringVar(&o.only, "only", "", "measure this `part` alone: tables, flips, small, large or probes")
	flag.IntVar(&o.targets, "targets", 10_000, "`number` of targets to probe")
	served := flag.String(servedFlag[1:], "", "be the servers to probe, and write their certificate to this `file`")
	flag.Parse()
	if *served != "" {
		if err := serveProbed(*served); err != nil {
			fmt.Fprintf(os.Stderr, "bench-control: serve: %v\n", err)
			os.Exit(1)
		}
		return
	}
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintf(os.Stderr, "bench-control: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	json, xlb, only string
	check           bool
	targets         int
}

func run(ctx context.Context, o options) error {
	var results []report.Result
	var failed error // of a part that could not be measured: the others are
	for _, part := range []struct {
		name  string
		bench func(context.Context, options) ([]report.Result, error)
	}{
		{"tables", benchTables}, {"flips", benchFlips}, {"small", benchSmall}, {"large", benchLarge}, {"probes", benchProbes},
	} {
		if o.only != "" && o.only != part.name {
			continue
		}
		r, err := part.bench(ctx, o)
		failed = errors.Join(failed, err)
		results = append(results, r...)
	}
	return errors.Join(report.Write(os.Stdout, o.json, results, o.check), failed)
}
