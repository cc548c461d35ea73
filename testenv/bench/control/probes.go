package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/testenv/bench/report"
)

const (
	probeInterval = 2 * time.Second
	probeWarmUp   = 3 * time.Second
	probeMeasure  = 6 * time.Second
	probeRepeats  = 2
)

// benchProbes measures what the checks of many targets cost: CPU time for each probe, and the
// share of one core that all of them take.
func benchProbes(ctx context.Context, o options) (results []report.Result, err error) {
	s, err := startProbed(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the servers to probe: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	kinds, err := probeKinds(s)
	if err != nil {
		return nil, err
	}
	for _, k := range kinds {
		var each, share, resident []float64
		for range probeRepeats {
			m, err := probeMany(k, o.targets/k.part)
			if err != nil {
				return nil, fmt.Errorf("probe by %s: %w", k.name, err)
			}
			each, share, resident = append(each, m.each), append(share, m.share), append(resident, m.resident)
		}
		shared := report.Of("probes/"+k.name+"/cores", "", share)
		if k.bar > 0 {
			shared = shared.AtMost(k.bar)
		}
		results = append(results, report.Of("probes/"+k.name, "us", each), shared, report.Of("probes/"+k.name+"/memory", "MiB", resident))
	}
	return results, nil
}

// kind is a way to probe.
type kind struct {
	name  string
	bar   float64 // cores; 0: none
	part  int     // of the targets one in so many: not all of them fit on a machine that serves as well
	hangs bool    // its probes run out of time
	probe func(netip.Addr) health.Prober
}

func probeKinds(s *probed) ([]kind, error) {
	roots, err := health.ReadRoots(s.roots)
	if err != nil {
		return nil, err
	}
	const name = "www.example.com"
	secure := func(verify bool, protocol string) *health.Secure {
		return health.NewSecure(name, verify, roots, protocol)
	}
	body, err := health.NewMatch("ok", "")
	if err != nil {
		return nil, err
	}
	at := func(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
	plain := func(a netip.Addr) health.HTTP {
		return health.HTTP{Addr: at(a, s.http), Host: name, Path: "/healthz", Body: body,
			Header: []health.Field{{Name: "Authorization", Value: "Basic eGxiOmJlbmNo"}}}
	}
	return []kind{
		{"tcp", 1, 1, false, func(a netip.Addr) health.Prober { return health.TCP{Addr: at(a, s.http)} }},
		{"http", 1, 1, false, func(a netip.Addr) health.Prober { return plain(a) }},
		{"http2", 1, 1, false, func(a netip.Addr) health.Prober { p := plain(a); p.HTTP2 = true; return p }},
		{"grpc", 1, 1, false, func(a netip.Addr) health.Prober { return health.GRPC{Addr: at(a, s.grpc)} }},
		{"https", 0, 4, false, func(a netip.Addr) health.Prober {
			p := plain(a)
			p.Addr, p.Secure = at(a, s.https), secure(true, health.HTTP1)
			return p
		}},
		{"https-unverified", 0, 4, false, func(a netip.Addr) health.Prober {
			p := plain(a)
			p.Addr, p.Secure = at(a, s.https), secure(false, health.HTTP1)
			return p
		}},
		{"dns", 1, 1, false, func(a netip.Addr) health.Prober {
			p, err := health.NewDNS(health.DNS{Addr: at(a, s.dns), Name: name, Type: "A", RCode: "NOERROR", Answer: "192.0.2.1"})
			if err != nil {
				panic(err)
			}
			return p
		}},
		{"udp", 1, 1, false, func(a netip.Addr) health.Prober {
			return health.UDP{Addr: at(a, s.udp), Send: []byte("ping"), Expect: []byte("ping")}
		}},
		{"icmp", 1, 1, false, func(a netip.Addr) health.Prober { return health.ICMP{Addr: a} }},
		{"silent", 1, 1, true, func(a netip.Addr) health.Prober { return health.UDP{Addr: at(a, s.silent), Expect: []byte("pong")} }},
	}, nil
}

// probeCost is what probing took.
type probeCost struct {
	each     float64 // us of CPU time for a probe
	share    float64 // of one core
	resident float64 // MiB of the process
}

func probeMany(k kind, targets int) (probeCost, error) {
	c := health.NewChecker(rand.Float64)
	defer c.Close()
	for i := range targets {
		check := health.Check{
			Key: fmt.Sprint(i), Probe: k.probe(netip.AddrFrom4([4]byte{127, 1, byte(i >> 8), byte(i)})),
			Interval: probeInterval, Timeout: time.Second, Rise: 2, Fall: 3,
		}
		if err := c.Set(health.TargetID(fmt.Sprint(i)), check); err != nil {
			return probeCost{}, err
		}
	}
	time.Sleep(probeWarmUp)
	before, cpu, start := countProbes(c), ownTime(), time.Now()
	time.Sleep(probeMeasure)
	after, spent, took := countProbes(c), ownTime()-cpu, time.Since(start)
	n := after.Passed + after.Failed - before.Passed - before.Failed
	wrong := after.Failed - before.Failed + after.NotSent - before.NotSent // of a machine that has other work
	if k.hangs {
		wrong = after.Passed
	}
	if wrong > n/10 {
		return probeCost{}, fmt.Errorf("of %d probes %d ended as they should not: %s", n, wrong, after.Answer)
	}
	if due := float64(targets) * took.Seconds() / probeInterval.Seconds(); float64(n) < 0.9*due {
		return probeCost{}, fmt.Errorf("%d probes in %v, due were %.0f", n, took, due)
	}
	resident, err := residentMemory()
	return probeCost{
		each:     float64(spent.Microseconds()) / float64(n),
		share:    spent.Seconds() / took.Seconds(),
		resident: resident,
	}, err
}

// countProbes adds up what all targets have had, with an answer that is no pass.
func countProbes(c *health.Checker) health.Status {
	var sum health.Status
	for _, s := range c.Snapshot() {
		sum.Passed += s.Passed
		sum.Failed += s.Failed
		sum.NotSent += s.NotSent
		if s.Failed+s.NotSent > 0 {
			sum.Answer = s.Answer
		}
	}
	return sum
}

// residentMemory returns what the process holds of memory, in MiB.
func residentMemory() (float64, error) {
	var size, resident float64
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return 0, fmt.Errorf("read /proc/self/statm: %w", err)
	}
	return resident * float64(unix.Getpagesize()) / (1 << 20), nil
}
