package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// tree is a copy of the module whose C can be broken.
type tree struct{ dir string }

// copyTree copies a module without its history and binaries.
func copyTree(from, to string) (tree, error) {
	entries, err := os.ReadDir(from)
	if err != nil {
		return tree{}, err
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return tree{}, err
	}
	for _, e := range entries {
		source, dest := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case e.Name() == ".git" || e.Name() == "bin":
			continue
		case e.IsDir():
			err = os.CopyFS(dest, os.DirFS(source))
		default:
			var content []byte
			if content, err = os.ReadFile(source); err == nil {
				err = os.WriteFile(dest, content, 0o644)
			}
		}
		if err != nil {
			return tree{}, err
		}
	}
	return tree{to}, nil
}

func (t tree) objectFile(program string) string {
	return filepath.Join(t.dir, "bpf", program+"_bpfel.o")
}

// compile makes a program's object of the C in the tree, as `make generate` does. Without one, says what the compiler
// said.
func (t tree) compile(ctx context.Context, program string) (object []byte, complaint string, err error) {
	out, failed, err := run(ctx, t.dir, "go", "generate", "-run", program+`\.c`, "./bpf")
	switch {
	case err != nil:
		return nil, "", err
	case failed:
		return nil, compilerSays(out), nil
	}
	object, err = os.ReadFile(t.objectFile(program))
	return object, "", err
}

// try compiles the tree with a mutation, takes that back, and runs the tests over the object.
func (t tree) try(ctx context.Context, tests *testBinary, m mutation) (result, error) {
	mutated, err := m.applyTo(t.dir)
	if err != nil {
		return result{}, err
	}
	path := filepath.Join(t.dir, "bpf", m.file)
	source, err := os.ReadFile(path)
	if err != nil {
		return result{}, err
	}
	if err := os.WriteFile(path, []byte(mutated), 0o644); err != nil {
		return result{}, err
	}
	object, complaint, err := t.compile(ctx, m.program())
	if err := errors.Join(err, os.WriteFile(path, source, 0o644)); err != nil {
		return result{}, err
	}
	if object == nil {
		return result{mutation: m, by: byCompiler, detail: complaint}, nil
	}
	r, err := tests.run(ctx, t, object, m)
	r.mutation = m
	return r, err
}

// run says what a command printed, and whether its exit status was other than 0. Its children end with the context.
func run(ctx context.Context, dir, name string, args ...string) (out string, failed bool, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "XLB_FUZZ_TIME="+fuzzTime, "XLB_FUZZ_SEED="+fuzzSeed)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	both, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "", false, context.Cause(ctx)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return string(both), false, nil
	case errors.As(err, &exit) && exit.Exited():
		return string(both), true, nil
	}
	return "", false, fmt.Errorf("run %s: %w", name, err)
}
