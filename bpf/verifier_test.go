package bpf_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// The kernel gives up on a program after following a million instructions, and other
// kernels follow more of the same program than this one.
func TestVerifierHasRoomToSpare(t *testing.T) {
	const most = 600_000
	spec, err := bpf.LoadXlb()
	if err != nil {
		t.Fatal(err)
	}
	if err := maps.Specialise(spec, maps.Settings{Limits: testLimits}, maps.AllFeatures()); err != nil {
		t.Fatal(err)
	}
	opts := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}}
	coll, err := ebpf.NewCollectionWithOptions(spec, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer coll.Close()
	log := coll.Programs[bpf.XlbProgXlb].VerifierLog
	var n int
	if _, err := fmt.Sscanf(log[max(0, strings.Index(log, "processed")):], "processed %d insns", &n); err != nil {
		t.Fatalf("no count in what the verifier says: %v: %s", err, log)
	}
	t.Logf("%d instructions followed", n)
	if n > most {
		t.Errorf("the verifier follows %d instructions of the program with all features, want at most %d", n, most)
	}
}
