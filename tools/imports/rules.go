package main

import (
	"fmt"
	"slices"
	"strings"
)

const (
	module = "github.com/xlb-project/xlb/"
	ebpf   = "github.com/cilium/ebpf"
)

// rule says what a layer's packages may import besides the standard library and their own layer.
type rule struct {
	layers []string // other layers
	ebpf   bool     // cilium/ebpf
	others bool     // other modules
}

// rules has every layer; a package outside them is a fault, so that a new layer is a decision.
var rules = map[string]rule{
	"bpf":     {ebpf: true},
	"maps":    {layers: []string{"bpf"}, ebpf: true, others: true},
	"loader":  {layers: []string{"bpf", "maps"}, ebpf: true, others: true},
	"control": {layers: []string{"bpf", "maps"}, others: true},
	"testenv": {layers: []string{"bpf", "maps", "loader", "control"}, ebpf: true, others: true},
	"cmd":     {layers: []string{"bpf", "maps", "loader", "control", "testenv"}, ebpf: true, others: true},

	// Layers inside others. The model is the data path written once more in Go: it knows neither the program nor the kernel,
	// and only what compares or measures may know it, never the product.
	model:           {layers: []string{"maps"}},
	"testenv/bench": {layers: []string{"bpf", model, "maps", "loader", "control", "testenv"}, ebpf: true, others: true},
}

const model = "bpf/model"

// check returns one line per forbidden import.
//
// Tests obey the rule of their package, but may also use testenv, any other module, and, to fill maps for a packet test
// and foretell its outcome, the layers maps and bpf/model. They make no exception for control: its tests run without a
// kernel.
func check(packages []pkg) []string {
	var faults []string
	for _, p := range packages {
		own := layer(p.ImportPath)
		r, known := rules[own]
		if !known {
			faults = append(faults, fmt.Sprintf("%s belongs to no layer: move it, or add its layer to tools/imports", p.ImportPath))
			continue
		}
		inTests := r
		inTests.others = true
		inTests.layers = slices.Concat(r.layers, []string{"testenv", "maps", model})
		faults = append(faults, r.faults(p.ImportPath, own, p.Imports)...)
		faults = append(faults, inTests.faults(p.ImportPath+" (tests)", own, slices.Concat(p.TestImports, p.XTestImports))...)
	}
	return faults
}

func (r rule) faults(name, own string, imports []string) []string {
	var faults []string
	for _, path := range imports {
		if l := layer(path); l != own && !r.allows(path, l) {
			faults = append(faults, fmt.Sprintf("%s imports %s, which the layer %s must not know", name, path, own))
		}
	}
	return faults
}

func (r rule) allows(path, layer string) bool {
	switch {
	case layer != "":
		return slices.Contains(r.layers, layer)
	case path == ebpf || strings.HasPrefix(path, ebpf+"/"):
		return r.ebpf
	case strings.Contains(strings.SplitN(path, "/", 2)[0], "."):
		return r.others
	}
	return true // the standard library has no dot in its first element
}

// layer returns the first folder of a package of the product, the first two where they are a layer of their own, and ""
// for any other package.
func layer(path string) string {
	rest, ok := strings.CutPrefix(path, module)
	if !ok {
		return ""
	}
	folders := strings.Split(rest, "/")
	inner := strings.Join(folders[:min(len(folders), 2)], "/")
	if _, ok := rules[inner]; ok {
		return inner
	}
	return folders[0]
}
