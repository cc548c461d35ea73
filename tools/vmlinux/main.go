// Command vmlinux trims bpftool's C dump of a kernel's types to the few that the data plane uses.
//
// It reads the dump on standard input and a list of wanted types (its only argument; the format is explained there),
// and writes a header with those types and the ones that they contain, in the dump's own order, which is already the
// order of dependency. A type that is only pointed to becomes a forward declaration.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vmlinux:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: bpftool btf dump file /sys/kernel/btf/vmlinux format c | vmlinux <types file> <kernel release>")
	}
	list, err := os.ReadFile(args[0])
	if err != nil {
		return fmt.Errorf("read the list of types: %w", err)
	}
	wants, err := parseWants(string(list))
	if err != nil {
		return fmt.Errorf("parse %s: %w", args[0], err)
	}
	text, err := io.ReadAll(stdin)
	if err != nil {
		return fmt.Errorf("read the dump: %w", err)
	}
	out, err := trim(parseDump(string(text)), wants, args[1])
	if err != nil {
		return err
	}
	_, err = io.WriteString(stdout, out)
	return err
}
