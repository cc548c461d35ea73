// Command churn changes everything about a node that has thousands of connections, and counts those that break. `make churn`
// runs it; docs/RELIABILITY.md has what it found.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/xlb-project/xlb/testenv"
)

type options struct {
	xlb, next      string // programs: the one that runs, and the one that it is upgraded to
	backends       int
	tcp, udp, quic int // long-lived connections
	short          int // new connections per second
	step           time.Duration
	out            string
	check          bool
	only           string
}

// maxStall is the bar: one retransmission of TCP.
const maxStall = 1100 // ms

// verbose tells about single connections, if wanted.
var verbose = func(string, ...any) {}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var o options
	flag.StringVar(&o.xlb, "xlb", "bin/xlb", "the program under test")
	flag.StringVar(&o.next, "next", "bin/xlb-next", "the program that it is upgraded to")
	flag.IntVar(&o.backends, "backends", 10, "backends at first; as many again wait to replace them")
	flag.IntVar(&o.tcp, "tcp", 2000, "long-lived TCP connections")
	flag.IntVar(&o.udp, "udp", 200, "UDP flows")
	flag.IntVar(&o.quic, "quic", 50, "QUIC connections")
	flag.IntVar(&o.short, "short", 50, "short TCP connections per second")
	flag.DurationVar(&o.step, "step", 5*time.Second, "how long connections are watched after each change")
	flag.StringVar(&o.out, "o", "churn.json", "where the outcome is written as JSON")
	flag.StringVar(&o.only, "run", "", "only the changes whose names contain one of these, separated by commas")
	flag.BoolVar(&o.check, "check", true, "end with status 1 if a bar is missed")
	loud := flag.Bool("v", false, "tell about every connection that breaks")
	flag.Parse()
	if *loud {
		verbose = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	}
	c, err := play(ctx, o)
	if err == nil {
		err = c.report(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "churn:", err)
		os.Exit(1)
	}
}

// churn is a run: a site with its traffic.
type churn struct {
	*site
	options options
	tally   tally
}

// play makes a site and all changes to it.
func play(ctx context.Context, o options) (_ *churn, err error) {
	s, err := newSite(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	c := &churn{site: s, options: o, tally: tally{deaths: map[string]time.Time{}}}
	c.tally.begin("connecting", false)
	talking, hush := context.WithCancel(ctx)
	wait := c.talk(talking)
	defer func() { hush(); wait() }()
	c.watch(ctx, connectTime)
	for _, ch := range script {
		if !slices.ContainsFunc(strings.Split(o.only, ","), func(part string) bool { return strings.Contains(ch.name, part) }) {
			continue
		}
		if err := c.step(ctx, ch); err != nil {
			return nil, fmt.Errorf("%s: %w; the node printed:\n%s", ch.name, err, c.node.Output())
		}
	}
	return c, nil
}

// connectTime is what clients get to open their connections.
const connectTime = 3 * time.Second

// talk opens all connections and keeps them busy until ctx ends.
func (c *churn) talk(ctx context.Context) (wait func()) {
	o, vip := c.options, c.lab.VIPs[0]
	web, quic := netip.AddrPortFrom(vip, c.lab.Port), netip.AddrPortFrom(vip, quicPort)
	sources := testenv.Sources(o.tcp + o.udp + o.quic + 20_000)
	var clients, chatty []client
	for _, from := range sources[:o.tcp] {
		clients = append(clients, &tcpClient{lab: c.lab, from: from, to: web})
	}
	for _, from := range sources[o.tcp:][:o.quic] {
		clients = append(clients, &quicClient{lab: c.lab, from: from, to: quic})
	}
	for _, from := range sources[o.tcp+o.quic:][:o.udp] {
		chatty = append(chatty, &udpClient{lab: c.lab, tally: &c.tally, from: from, to: web})
	}
	slow := start(ctx, &c.tally, clients, time.Second)
	fast := start(ctx, &c.tally, chatty, 250*time.Millisecond)
	knocked := make(chan struct{})
	go func() {
		defer close(knocked)
		knock(ctx, &c.tally, c.lab, web, sources[o.tcp+o.udp+o.quic:], o.short)
	}()
	return func() { slow(); fast(); <-knocked }
}

// watch lets time pass.
func (c *churn) watch(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (c *churn) step(ctx context.Context, ch change) error {
	before, err := c.dropped(ctx)
	if err != nil {
		return err
	}
	step := c.tally.begin(ch.name, ch.death)
	if err := ch.do(ctx, c); err != nil {
		return err
	}
	c.watch(ctx, c.options.step)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	after, err := c.dropped(ctx)
	if err != nil {
		return err
	}
	step.end(c.options.tcp+c.options.udp+c.options.quic, after-before)
	return nil
}

// report prints the steps, writes them to a file, and returns an error that names the bars missed.
func (c *churn) report(out io.Writer) error {
	total := c.tally.total()
	steps := c.tally.steps[1:]
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "change\tconnections\tbroken\tunavoidable\tnew\tfailed\tlongest stall ms\tlost by xlb\tunanswered\t")
	for _, s := range append(steps, total) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%.0f\t%d\t%d\t\n", s.Name, s.Connections, s.Broken, s.BrokenUnavoidable, s.NewConnections,
			s.NewConnectionErrors, s.MaxStallMs, s.PacketsLost, s.Unanswered)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(map[string]any{"steps": steps, "total": total}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.options.out, append(text, '\n'), 0o644); err != nil {
		return err
	}
	if !c.options.check {
		return nil
	}
	return missed(steps)
}

// missed returns the bars that steps miss.
func missed(steps []*Step) error {
	var errs []error
	for _, s := range steps {
		if n := s.Broken - s.BrokenUnavoidable; n != 0 {
			errs = append(errs, fmt.Errorf("%s: %d connections broke whose backend lives", s.Name, n))
		}
		if s.Death {
			continue
		}
		if s.MaxStallMs >= maxStall {
			errs = append(errs, fmt.Errorf("%s: a connection stalled for %.0f ms, at most %d", s.Name, s.MaxStallMs, maxStall))
		}
		if s.PacketsLost > 0 {
			errs = append(errs, fmt.Errorf("%s: xlb lost %d packets", s.Name, s.PacketsLost))
		}
		if s.Unanswered > 0 {
			errs = append(errs, fmt.Errorf("%s: %d datagrams were not answered", s.Name, s.Unanswered))
		}
	}
	return errors.Join(errs...)
}
