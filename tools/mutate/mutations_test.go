package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// The list speaks about the C as it is now; whoever changes a line that it names changes both.
func TestEveryMutationFitsTheSource(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range mutations {
		if seen[m.name] {
			t.Errorf("two mutations are called %q", m.name)
		}
		seen[m.name] = true
		if stageTests[m.stage()] == "" {
			t.Errorf("mutation %q: its stage has no tests", m.name)
		}
		if _, err := m.applyTo(root); err != nil {
			t.Error(err)
		}
		if m.old == m.new {
			t.Errorf("mutation %q changes nothing", m.name)
		}
	}
}

func TestMutationRefusesATextThatIsNotThereOnce(t *testing.T) {
	for _, text := range []string{"no such text", "p->data_end"} {
		_, err := mutation{name: "stage: fault", file: "lib/parse.h", old: text}.applyTo(root)
		if err == nil || !strings.Contains(err.Error(), `"stage: fault"`) || !strings.Contains(err.Error(), "not once") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestEveryStageNamesTestsThatThereAre(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "bpf", "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var source []byte
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, content...)
	}
	for stage, tests := range stageTests {
		for _, part := range strings.Split(tests, "|") {
			if !regexp.MustCompile(`func Test\w*` + part).Match(source) {
				t.Errorf("stage %s: no test of package bpf matches %s", stage, part)
			}
		}
	}
}
