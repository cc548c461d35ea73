package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/testenv"
	"github.com/xlb-project/xlb/testenv/bench/report"
)

const (
	smallBackends = 3
	smallRepeats  = 10
	largeBackends = 100
	largeServices = 1_000
	largeRepeats  = 5
)

// benchSmall measures how soon xlb forwards after it was started, with one service.
func benchSmall(ctx context.Context, o options) ([]report.Result, error) {
	runs, err := startOften(ctx, o, shape{1, smallBackends, shared}, smallRepeats)
	if err != nil {
		return nil, fmt.Errorf("start a small node: %w", err)
	}
	return []report.Result{
		report.Of("start/1x3", "ms", each(runs, func(r started) float64 { return ms(r.took) })),
		report.Of("start/1x3/cpu", "ms", each(runs, func(r started) float64 { return ms(r.cpu) })),
	}, nil
}

// benchLarge does it with a large configuration, whose backends are on the link
// and shared by all services, or behind a router and each service's own.
func benchLarge(ctx context.Context, o options) ([]report.Result, error) {
	var results []report.Result
	for _, c := range []struct {
		name string
		addr func(s, b int) string
		bar  float64 // ms; 0: none
	}{{"alike", shared, 2000}, {"unlike", own, 0}} {
		runs, err := startOften(ctx, o, shape{largeServices, largeBackends, c.addr}, largeRepeats)
		if err != nil {
			return nil, fmt.Errorf("start a large node, services %s: %w", c.name, err)
		}
		at := "/1000x100-" + c.name
		start := report.Of("start"+at, "ms", each(runs, func(r started) float64 { return ms(r.took) }))
		if c.bar > 0 {
			start = start.AtMost(c.bar)
		}
		results = append(results, start,
			report.Of("start"+at+"/cpu", "ms", each(runs, func(r started) float64 { return ms(r.cpu) })),
			report.Of("memory/heap"+at, "MiB", each(runs, func(r started) float64 { return r.heap })),
			report.Of("memory/maps"+at, "MiB", each(runs, func(r started) float64 { return r.maps })),
		)
	}
	return results, nil
}

// started is what a start of xlb took.
type started struct {
	took       time.Duration // from the start of the process to the first forwarded packet
	cpu        time.Duration // of the process until then
	heap, maps float64       // memory of the process without maps, and of those, in MiB
}

func each(runs []started, value func(started) float64) []float64 {
	var out []float64
	for _, r := range runs {
		out = append(out, value(r))
	}
	return out
}

