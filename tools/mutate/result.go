package main

import (
	"fmt"
	"regexp"
	"strings"
)

// catcher is who noticed a mutation.
type catcher string

const (
	survived   catcher = "" // nobody
	byCompiler catcher = "compiler"
	byVerifier catcher = "verifier"
	byTests    catcher = "tests"
)

// result is what became of a mutation.
type result struct {
	mutation mutation
	by       catcher
	detail   string // one line of evidence
}

func (r result) String() string {
	if r.by == survived {
		return fmt.Sprintf("%-8s  %s", "SURVIVED", r.mutation.name)
	}
	return fmt.Sprintf("%-8s  %s (%s)", r.by, r.mutation.name, r.detail)
}

var (
	compilerError = regexp.MustCompile(`(?m)^\S+: error: (.*)`)
	refusal       = regexp.MustCompile(`program \w+: load program: (.*)`)
	failedTest    = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+) .*\n(?: *\S+_test\.go:\d+: (.*))?`)
)

func compilerSays(out string) string {
	if m := compilerError.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	return lastLine(out)
}

// testsSay tells from go test's output who noticed: a program that the verifier refuses fails the tests, too.
func testsSay(out string) (result, error) {
	if m := refusal.FindStringSubmatch(out); m != nil {
		return result{by: byVerifier, detail: m[1]}, nil
	}
	failures := failedTest.FindAllStringSubmatch(out, -1)
	if failures == nil {
		return result{}, fmt.Errorf("go test fails without a failed test:\n%s", out)
	}
	// The first failure, named with its deepest subtest: that has the message.
	deepest := failures[0]
	for _, f := range failures[1:] {
		if !strings.HasPrefix(f[1], deepest[1]+"/") {
			break
		}
		deepest = f
	}
	const width = 100 // of a message
	message := []rune(deepest[2])
	return result{by: byTests, detail: strings.TrimSuffix(deepest[1]+": "+string(message[:min(len(message), width)]), ": ")}, nil
}

func lastLine(out string) string {
	out = strings.TrimSpace(out)
	return out[strings.LastIndexByte(out, '\n')+1:]
}

// summary is one line about all results.
func summary(results []result) string {
	count := map[catcher]int{}
	var names []string
	for _, r := range results {
		count[r.by]++
		if r.by == survived {
			names = append(names, r.mutation.name)
		}
	}
	line := fmt.Sprintf("%d mutations, %d caught (%d by compiler, %d by verifier, %d by tests), %d survived",
		len(results), len(results)-count[survived], count[byCompiler], count[byVerifier], count[byTests], count[survived])
	if len(names) > 0 {
		line += ": " + strings.Join(names, "; ")
	}
	return line
}

// passes tells whether enough was caught.
func passes(results []result) bool {
	caught := 0
	for _, r := range results {
		if r.by != survived {
			caught++
		}
	}
	return 100*caught >= enough*len(results)
}
