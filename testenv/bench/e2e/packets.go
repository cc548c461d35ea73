package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xlb-project/xlb/testenv/bench/report"
)

const (
	chunk     = 50_000 // packets per measurement
	batch     = 64     // of them at a time: what a driver's poll brings
	firstPort = 10_000
)

// mostOfNftables is the bar: what xlb's ipip may cost of what nftables does.
const mostOfNftables = 0.25

// packetSamples are of one balancer.
type packetSamples struct{ ns, rate []float64 }

// benchPackets has sender, balancer and receiver share one CPU, so that all the
// time the sender's thread takes is all the time that the packets take.
func benchPackets(ctx context.Context, o options) (_ []report.Result, err error) {
	runtime.LockOSThread() // for good: the thread stays on its CPU
	cpu, err := pin()
	if err != nil {
		return nil, err
	}
	var paths []*path
	defer func() {
		for _, p := range paths {
			err = errors.Join(err, p.close())
		}
	}()
	for _, s := range subjects {
		p, err := newPath(ctx, o, s)
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", s.name, err)
		}
		paths = append(paths, p)
	}
	control, err := newControl()
	if err != nil {
		return nil, err
	}
	defer control.Close()
	clock, err := newClock(cpu)
	if err != nil {
		return nil, err
	}
	samples := make([]packetSamples, len(paths))
	var alone []float64
	for round := range o.rounds + 1 { // the first one warms up
		ns, err := measureControl(clock, control)
		if err != nil {
			return nil, err
		}
		alone = append(alone, ns)
		for i, p := range paths {
			ns, rate, err := p.measure(clock)
			if err != nil {
				return nil, fmt.Errorf("send through %s: %w", p.name, err)
			}
			if round > 0 {
				samples[i].ns, samples[i].rate = append(samples[i].ns, ns), append(samples[i].rate, rate)
			}
		}
	}
	generator := report.Of("udp/generator-alone", "ns", alone[1:])
	results := []report.Result{generator}
	for i, p := range paths {
		results = append(results,
			report.Of("udp/"+p.name, "ns", samples[i].ns).Over(generator.Min),
			report.Of("udp/"+p.name+"/rate", "Mpps", samples[i].rate))
	}
	return append(results, ratio(results)), nil
}

// ratio compares totals, of which the sender's and the receiver's share only
// flatters the slower one.
func ratio(results []report.Result) report.Result {
	byName := map[string]report.Result{}
	for _, r := range results {
		byName[r.Name] = r
	}
	ours, theirs := byName["udp/xlb-ipip"], byName["udp/nftables"]
	return report.Result{
		Name: "udp/xlb-ipip of nftables", Unit: "x",
		Min: ours.Min / theirs.Min, Median: ours.Median / theirs.Median,
	}.AtMost(mostOfNftables)
}

// pin moves this thread to the last CPU it may use, ahead of what else wants it.
func pin() (int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, fmt.Errorf("read CPU affinity: %w", err)
	}
	cpu := 0
	for i := range runtime.NumCPU() {
		if set.IsSet(i) {
			cpu = i
		}
	}
	set.Zero()
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return 0, fmt.Errorf("pin to CPU %d: %w", cpu, err)
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -20); err != nil {
		return 0, fmt.Errorf("raise priority: %w", err)
	}
	return cpu, nil
}

// send runs a generator for one chunk, as if on the given interface.
func send(generator *ebpf.Program, ifindex int) error {
	// struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
	var md bytes.Buffer
	for _, word := range []uint32{0, frameLen, 0, uint32(ifindex), 0, 0} {
		binary.Write(&md, binary.NativeEndian, word)
	}
	_, err := generator.Run(&ebpf.RunOptions{
		Data: make([]byte, frameLen), Context: md.Bytes(), Repeat: chunk,
		Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, BatchSize: batch,
	})
	if err != nil {
		return fmt.Errorf("run generator: %w", err)
	}
	return nil
}

// newControl is a generator whose frames go nowhere.
func newControl() (*ebpf.Program, error) {
	counter, err := newCounter()
	if err != nil {
		return nil, err
	}
	defer counter.Close() // the program keeps it
	return newGenerator(udpFrame(make([]byte, 6), make([]byte, 6)), counter, xdpDrop)
}

func measureControl(c clock, generator *ebpf.Program) (float64, error) {
	const loopback = 1
	return c.perPacket(func() error { return send(generator, loopback) }, func() (uint64, error) { return chunk, nil })
}

// measure sends a chunk and returns CPU ns per packet that arrived, and millions
// of them per second.
func (p *path) measure(c clock) (ns, rate float64, err error) {
	before, err := p.delivered()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	var took time.Duration
	ns, err = c.perPacket(func() error {
		err := p.gen.Do(func() error { return send(p.generator, p.ifindex) })
		took = time.Since(start)
		return err
	}, func() (uint64, error) {
		after, err := p.settled()
		return after - before, err
	})
	if err != nil {
		return 0, 0, err
	}
	after, err := p.delivered()
	if err != nil {
		return 0, 0, err
	}
	if delivered := after - before; delivered < chunk/2 {
		return 0, 0, fmt.Errorf("of %d packets %d arrived", chunk, delivered)
	}
	return ns, float64(after-before) / float64(took.Microseconds()), nil
}

// settled returns what was delivered, once it stays the same.
func (p *path) settled() (uint64, error) {
	last, err := p.delivered()
	for err == nil {
		time.Sleep(time.Millisecond)
		var now uint64
		if now, err = p.delivered(); now == last {
			return now, err
		}
		last = now
	}
	return 0, err
}

func (p *path) delivered() (n uint64, err error) {
	err = p.sink.Lookup(uint32(0), &n)
	return n, err
}
