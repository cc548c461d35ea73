// Command mutate breaks the data plane's C in small ways, one at a time, and reports which of them the tests of package
// bpf notice. It exits with status 1 if they catch fewer than 95 %.
//
// Its argument is the module's folder, which it copies and leaves alone. It needs root, as the tests do, and clang-19.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

const (
	workers = 2  // mutations tried at once, each in a copy of its own
	enough  = 95 // per cent caught
)

func main() {
	only := flag.String("only", "", "try only the mutations whose name matches this regular `expression`")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: mutate [-only expression] <folder of the module>")
		flag.PrintDefaults()
	}
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if flag.NArg() != 1 || err != nil {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	start := time.Now()
	results, err := tryAll(ctx, flag.Arg(0), matching(mutations, pattern), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
	fmt.Printf("%s\n%s\n", time.Since(start).Round(time.Second), summary(results))
	if !passes(results) {
		os.Exit(1)
	}
}

func matching(all []mutation, pattern *regexp.Regexp) []mutation {
	var out []mutation
	for _, m := range all {
		if pattern.MatchString(m.name) {
			out = append(out, m)
		}
	}
	return out
}

// tryAll runs the tests over the module as it is, which must pass them, then over every mutation, and prints each result
// as it comes.
func tryAll(ctx context.Context, root string, list []mutation, progress io.Writer) ([]result, error) {
	if len(list) == 0 {
		return nil, errors.New("no mutation has such a name")
	}
	dir, err := os.MkdirTemp("", "xlb-mutate-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var trees []tree
	for i := range workers {
		t, err := copyTree(root, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return nil, fmt.Errorf("copy %s: %w", root, err)
		}
		trees = append(trees, t)
	}
	for _, m := range list { // before anything that takes time
		if _, err := m.applyTo(trees[0].dir); err != nil {
			return nil, err
		}
	}
	tests, err := prepare(ctx, trees[0])
	if err != nil {
		return nil, fmt.Errorf("try it without a mutation: %w", err)
	}
	fmt.Fprintln(progress, "without a mutation all tests pass")
	return share(ctx, trees, tests, list, progress)
}

// prepare compiles the tests, which must pass before there is a mutation.
func prepare(ctx context.Context, t tree) (*testBinary, error) {
	objects := map[string][]byte{}
	for _, program := range programs {
		object, complaint, err := t.compile(ctx, program)
		if err != nil {
			return nil, err
		}
		if object == nil {
			return nil, fmt.Errorf("the compiler says: %s", complaint)
		}
		objects[program] = object
	}
	tests, err := buildTests(ctx, t, objects)
	if err != nil {
		return nil, err
	}
	for _, program := range programs {
		r, err := tests.run(ctx, t, objects[program], mutation{file: program + ".c"})
		if err != nil {
			return nil, err
		}
		if r.by != survived {
			return nil, fmt.Errorf("the %s: %s", r.by, r.detail)
		}
	}
	return tests, nil
}

// share tries each mutation in one of the trees. The first error ends it.
func share(ctx context.Context, trees []tree, tests *testBinary, list []mutation, progress io.Writer) ([]result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		next    = make(chan mutation)
		wg      sync.WaitGroup
		mu      sync.Mutex
		results []result // guarded by mu, as is progress
	)
	for _, t := range trees {
		wg.Go(func() {
			for m := range next {
				r, err := t.try(ctx, tests, m)
				if err != nil {
					cancel(fmt.Errorf("mutation %q: %w", m.name, err))
					continue
				}
				mu.Lock()
				results = append(results, r)
				fmt.Fprintf(progress, "%3d/%d %s\n", len(results), len(list), r)
				mu.Unlock()
			}
		})
	}
	for _, m := range list {
		if ctx.Err() != nil {
			break
		}
		next <- m
	}
	close(next)
	wg.Wait()
	return results, context.Cause(ctx)
}
