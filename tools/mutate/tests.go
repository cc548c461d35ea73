package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// testBinary is the tests of package bpf, compiled once. The object of the data path lies in it with room behind it, so
// that another object can take its place: what follows the sections of an ELF file is nobody's.
type testBinary struct {
	content      []byte
	object, room int // where the object is, and how long it may be
}

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
	"quic":       "QUIC",
	"rate":       "Rate|Source|Connections",
	"sanity":     "Sources|Lengths|Checksum",
	"service":    "Listener|Range",
	"size":       "TooBig|Told|MTU",
	"slot":       "Slot|Affinity",
	"tracking":   "Flow",
	"ttl":        "TTL|Hop",
	"vip":        "Listener|VIP",
}

// buildTests compiles the tests of a tree whose object is that of its C, and leaves the object in the tree too long.
func buildTests(ctx context.Context, t tree, object []byte) (*testBinary, error) {
	padded := append(bytes.Clone(object), make([]byte, len(object))...)
	if err := os.WriteFile(t.objectFile(), padded, 0o644); err != nil {
		return nil, err
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
	if n := bytes.Count(content, padded); n != 1 {
		return nil, fmt.Errorf("the object is %d times in the test binary, not once: is it still embedded as it is?", n)
	}
	return &testBinary{content, bytes.Index(content, padded), len(padded)}, nil
}

// run runs the tests with an object in place of the one they were compiled with, up to the first that fails: the fuzz
// test, which is the fastest to notice, then those of the mutation's stage, then the rest.
func (b *testBinary) run(ctx context.Context, t tree, object []byte, m mutation) (result, error) {
	if len(object) > b.room {
		return result{}, errors.New("the object has more than doubled by a small mutation")
	}
	content := bytes.Clone(b.content)
	place := content[b.object : b.object+b.room]
	clear(place[copy(place, object):])
	path := filepath.Join(t.dir, "bpf.test")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		return result{}, err
	}
	rounds := [][]string{{"-test.run=" + fuzzTest}, {"-test.skip=" + fuzzTest + "|^TestDecap"}}
	if tests, ok := stageTests[m.stage()]; ok {
		rounds = slices.Insert(rounds, 1, []string{"-test.run=" + tests, rounds[1][0]})
	}
	for _, which := range rounds {
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
