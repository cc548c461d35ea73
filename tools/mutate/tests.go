package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// testBinary is the tests of package bpf, compiled once. The objects of the programs lie in it with room behind them, so
// that another object can take one's place: what follows the sections of an ELF file is nobody's.
type testBinary struct {
	content []byte
	places  map[string]place // by program
}

// place is where an object is, and how long it may be.
type place struct{ object, room int }

// The same packets for every mutation. What they notice at all they mostly notice within a second.
const (
	fuzzTest = "^TestProgramAndModelAgreeOnRandomPackets$"
	fuzzTime = "3s"
	fuzzSeed = "1"
)

// stageTests are, for the first word of a mutation's name, the tests to ask before all others: a matter of time alone.
var stageTests = map[string]string{
	"answer":     "TooBig|Quoted",
	"checksum":   "UDPChecksum|Way",
	"count":      "CPU|Interface",
	"decap":      "Decap",
	"emit":       "Interface|Redirect",
	"extensions": "Extension",
	"filter":     "Filter|Rules|List",
	"fragment":   "Fragment",
	"gue":        "Way|UDPChecksum",
	"hash":       "Hash|Affinity",
	"hop":        "Hop|Sources",
	"icmp":       "Echo|Error",
	"ip":         "Lengths|Link",
	"link":       "Tags|Link",
	"mss":        "MSS",
	"next hop":   "Hop",
	"node rules": "DenyList",
	"outer4":     "Way|Outer",
	"outer6":     "Way|Outer",
	"ports":      "Lengths|Fragments",
	"probe":      "Probe",
	"quic":       "QUIC",
	"rate":       "Rate|Source|Connections",
	"sanity":     "Sources|Lengths|Checksum",
	"service":    "Listener|Range",
	"signals":    "Handshake|SYNs",
	"silence":    "Silence",
	"size":       "TooBig|Told|MTU",
	"slot":       "Slot|Affinity",
	"tracking":   "Flow",
	"ttl":        "TTL|Hop",
	"vip":        "Listener|VIP",
}

// buildTests compiles the tests of a tree whose objects are those of its C, and leaves the objects in the tree too long.
func buildTests(ctx context.Context, t tree, objects map[string][]byte) (*testBinary, error) {
	padded := map[string][]byte{}
	for program, object := range objects {
		padded[program] = append(bytes.Clone(object), make([]byte, len(object))...)
		if err := os.WriteFile(t.objectFile(program), padded[program], 0o644); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(t.dir, "bpf.test")
	out, failed, err := run(ctx, t.dir, "go", "test", "-c", "-o", path, "./bpf")
	if err != nil {
		return nil, err
	}
	if failed {
		return nil, fmt.Errorf("compile the tests:\n%s", out)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	tests := &testBinary{content, map[string]place{}}
	for program, object := range padded {
		if n := bytes.Count(content, object); n != 1 {
			return nil, fmt.Errorf("the object of %s is %d times in the test binary, not once: is it still embedded as it is?", program, n)
		}
		tests.places[program] = place{bytes.Index(content, object), len(object)}
	}
	return tests, nil
}

// run runs the tests with an object in place of the one they were compiled with, up to the first that fails.
func (b *testBinary) run(ctx context.Context, t tree, object []byte, m mutation) (result, error) {
	at := b.places[m.program()]
	if len(object) > at.room {
		return result{}, errors.New("the object has more than doubled by a small mutation")
	}
	content := bytes.Clone(b.content)
	place := content[at.object : at.object+at.room]
	clear(place[copy(place, object):])
	path := filepath.Join(t.dir, "bpf.test")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		return result{}, err
	}
	for _, which := range rounds(m) {
		args := append([]string{"-test.failfast", "-test.timeout=10m"}, which...)
		out, failed, err := run(ctx, filepath.Join(t.dir, "bpf"), path, args...)
		if err != nil {
			return result{}, err
		}
		if failed {
			return testsSay(out)
		}
	}
	return result{}, nil
}

// rounds are the tests to run, in order: of the data path the fuzz test, which is the fastest to notice, then those of the
// mutation's stage, then the rest; of another program those that are named after it.
func rounds(m mutation) [][]string {
	if program := m.program(); program != "xlb" {
		return [][]string{{"-test.run=^Test" + strings.ToUpper(program[:1]) + program[1:]}}
	}
	all := [][]string{{"-test.run=" + fuzzTest}, {"-test.skip=" + fuzzTest + "|^TestDecap|^TestProbe"}}
	if tests, ok := stageTests[m.stage()]; ok {
		all = slices.Insert(all, 1, []string{"-test.run=" + tests, all[1][0]})
	}
	return all
}
