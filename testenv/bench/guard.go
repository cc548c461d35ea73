package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// guarded is what a case may cost: a case of the committed baseline.
type guarded struct {
	Name         string `json:"name"`
	Instructions int    `json:"instructions"` // of BPF, for one packet

	// Ratio of the case's time to its control's, minima, 0 if it is not timed: the
	// control runs in turn with it, so that neither the clock nor the load enter.
	Ratio float64 `json:"ratio,omitempty"`
}

const (
	tolerance   = 1.15
	guardRounds = 10 // per try
	guardTries  = 12
	timedLeast  = 10 // ns: what is less is noise to a seventh
)

// memoryBound are cases whose time other users of the caches decide.
var memoryBound = []string{"transition/ipip/1M", "drop/denied-source", "services/10k", "services/10k/509-slots", "backends/10k"}

// isTimed tells whether a case's time can be told from noise on a machine that does other things as well.
func isTimed(r result) bool {
	return r.Min >= timedLeast && !slices.Contains(memoryBound, r.Name)
}

func readBaseline(file string) (map[string]guarded, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read baseline: %w", err)
	}
	var list []guarded
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read baseline %s: %w", file, err)
	}
	base := map[string]guarded{}
	for _, g := range list {
		base[g.Name] = g
	}
	return base, nil
}

func writeBaseline(file string, results []result) error {
	var list []guarded
	for _, r := range results {
		g := guarded{Name: r.Name, Instructions: r.Instructions}
		if isTimed(r) {
			g.Ratio = float64(int(1000*r.Min/r.Control+0.5)) / 1000
		}
		list = append(list, g)
	}
	text, err := json.MarshalIndent(list, "", "\t")
	if err != nil {
		return fmt.Errorf("encode baseline: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// executes says whether a packet executes too much, which no try would change.
func (g guarded) executes(r result) error {
	if float64(r.Instructions) > tolerance*float64(g.Instructions) {
		return fmt.Errorf("%s executes %d instructions of BPF, the baseline's %d", r.Name, r.Instructions, g.Instructions)
	}
	return nil
}

// takes says whether a packet takes too long.
func (g guarded) takes(r result) error {
	if is := r.Min / r.Control; is > tolerance*g.Ratio {
		return fmt.Errorf("%s takes %.3f times its control, the baseline's %.3f", r.Name, is, g.Ratio)
	}
	return nil
}

// timed measures a case until it is within the baseline, or often enough. All samples count, since noise only adds: the
// minimum of more of them comes nearer to what the case costs. measure returns what all samples so far say.
func (g guarded) timed(measure func() (result, error)) (result, error) {
	for try := 1; ; try++ {
		r, err := measure()
		if err != nil {
			return r, err
		}
		if err := g.takes(r); err == nil || try == guardTries {
			return r, err
		}
	}
}

// guard compares cases with a baseline.
func guard(st *stage, benches []*bench, file string) error {
	base, err := readBaseline(file)
	if err != nil {
		return err
	}
	var results []result
	var failed error
	for _, b := range benches {
		g, ok := base[b.name]
		if !ok {
			return fmt.Errorf("%s is not in the baseline %s: write it anew with -update", b.name, file)
		}
		r := result{Name: b.name, Instructions: b.way.Instructions}
		failed = errors.Join(failed, g.executes(r))
		if g.Ratio > 0 {
			r, err = g.timed(func() (result, error) {
				if err := b.measure(st, guardRounds); err != nil {
					return result{}, err
				}
				return b.result()
			})
			failed = errors.Join(failed, err)
		}
		results = append(results, r)
	}
	printGuard(os.Stdout, base, results)
	return failed
}

// update writes a baseline of what is.
func update(st *stage, benches []*bench, o options) error {
	results, err := measure(st, benches, o.rounds)
	if err != nil {
		return err
	}
	return writeBaseline(o.guard, results)
}

func printGuard(out io.Writer, base map[string]guarded, results []result) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "case\tinstructions\tbaseline\tof control\tbaseline\t")
	for _, r := range results {
		g := base[r.Name]
		is, was := "", ""
		if g.Ratio > 0 {
			is, was = fmt.Sprintf("%.3f", r.Min/r.Control), fmt.Sprintf("%.3f", g.Ratio)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t\n", r.Name, r.Instructions, g.Instructions, is, was)
	}
	_ = w.Flush()
}
