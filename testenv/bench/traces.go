package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/xlb-project/xlb/testenv/bench/trace"
)

// printTraces prints what one packet of each case executes, and how large its program is.
func printTraces(out io.Writer, benches []*bench) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, b := range benches {
		info, err := b.product.program().Info()
		if err != nil {
			return fmt.Errorf("ask for the program of %s: %w", b.name, err)
		}
		size, err := info.JitedSize()
		if err != nil {
			return fmt.Errorf("ask for the size of the program of %s: %w", b.name, err)
		}
		functions, _ := info.JitedFuncLens()
		fmt.Fprintf(w, "%s: %d instructions of BPF; the program has %d bytes of machine code, in functions of %d\n", b.name, b.way.Instructions, size, functions)
		for _, kind := range slices.Sorted(maps.Keys(b.way.Kinds)) {
			fmt.Fprintf(w, "%d\t%s\n", b.way.Kinds[kind], kind)
		}
		byPlace := func(a, b trace.Line) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Number, b.Number)) }
		for _, line := range slices.SortedFunc(maps.Keys(b.way.Lines), byPlace) {
			fmt.Fprintf(w, "%d\t%s:%d\t%s\n", b.way.Lines[line], line.File, line.Number, line.Text)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
