// Package report collects what benchmarks measured, compares it with their bars,
// and writes both out.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// Result is what one case took over several samples.
type Result struct {
	Name    string   `json:"name"`
	Min     float64  `json:"min"`
	Median  float64  `json:"median"`
	Unit    string   `json:"unit"`
	Control *float64 `json:"control,omitempty"` // minimum of what was taken off
	Bar     *float64 `json:"bar,omitempty"`     // most that Min may be
}

// Of returns the result of at least one sample.
func Of(name, unit string, samples []float64) Result {
	return Result{Name: name, Min: slices.Min(samples), Median: Median(samples), Unit: unit}
}

// AtMost gives a result a bar.
func (r Result) AtMost(bar float64) Result {
	r.Bar = &bar
	return r
}

// Over notes what the samples are already less by.
func (r Result) Over(control float64) Result {
	r.Control = &control
	return r
}

// Missed tells whether a result is past its bar.
func (r Result) Missed() bool { return r.Bar != nil && r.Min > *r.Bar }

// Median returns the middle one of at least one sample.
func Median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// Write prints results as a table and writes them to a file as JSON. It returns
// an error that counts the bars missed, if check asks for it.
func Write(out io.Writer, file string, results []Result, check bool) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "case\tmin\tmedian\tunit\tbar\t")
	missed := 0
	for _, r := range results {
		bar := ""
		if r.Bar != nil {
			bar = fmt.Sprintf("<= %.4g", *r.Bar)
		}
		if r.Missed() {
			missed++
			bar += " MISSED"
		}
		fmt.Fprintf(w, "%s\t%.4g\t%.4g\t%s\t%s\t\n", r.Name, r.Min, r.Median, r.Unit, bar)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print results: %w", err)
	}
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if check && missed > 0 {
		return fmt.Errorf("%d bars missed", missed)
	}
	return nil
}
