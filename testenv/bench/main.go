// Command bench measures what the data path costs per packet, in ns, on one CPU:
// the product's own program, specialised as the loader does it, run by
// BPF_PROG_TEST_RUN inside a wrapper that varies the flow (wrapper.c). Before a case is
// timed, its packets are compared with the Go model of the data path, so that none can
// silently measure a drop; afterwards the counters must say that every timed packet went
// the same way. docs/PERFORMANCE.md has the method and results.
package main

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -target bpfel -output-stem wrapper -cflags "-O2 -g -mcpu=v3 -Wall -Wextra -Werror -I../.." -type flow_key Wrapper wrapper.c

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"

	"golang.org/x/sys/unix"
)

func main() {
	var o options
	flag.StringVar(&o.json, "json", "bench.json", "write the results to this `file`")
	flag.StringVar(&o.cases, "run", "", "measure only cases that match this `expression`")
	flag.IntVar(&o.rounds, "rounds", 40, "rounds over all cases, at least 20")
	flag.IntVar(&o.cpu, "cpu", -1, "run on this CPU; -1 is the last one allowed")
	flag.BoolVar(&o.check, "check", false, "exit with status 1 if a bar is missed")
	flag.BoolVar(&o.sizes, "sizes", false, "measure other cases: services and flows in transition, by their number")
	flag.BoolVar(&o.trace, "trace", false, "do not measure: print which lines of the program a packet executes")
	flag.StringVar(&o.guard, "guard", "", "exit with status 1 if a case is past the baseline in this `file` by more than 15 %")
	flag.BoolVar(&o.update, "update", false, "with -guard: write the baseline anew")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %+v\n", err)
		os.Exit(1)
	}
}

type options struct {
	json, cases string
	rounds, cpu int
	check       bool
	sizes       bool
	trace       bool
	guard       string
	update      bool
}

func run(o options) error {
	if o.rounds < 20 {
		return fmt.Errorf("%d rounds: noise needs at least 20", o.rounds)
	}
	wanted, err := regexp.Compile(o.cases)
	if err != nil {
		return fmt.Errorf("read -run: %w", err)
	}
	runtime.LockOSThread()
	if err := pin(o.cpu); err != nil {
		return err
	}
	st, err := newStage()
	if err != nil {
		return err
	}
	var benches []*bench
	defer func() {
		for _, b := range benches {
			b.close()
		}
	}()
	all := cases()
	if o.sizes {
		all = sizes()
	}
	for _, c := range all {
		if !wanted.MatchString(c.name) || c.reference != "" && (o.trace || o.guard != "") {
			continue
		}
		b, err := prepare(st, c)
		if err != nil {
			return fmt.Errorf("prepare %s: %w", c.name, err)
		}
		benches = append(benches, b)
	}
	switch {
	case o.trace:
		return printTraces(os.Stdout, benches)
	case o.guard != "" && o.update:
		return update(st, benches, o)
	case o.guard != "":
		return guard(st, benches, o.guard)
	}
	results, err := measure(st, benches, o.rounds)
	if err != nil {
		return err
	}
	if err := writeJSON(o.json, results); err != nil {
		return err
	}
	if missed := printTable(os.Stdout, results); o.check && missed > 0 {
		return fmt.Errorf("%d bars are missed", missed)
	}
	return nil
}

// pin keeps the locked thread on one CPU.
func pin(cpu int) error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return fmt.Errorf("ask for the allowed CPUs: %w", err)
	}
	for i := 0; cpu < 0 && i < len(set)*64; i++ {
		if last := len(set)*64 - 1 - i; set.IsSet(last) {
			cpu = last
		}
	}
	if cpu < 0 {
		return errors.New("no CPU is allowed")
	}
	set.Zero()
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	return nil
}
