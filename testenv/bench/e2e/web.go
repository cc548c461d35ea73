package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/testenv/bench/report"
)

const (
	connections = "16"
	seconds     = "2s" // wrk knows whole seconds only
)

// webSamples are of one way to balance requests.
type webSamples struct{ cpu, p50, p99 []float64 }

// benchWeb measures HTTP requests over connections that are kept. CPU time is that
// of all processes that take part, client and servers included.
func benchWeb(ctx context.Context, o options) (_ []report.Result, err error) {
	if err := unpin(); err != nil {
		return nil, err
	}
	var sites []*site
	defer func() {
		for _, s := range sites {
			err = errors.Join(err, s.close())
		}
	}()
	for _, b := range webSubjects {
		s, err := newSite(ctx, o, b)
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", b.name, err)
		}
		sites = append(sites, s)
	}
	samples := make([]webSamples, len(sites))
	for range o.webRounds {
		for i, s := range sites {
			r, err := s.measure(ctx)
			if err != nil {
				return nil, fmt.Errorf("ask %s: %w", s.name, err)
			}
			w := &samples[i]
			w.cpu, w.p50, w.p99 = append(w.cpu, r.cpu), append(w.p50, r.p50), append(w.p99, r.p99)
		}
	}
	var results []report.Result
	for i, s := range sites {
		results = append(results,
			report.Of("tcp/"+s.name+"/cpu", "us", samples[i].cpu),
			report.Of("tcp/"+s.name+"/p50", "us", samples[i].p50),
			report.Of("tcp/"+s.name+"/p99", "us", samples[i].p99))
	}
	return results, nil
}

// unpin undoes pin, which child processes would inherit.
func unpin() error {
	var set unix.CPUSet
	for i := range len(set) * 64 {
		set.Set(i)
	}
	if err := errors.Join(unix.SchedSetaffinity(0, &set), unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 0)); err != nil {
		return fmt.Errorf("unpin: %w", err)
	}
	return nil
}

// requests is what wrk and the clocks say of one run, per request and in us.
type requests struct{ cpu, p50, p99 float64 }

func (s *site) measure(ctx context.Context) (requests, error) {
	before, err := s.cpuTime()
	if err != nil {
		return requests{}, err
	}
	cmd := s.client.Command(ctx, "wrk", "-t1", "-c"+connections, "-d"+seconds, "--latency", "http://"+s.target.String()+"/")
	out, err := cmd.Output()
	if err != nil {
		return requests{}, fmt.Errorf("run wrk: %w: %s", err, out)
	}
	after, err := s.cpuTime()
	if err != nil {
		return requests{}, err
	}
	answers, err := parseWrk(string(out))
	if err != nil {
		return requests{}, fmt.Errorf("read what wrk says: %w:\n%s", err, out)
	}
	spent := after - before + cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return requests{
		cpu: us(spent) / float64(answers.requests),
		p50: us(answers.p50), p99: us(answers.p99),
	}, nil
}

func us(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// cpuTime is that of the servers, which are this process, of the balancer, and of
// the kernel's threads for packets.
func (s *site) cpuTime() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	sum := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	for _, pid := range s.pids {
		d, err := processTime(pid)
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}
