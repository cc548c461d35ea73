// Command imports fails if a package of the product imports against the direction of its layers:
//
//	bpf <- maps <- {loader, control} <- cmd
//
// It takes the module's folder as its only argument.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: imports <folder of the module>")
		os.Exit(2)
	}
	packages, err := list(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "imports:", err)
		os.Exit(1)
	}
	faults := check(packages)
	for _, f := range faults {
		fmt.Fprintln(os.Stderr, "imports:", f)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
}

// pkg is what `go list -json` says about a package, as far as imports go.
type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func list(dir string) ([]pkg, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages in %s: %w\n%s", dir, err, stderr.String())
	}
	var packages []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages, nil
		case err != nil:
			return nil, fmt.Errorf("decode go list's output: %w", err)
		}
		packages = append(packages, p)
	}
}
