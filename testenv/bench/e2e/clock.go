package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clock tells the CPU time that packets take on one CPU: that of the calling
// thread, in whose context the kernel does most of the work, and that of the
// thread that the kernel puts the rest off to. What other processes take of the
// CPU does not count.
type clock struct{ softirqd []int }

func newClock(cpu int) (clock, error) {
	pids, err := kernelThreads(fmt.Sprintf("ksoftirqd/%d\n", cpu))
	return clock{pids}, err
}

// kernelThreads returns the processes whose names, each with a newline behind it,
// begin with prefix.
func kernelThreads(prefix string) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it ended
		}
		if !strings.HasPrefix(string(text), prefix) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(file, "/proc/%d/comm", &pid); err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("find kernel thread %q: there is none", prefix)
	}
	return pids, nil
}

func (c clock) now() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	sum := time.Duration(ts.Nano())
	for _, pid := range c.softirqd {
		d, err := threadTime(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// threadTime reads the time on a CPU from a schedstat file.
func threadTime(file string) (d time.Duration, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscan(string(text), &d); err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return d, nil
}

// perPacket returns the CPU ns of work for each packet that it delivered.
func (c clock) perPacket(work func() error, delivered func() (uint64, error)) (float64, error) {
	before, err := c.now()
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := c.now()
	if err != nil {
		return 0, err
	}
	n, err := delivered()
	if err != nil {
		return 0, err
	}
	return float64(after-before) / float64(n), nil
}

// processTime returns the CPU time of all threads that a process has.
func processTime(pid int) (sum time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		d, err := threadTime(file)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}
