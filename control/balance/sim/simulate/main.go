// Command simulate prints the tables of docs/CONSISTENCY.md.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/xlb-project/xlb/control/balance/sim"
)

func main() {
	seed := flag.Uint64("seed", 1, "everything random comes from it")
	flows := flag.Int("flows", 1_000_000, "connections")
	flag.Parse()
	if err := simulate(*seed, *flows); err != nil {
		fmt.Fprintln(os.Stderr, "simulate:", err)
		os.Exit(1)
	}
}

func simulate(seed uint64, flows int) error {
	cfg := sim.Field(seed, flows)
	result, err := sim.Run(cfg)
	if err != nil {
		return err
	}
	return result.WriteMarkdown(os.Stdout, cfg)
}
