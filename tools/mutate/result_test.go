package main

import (
	"strings"
	"testing"
)

func TestFailedTestsSayWhoNoticed(t *testing.T) {
	for _, c := range []struct {
		name, out string
		want      result
	}{
		{
			"a failed subtest",
			"--- FAIL: TestOne (0.10s)\n    --- FAIL: TestOne/small (0.05s)\n        one_test.go:7: verdict 2, want 1\n" +
				"    --- FAIL: TestOne/large (0.05s)\n        one_test.go:7: verdict 3, want 1\nFAIL\n",
			result{by: byTests, detail: "TestOne/small: verdict 2, want 1"},
		},
		{
			"a message of the test itself",
			"--- FAIL: TestTwo (0.10s)\n    two_test.go:7: bytes out:\n        [1 2]\nFAIL\n",
			result{by: byTests, detail: "TestTwo: bytes out:"},
		},
		{
			"a test that failed without a message",
			"--- FAIL: TestThree (0.10s)\nFAIL\n",
			result{by: byTests, detail: "TestThree"},
		},
		{
			"a program that is refused",
			"--- FAIL: TestOne (0.10s)\n    path_test.go:66: load: program xlb: load program: permission denied: R1 invalid mem access (12 line(s) omitted)\nFAIL\n",
			result{by: byVerifier, detail: "permission denied: R1 invalid mem access (12 line(s) omitted)"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := testsSay(c.out)
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
	if got, err := testsSay("signal: killed\nFAIL\n"); err == nil {
		t.Errorf("tests that broke off count as %+v", got)
	}
}

func TestCompilerIsQuotedByItsFirstError(t *testing.T) {
	out := "In file included from xlb.c:3:\nlib/a.h:7:2: warning: so so\nlib/a.h:9:2: error: no member named 'x'\nlib/b.h:1:1: error: more\nexit status 1\n"
	if got := compilerSays(out); got != "no member named 'x'" {
		t.Errorf("got %q", got)
	}
	if got := compilerSays("bpf2go: no clang-19\n"); got != "bpf2go: no clang-19" {
		t.Errorf("got %q", got)
	}
}

func TestSummaryCountsByWhoNoticedAndNamesSurvivors(t *testing.T) {
	results := []result{{by: byTests}, {by: byTests}, {by: byCompiler}, {by: byVerifier}, {mutation: mutation{name: "stage: fault"}}}
	const want = "5 mutations, 4 caught (1 by compiler, 1 by verifier, 2 by tests), 1 survived: stage: fault"
	if got := summary(results); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := summary(results[:4]); !strings.HasSuffix(got, ", 0 survived") {
		t.Errorf("got %q", got)
	}
}

func TestNinetyFivePerCentAreEnough(t *testing.T) {
	for _, c := range []struct {
		caught, survived int
		want             bool
	}{{19, 1, true}, {18, 1, false}, {189, 11, false}, {1, 0, true}, {0, 1, false}} {
		results := make([]result, c.caught+c.survived)
		for i := range c.caught {
			results[i].by = byTests
		}
		if got := passes(results); got != c.want {
			t.Errorf("%d caught, %d survived: %v, want %v", c.caught, c.survived, got, c.want)
		}
	}
}