func startOften(ctx context.Context, o options, c shape, repeats int) (_ []started, err error) {
	lab, err := testenv.NewSwitched(testenv.Options{Backends: c.backends})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	var runs []started
	for range repeats {
		r, err := startOnce(ctx, o, c, lab)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// patience bounds the wait for a packet.
const patience = 30 * time.Second

func startOnce(ctx context.Context, o options, c shape, lab *testenv.Lab) (_ started, err error) {
	dir, err := os.MkdirTemp("", "xlb-bench-")
	if err != nil {
		return started{}, err
	}
	defer os.RemoveAll(dir)
	text, err := c.yaml(filepath.Join(dir, "xlb.sock"))
	if err != nil {
		return started{}, err
	}
	file := filepath.Join(dir, "xlb.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return started{}, err
	}
	if err := forgetNeighbours(lab.LB); err != nil {
		return started{}, err
	}
	peer := lab.LBPeers[0]
	tap, err := testenv.OpenTap(peer.NS, peer.Interface)
	if err != nil {
		return started{}, err
	}
	defer tap.Close()
	frame, err := syn(c.services-1, lab)
	if err != nil {
		return started{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	knocking, stopKnocking := context.WithCancel(ctx)
	knocked := make(chan error, 1)
	go func() { knocked <- knock(knocking, peer, frame) }()
	defer func() {
		stopKnocking()
		err = errors.Join(err, <-knocked)
	}()

	var output bytes.Buffer
	cmd := lab.LB.Command(context.WithoutCancel(ctx), o.xlb, "run", "-c", file)
	cmd.Stdout, cmd.Stderr = io.Discard, &output
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return started{}, fmt.Errorf("start xlb: %w", err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		if end := cmd.Wait(); end != nil || err != nil {
			err = errors.Join(err, end, fmt.Errorf("xlb printed:\n%s", output.String()))
		}
		if out, down := lab.LB.Command(context.Background(), o.xlb, "down", "--yes", "-c", file).CombinedOutput(); down != nil {
			err = errors.Join(err, fmt.Errorf("xlb down: %w: %s", down, out))
		}
	}()
	if _, err := tap.Find(ctx, "a tunnelled packet", tunnelled); err != nil {
		return started{}, err
	}
	r := started{took: time.Since(start)}
	if r.cpu, err = cpuTime(cmd.Process.Pid); err != nil {
		return started{}, err
	}
	r.heap, r.maps, err = memory(cmd.Process.Pid)
	return r, err
}

// forgetNeighbours makes the node ask for every neighbour anew.
func forgetNeighbours(n *testenv.Namespace) error {
	entries, err := n.Netlink().NeighList(0, syscall.AF_INET)
	if err != nil {
		return fmt.Errorf("list neighbours of %s: %w", n.Name(), err)
	}
	for i := range entries {
		if err := n.Netlink().NeighDel(&entries[i]); err != nil && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("forget neighbour %s: %w", entries[i].IP, err)
		}
	}
	return nil
}

// knock sends the frame until it is told to end.
func knock(ctx context.Context, from testenv.End, frame []byte) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := testenv.Inject(from.NS, from.Interface, frame); err != nil {
			return err
		}
	}
}

// syn is a client's first packet to a service.
func syn(service int, lab *testenv.Lab) ([]byte, error) {
	lb, err := lab.LB.Netlink().LinkByName(lab.LBInterfaces[0])
	if err != nil {
		return nil, fmt.Errorf("find the balancer's interface: %w", err)
	}
	client := testenv.Sources(1)[0]
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 9}, DstMAC: lb.Attrs().HardwareAddr, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{
		Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP,
		SrcIP: client.Addr().AsSlice(), DstIP: vip(service).AsSlice(),
	}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(client.Port()), DstPort: vipPort, SYN: true, Window: 1024}
	if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	buf := gopacket.NewSerializeBuffer()
	err = gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp)
	return buf.Bytes(), err
}

// tunnelled tells whether a frame came from the balancer with a client's packet in it.
func tunnelled(f testenv.Frame) bool {
	const protocolAt, ipip = 14 + 9, 4
	return !f.Outgoing && len(f.Data) > protocolAt && f.Data[12] == 8 && f.Data[13] == 0 && f.Data[protocolAt] == ipip
}

// memory returns what a process holds: anonymous pages, and the kernel's memory of
// its BPF maps, in MiB.
func memory(pid int) (heap, maps float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	heap = field(status, "RssAnon:") / 1024 // kB
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		return 0, 0, err
	}
	seen := map[float64]bool{}
	for _, fd := range fds {
		info, err := os.ReadFile(fd)
		if errors.Is(err, os.ErrNotExist) {
			continue // closed meanwhile
		}
		if err != nil {
			return 0, 0, err
		}
		id := field(info, "map_id:")
		if id > 0 && !seen[id] {
			seen[id] = true
			maps += field(info, "memlock:") / (1 << 20)
		}
	}
	return heap, maps, nil
}

// cpuTime returns what all threads of a process have spent.
func cpuTime(pid int) (sum time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		var d time.Duration
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		if _, err := fmt.Sscan(string(text), &d); err != nil {
			return 0, fmt.Errorf("read %s: %w", file, err)
		}
		sum += d
	}
	return sum, nil
}

// field returns the number behind a name in a file of /proc, 0 without one.
func field(text []byte, name string) float64 {
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == name {
			n, _ := strconv.ParseFloat(words[1], 64) // the kernel writes numbers
			return n
		}
	}
	return 0
}
