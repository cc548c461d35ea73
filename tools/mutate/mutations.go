package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutations is every way to break the data path that the tests must notice. What no packet can tell from the right
// program, such as a record that nobody will read, does not belong here.
var mutations = slices.Concat(arrival, lookup, choice, departure, signals, beside)

// programs are what the C of package bpf is compiled to.
var programs = []string{"xlb", "decap", "probe"}

// mutation is one way: in a file of the folder bpf, a text that is there exactly once becomes another. The name begins
// with the stage and says what is wrong afterwards.
type mutation struct{ name, file, old, new string }

func (m mutation) stage() string {
	stage, _, _ := strings.Cut(m.name, ":")
	return stage
}

// program is the one that the tests are asked about.
func (m mutation) program() string {
	if name, ok := strings.CutSuffix(m.file, ".c"); ok && slices.Contains(programs, name) {
		return name
	}
	return "xlb"
}

// applyTo returns the file's content with the mutation, for the module in a folder.
func (m mutation) applyTo(root string) (string, error) {
	source, err := os.ReadFile(filepath.Join(root, "bpf", m.file))
	if err != nil {
		return "", fmt.Errorf("mutation %q: %w", m.name, err)
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return "", fmt.Errorf("mutation %q: its text is %d times in bpf/%s, not once: bring the list in tools/mutate up to date", m.name, n, m.file)
	}
	return strings.Replace(string(source), m.old, m.new, 1), nil
}
