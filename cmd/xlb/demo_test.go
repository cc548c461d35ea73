package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/xlb-project/xlb/cmd/xlb/internal/demo"
)

// xlbProcess prepares a process of xlb whose temporary files go to a folder of
// their own, which must be empty when it has ended.
func xlbProcess(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(deadline(t), self.Path, args...)
	cmd.Env = append(append(os.Environ(), self.Env...), "TMPDIR="+dir)
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return cmd
}

func TestDemoKeepsItsPromisesAndPrintsJSONAlone(t *testing.T) {
	cmd := xlbProcess(t, "demo", "--json", "--requests", "600", "--backends", "4")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
	}
	if stderr.Len() > 0 {
		t.Errorf("standard error has %q", &stderr)
	}
	decoder := json.NewDecoder(&stdout)
	decoder.DisallowUnknownFields()
	var r demo.Result
	if err := decoder.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if decoder.More() {
		t.Error("there is more than JSON on standard output")
	}
	if !r.OK || r.Total.FailedOutsideWindow != 0 || r.Total.MovedNeedlessly != 0 {
		t.Errorf("not as promised: %+v", r)
	}
	var names []string
	for _, p := range r.Phases {
		names = append(names, p.Name)
		if p.Name != demo.Kill && p.Requests != 600 {
			t.Errorf("phase %s had %d requests, want 600", p.Name, p.Requests)
		}
		if detects := p.Name == demo.Kill || p.Name == demo.Restored; detects != (p.DetectMs != nil) {
			t.Errorf("phase %s: detection after %v", p.Name, p.DetectMs)
		}
	}
	if !slices.Equal(names, demo.Phases) {
		t.Fatalf("phases %q, want %q", names, demo.Phases)
	}
	const victim = "backend3"
	spread, without, restored := r.Phases[0], r.Phases[2], r.Phases[3]
	if n := without.PerBackend[victim]; n != 0 {
		t.Errorf("the dead backend answered %d requests", n)
	}
	if without.Moved != spread.PerBackend[victim] || without.Moved == 0 {
		t.Errorf("%d clients moved, want all %d of the dead backend", without.Moved, spread.PerBackend[victim])
	}
	if restored.Moved != 0 {
		t.Errorf("%d clients are elsewhere than at first", restored.Moved)
	}
	// At the very least a SYN, an ACK and a request of every connection came by.
	d := r.DataPath
	if d.Runs < 3*uint64(r.Total.Requests) || d.RunSeconds <= 0 || d.CPUSeconds <= d.RunSeconds {
		t.Errorf("data path %+v for %d requests", d, r.Total.Requests)
	}
}

func TestDemoWithoutATerminalPrintsALinePerPhaseAndATable(t *testing.T) {
	cmd := xlbProcess(t, "demo", "--requests", "150")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if bytes.Contains(out, []byte("\x1b")) {
		t.Errorf("control sequences in a pipe: %q", out)
	}
	for _, want := range []string{"✓ spread ", "✓ kill ", "✓ without it ", "✓ restored ", "\n  needlessly ", "Per packet: ", "As promised"} {
		if n := strings.Count(string(out), want); n != 1 {
			t.Errorf("%q is there %d times in:\n%s", want, n, out)
		}
	}
}

func TestInterruptedDemoCleansUpAndEndsWithStatus130(t *testing.T) {
	cmd := xlbProcess(t, "demo", "--requests", "1000000")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The first line is written when the lab stands and requests begin.
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != interruptedStatus {
		t.Errorf("ended with %v, want status %d", err, interruptedStatus)
	}
	if !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("standard error has %q", &stderr)
	}
}

func TestDemoNeedsRootAndSaysSo(t *testing.T) {
	const nobody = 65534
	cmd := xlbProcess(t, "demo")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "run `sudo xlb demo`") {
		t.Errorf("ended with %v and %q, want status 1 and a remedy", err, out)
	}
}

func TestDemoReportFitsOnATerminalOf24LinesOf80Columns(t *testing.T) {
	ms := 12_345.0
	phase := func(name string) demo.Phase {
		return demo.Phase{
			Name: name, Requests: 123_456, Failed: 99_999, FailedInWindow: 99_999, Moved: 99_999, DetectMs: &ms,
			PerBackend: map[string]int{"backend1": 99_999, "backend2": 99_999, "backend3": 99_999},
		}
	}
	r := demo.Result{OK: true, Total: demo.Total{Requests: 123_456, Seconds: 12.3}}
	for _, name := range demo.Phases {
		r.Phases = append(r.Phases, phase(name))
	}
	r.DataPath = demo.DataPath{Runs: 123_456, NsPerRun: 999, RunSeconds: 1.234, CPUSeconds: 12.3, CPUPercent: 99.9}
	var out strings.Builder
	printDemo(&out, r)
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	const progress = 2 + 1 + 4 // of introduction, blank line and phases, which stay above
	if n := strings.Count(out.String(), "\n") + progress; n >= 24 {
		t.Errorf("%d lines with the phases above, want less than 24", n)
	}
}

func TestBrokenPromiseIsAnErrorThatNamesIt(t *testing.T) {
	if err := promises(demo.Result{OK: true}); err != nil {
		t.Error(err)
	}
	err := promises(demo.Result{Broken: []string{"7 clients moved without need"}})
	if err == nil || !strings.Contains(err.Error(), "7 clients moved without need") {
		t.Errorf("got %v, want the promise", err)
	}
}
