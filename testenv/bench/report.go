package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// bar is the most that a case may cost: a multiple of another case of the run, or ns.
type bar struct {
	name, of string
	most     float64
}

// bars compare minima, which noise moves least.
var bars = []bar{
	{"tcp4/ipip/1", "ref/lru-hash/1", 1.5},
	{"tcp4/ipip/1", "", 45},
	{"tcp4/ipip/1M", "ref/lru-hash/1M", 0.30},
	{"tcp4/ipip/10M", "tcp4/ipip/1M", 1.15},
	{"tcp4/l2/1", "tcp4/ipip/1", 0.85},
	{"tcp4/gue/1", "tcp4/ipip/1", 1.3},
	{"tcp6/ipip/1M", "tcp4/ipip/1M", 1.35},
	{"new-flow/ipip", "tcp4/ipip/1M", 1.1},
	{"transition/ipip/1M", "tcp4/ipip/1M", 4},
	{"pass/not-ours-v4", "", 8},
	{"pass/arp", "", 3},
	{"services/10k", "tcp4/ipip/1M", 1.5},
}

func writeJSON(file string, results []result) error {
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// printTable prints results and bars, and returns how many bars are missed. A bar
// whose cases were not measured is left out.
func printTable(out io.Writer, results []result) (missed int) {
	min := map[string]float64{}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "case\tmin\tmedian\tcontrol\tinstructions\t")
	for _, r := range results {
		min[r.Name] = r.Min
		instructions := ""
		if r.Instructions > 0 {
			instructions = fmt.Sprint(r.Instructions)
		}
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%s\t\n", r.Name, r.Min, r.Median, r.Control, instructions)
	}
	fmt.Fprintln(w, "\t\t\t\t\t")
	fmt.Fprintln(w, "bar\tis\tat most\t\t\t")
	for _, b := range bars {
		is, measured := min[b.name]
		unit := "ns"
		if b.of != "" {
			of, both := min[b.of]
			is, measured, unit = is/of, measured && both, "x "+b.of
		}
		if !measured {
			continue
		}
		verdict := "pass"
		if is > b.most {
			verdict = "MISS"
			missed++
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f %s\t%s\t\t\n", b.name, is, b.most, unit, verdict)
	}
	_ = w.Flush()
	return missed
}
