package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestGuardMeasuresAgainUntilTheNoiseIsGone(t *testing.T) {
	g := guarded{Name: "a", Ratio: 1}
	for name, c := range map[string]struct {
		ratios []float64 // of the tries
		tries  int
		fails  bool
	}{
		"within at once":      {[]float64{1.1}, 1, false},
		"within at last":      {[]float64{3, 2, 1.2, 1.14}, 4, false},
		"never within":        {[]float64{3, 1.2, 1.16}, guardTries, true},
		"better than it was":  {[]float64{0.5}, 1, false},
		"just past, for ever": {[]float64{1.151}, guardTries, true},
	} {
		tries := 0
		_, err := g.timed(func() (result, error) {
			r := result{Name: "a", Min: c.ratios[min(tries, len(c.ratios)-1)] * 30, Control: 30}
			tries++
			return r, nil
		})
		if tries != c.tries || (err != nil) != c.fails {
			t.Errorf("%s: %d tries, %v; want %d, failure %v", name, tries, err, c.tries, c.fails)
		}
	}
	broken := errors.New("no kernel")
	if _, err := g.timed(func() (result, error) { return result{}, broken }); !errors.Is(err, broken) {
		t.Errorf("a measurement that fails: %v, want %v", err, broken)
	}
}

func TestGuardCountsInstructions(t *testing.T) {
	g := guarded{Name: "a", Instructions: 400}
	if err := g.executes(result{Name: "a", Instructions: 459}); err != nil {
		t.Error(err)
	}
	if err := g.executes(result{Name: "a", Instructions: 461}); err == nil || !strings.Contains(err.Error(), "461") {
		t.Errorf("461 of 400 instructions: %v", err)
	}
}

func TestBaselineKeepsWhatNoiseCannotMove(t *testing.T) {
	file := filepath.Join(t.TempDir(), "baseline.json")
	err := writeBaseline(file, []result{
		{Name: "tcp4/ipip/1", Min: 30, Control: 32, Instructions: 400},
		{Name: "pass/arp", Min: 3, Control: 26, Instructions: 43},
		{Name: "services/10k", Min: 200, Control: 33, Instructions: 425},
	})
	if err != nil {
		t.Fatal(err)
	}
	base, err := readBaseline(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]guarded{
		"tcp4/ipip/1": {"tcp4/ipip/1", 400, 0.938}, "pass/arp": {"pass/arp", 43, 0}, "services/10k": {"services/10k", 425, 0},
	} {
		if base[name] != want {
			t.Errorf("baseline %+v, want %+v", base[name], want)
		}
	}
}

func TestCommittedBaselineNamesEveryCase(t *testing.T) {
	base, err := readBaseline("baseline.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases() {
		if g, ok := base[c.name]; c.reference == "" && (!ok || g.Instructions == 0) {
			t.Errorf("%s is not in the baseline: make bench-baseline", c.name)
		}
		delete(base, c.name)
	}
	for name := range base {
		t.Errorf("the baseline names %s, which is no case", name)
	}
}
