package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const contrib = "../../contrib/"

// examples are the files in contrib that a node can be started with.
func examples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(contrib + "examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	return append(files, contrib+"xlb.example.yaml")
}

func TestExamplesLoad(t *testing.T) {
	for _, file := range examples(t) {
		if c, err := Load(file); err != nil {
			t.Error(err)
		} else if len(c.Services) == 0 {
			t.Errorf("%s has no service", file)
		}
	}
}

func TestExamplesReadTheSameWhenWritten(t *testing.T) {
	for _, file := range examples(t) {
		c, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		if changes := Diff(c, parse(t, string(written(t, c)))); len(changes) > 0 {
			t.Errorf("%s: %v", file, changes)
		}
	}
}

func TestTheExampleShowsEveryField(t *testing.T) {
	text, err := os.ReadFile(contrib + "xlb.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" \n{},[]", r) })
	FileSchema(func(path string) string {
		if name := path[strings.LastIndex(path, ".")+1:]; !slices.Contains(words, name+":") {
			t.Errorf("%s is not shown", path)
		}
		return ""
	})
}

// What is commented out may be written instead of what stands above it.
func TestAlternativesInTheExampleAreRight(t *testing.T) {
	text, err := os.ReadFile(contrib + "xlb.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lines, tried := strings.Split(string(text), "\n"), 0
	for i, line := range lines {
		indent, alternative, found := strings.Cut(line, "# ")
		field, _, isField := strings.Cut(alternative, ": ")
		if !found || strings.TrimSpace(indent) != "" || !isField || strings.Contains(field, " ") || strings.HasSuffix(field, "_file") ||
			strings.Contains(alternative, "_file") || field == "include" || strings.HasPrefix(alternative, "yaml-") {
			continue
		}
		instead := slices.Clone(lines)
		for j := i; j >= 0; j-- {
			if strings.HasPrefix(lines[j], indent+field+": ") {
				instead[j] = indent + alternative
				break
			}
		}
		tried++
		text := strings.Replace(strings.Join(instead, "\n"), "allow_exec: false", "allow_exec: true", 1)
		if _, err := parseIn("example", []byte(text), contrib); err != nil {
			t.Errorf("with %s: %v", alternative, err)
		}
	}
	if tried < 4 {
		t.Errorf("only %d alternatives were found", tried)
	}
}
