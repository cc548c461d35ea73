package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/cmd/xlb/internal/explain"
	"github.com/xlb-project/xlb/control/config"
)

// explainFlags are what `xlb explain` is asked for.
type explainFlags struct {
	config    string
	output    format
	pcap, out string
	src, dst  string
	single    explain.Single
	options   explain.Options
}

// ofSingle are the flags that describe a packet.
var ofSingle = []string{"proto", "src", "dst", "syn", "size", "ttl"}

func explainCommand() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain -c FILE (--pcap FILE | --src ADDRESS --dst ADDRESS)",
		Short: "Say what becomes of packets under a configuration, without an interface",
		Long: "Runs packets through the very program that `xlb run` would load for a configuration, attached to no interface:\n" +
			"those of a capture, or one that the flags describe. Tells of each its verdict, reason, service and backend.\n" +
			"All backends are up but those of --down. Needs root. docs/explain.md has more.",
		Example: "  xlb explain -c xlb.yaml --proto tcp --src 198.51.100.7:4242 --dst 192.0.2.10:443 --syn\n" +
			"  xlb explain -c xlb.yaml --pcap in.pcap --out out.pcap\n" +
			"  xlb explain -c xlb.yaml --pcap in.pcap -o json | jq 'select(.verdict == \"drop\")'",
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.config, "config", "c", "/etc/xlb/xlb.yaml", "configuration file")
	outputFlag(cmd, &f.output, asTable, asJSON)
	flags.StringVar(&f.pcap, "pcap", "", "capture to run, pcap or pcapng, of an Ethernet interface")
	flags.StringVar(&f.out, "out", "", "pcap file for the packets that leave; an existing one is overwritten")
	flags.StringVar(&f.single.Protocol, "proto", "tcp", "tcp, udp or icmp (an echo request)")
	flags.StringVar(&f.src, "src", "", "source, such as 198.51.100.7:4242; for icmp without port")
	flags.StringVar(&f.dst, "dst", "", "destination, such as 192.0.2.10:443 or [2001:db8::10]:443")
	flags.BoolVar(&f.single.SYN, "syn", false, "tcp: a SYN instead of an ACK")
	flags.IntVar(&f.single.Size, "size", 0, "payload in bytes")
	flags.Uint8Var(&f.single.TTL, "ttl", 64, "TTL or hop limit")
	flags.StringSliceVar(&f.options.Down, "down", nil, "backends that are dead: names, or service/name")
	flags.IntVar(&f.options.MTU, "mtu", 1500, "MTU of the way to the backends")
	return cmd
}

const (
	minMTU, maxMTU = 68, 65535 // RFC 791's least
	maxPayload     = 9000
)

// check reads the flags of a single packet and refuses what contradicts itself.
func (f *explainFlags) check(cmd *cobra.Command) error {
	if f.options.MTU < minMTU || f.options.MTU > maxMTU {
		return fmt.Errorf("--mtu %d: write %d to %d", f.options.MTU, minMTU, maxMTU)
	}
	if f.pcap != "" {
		for _, name := range ofSingle {
			if cmd.Flags().Changed(name) {
				return fmt.Errorf("--%s with --pcap: a capture brings its own packets: write one or the other", name)
			}
		}
		return nil
	}
	if f.src == "" || f.dst == "" {
		return errors.New("no packets: write --pcap FILE, or --src and --dst of a single one")
	}
	if f.single.Size < 0 || f.single.Size > maxPayload {
		return fmt.Errorf("--size %d: write 0 to %d", f.single.Size, maxPayload)
	}
	if f.single.SYN && f.single.Protocol != "tcp" {
		return fmt.Errorf("--syn with --proto %s: it is TCP's: write --proto tcp", f.single.Protocol)
	}
	var err error
	if f.single.Src, err = f.end("src", f.src); err != nil {
		return err
	}
	f.single.Dst, err = f.end("dst", f.dst)
	return err
}

// end reads one end of a packet.
func (f *explainFlags) end(name, text string) (netip.AddrPort, error) {
	if f.single.Protocol == "icmp" {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.AddrPort{}, fmt.Errorf("--%s %s: write an address without port, such as 192.0.2.10", name, text)
		}
		return netip.AddrPortFrom(addr.Unmap(), 0), nil
	}
	end, err := netip.ParseAddrPort(text)
	if err != nil || end.Addr().Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("--%s %s: write an address and a port, such as 192.0.2.10:443 or [2001:db8::10]:443", name, text)
	}
	return netip.AddrPortFrom(end.Addr().Unmap(), end.Port()), nil
}

// run opens everything before it creates the output, so that a mistake leaves the
// old one as it is.
func (f *explainFlags) run(ctx context.Context, stdout, stderr io.Writer) (err error) {
	cfg, err := config.Load(f.config)
	if err != nil {
		return err
	}
	next, capture, err := f.packets()
	if err != nil {
		return err
	}
	if capture != nil {
		defer func() { err = errors.Join(err, capture.Close()) }()
	}
	node, err := explain.New(cfg, f.options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	write := func(explain.Packet, []byte) error { return nil }
	if f.out != "" {
		output, err2 := explain.CreateOutput(f.out, capture)
		if err2 != nil {
			return err2
		}
		defer func() { err = errors.Join(err, output.Close()) }()
		write = output.Write
	}
	buf := bufio.NewWriter(stdout)
	var summary explain.Summary
	err = explainAll(ctx, node, next, write, f.printer(buf), &summary)
	if flushed := buf.Flush(); flushed != nil {
		return errors.Join(err, fmt.Errorf("write explanations: %w", flushed))
	}
	if capture != nil {
		f.printSummary(stderr, &summary)
	}
	return err
}

// packets returns where packets come from; the capture is nil for a single one.
func (f *explainFlags) packets() (func() (explain.Packet, error), *explain.Capture, error) {
	if f.pcap != "" {
		capture, err := explain.OpenCapture(f.pcap)
		if err != nil {
			return nil, nil, err
		}
		return capture.Next, capture, nil
	}
	frame, err := f.single.Build()
	if err != nil {
		return nil, nil, err
	}
	done := false
	return func() (explain.Packet, error) {
		if done {
			return explain.Packet{}, io.EOF
		}
		done = true
		return explain.Packet{Frame: frame, Length: len(frame)}, nil
	}, nil, nil
}

func (f *explainFlags) printer(w io.Writer) explain.Printer {
	switch {
	case f.output == asJSON:
		return explain.JSON(w)
	case f.pcap == "":
		return explain.Block(w)
	}
	return explain.Table(w)
}

// printSummary tells tables' readers also what the reasons mean; JSON has that in
// every line.
func (f *explainFlags) printSummary(w io.Writer, s *explain.Summary) {
	fmt.Fprintln(w, s)
	if f.output == asTable {
		for _, line := range s.Sentences() {
			fmt.Fprintln(w, " ", line)
		}
	}
}

// explainAll runs packets until there are no more, or ctx ends.
func explainAll(ctx context.Context, node *explain.Node, next func() (explain.Packet, error),
	write func(explain.Packet, []byte) error, show explain.Printer, summary *explain.Summary) error {
	for {
		if ctx.Err() != nil {
			return fmt.Errorf("explain packets: %w", context.Cause(ctx))
		}
		packet, err := next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := node.Explain(packet)
		if err != nil {
			return err
		}
		summary.Add(e)
		if err := show(e); err != nil {
			return fmt.Errorf("write explanations: %w", err)
		}
		if len(e.Out) == 0 {
			continue
		}
		if err := write(packet, e.Out); err != nil {
			return err
		}
	}
}
