// Command e2e measures balancers from the sender's frame to the receiver's, in
// namespaces joined by veth: UDP packets by CPU time per delivered packet, HTTP
// over TCP by CPU time and latency per request. All take turns within one run.
// docs/PERFORMANCE.md has the method.
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
	flag.StringVar(&o.json, "json", "bench-e2e.json", "write the results to this `file`")
	flag.StringVar(&o.xlb, "xlb", "bin/xlb", "`path` of the binary to start")
	flag.BoolVar(&o.check, "check", false, "exit with status 1 if a bar is missed")
	flag.IntVar(&o.rounds, "rounds", 20, "rounds over all balancers of UDP packets")
	flag.IntVar(&o.webRounds, "web-rounds", 6, "rounds over all balancers of TCP requests")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintf(os.Stderr, "bench-e2e: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	json, xlb         string
	check             bool
	rounds, webRounds int
}

func run(ctx context.Context, o options) error {
	results, err := benchPackets(ctx, o)
	if err != nil {
		return fmt.Errorf("measure packets: %w", err)
	}
	web, err := benchWeb(ctx, o)
	if err != nil {
		return fmt.Errorf("measure requests: %w", err)
	}
	return report.Write(os.Stdout, o.json, append(results, web...), o.check)
}
