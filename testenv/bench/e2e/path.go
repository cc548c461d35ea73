package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"

	"github.com/xlb-project/xlb/testenv"
)

const (
	frameLen = 64
	backends = 8
	port     = 80
)

var (
	vip       = netip.MustParseAddr("192.0.2.10")
	lbPrefix  = netip.MustParsePrefix("10.9.0.1/24")
	genPrefix = netip.MustParsePrefix("10.9.0.254/24")
	lbMAC     = net.HardwareAddr{2, 0, 0, 0, 9, 1}
	genMAC    = net.HardwareAddr{2, 0, 0, 0, 9, 2}
)

func backendAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 9, 0, byte(11 + i)}) }

// subject is a way to balance UDP packets.
type subject struct {
	name string
	// native programs hand frames over as such; what leaves the kernel otherwise is
	// counted where its next receiver would take it first
	native bool
	start  func(ctx context.Context, o options, lb *testenv.Namespace) (io.Closer, error)
}

var subjects = []subject{
	{"xlb-l2", true, xlbOf("l2", "native")},
	{"xlb-ipip", true, xlbOf("ipip", "native")},
	{"xlb-ipip-generic", false, xlbOf("ipip", "generic")},
	{"ip_forward", false, forwarding},
	{"nftables", false, nftables},
}

// path is a balancer on a link with one machine that plays client, gateway and
// backends: it sends packets to the VIP and counts what comes back.
type path struct {
	subject
	gen       *testenv.Namespace
	ifindex   int
	generator *ebpf.Program
	sink      *ebpf.Map
	closers   []io.Closer
}

func newPath(ctx context.Context, o options, s subject) (_ *path, err error) {
	p := &path{subject: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	lb, err := testenv.NewNamespace("lb")
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, lb)
	if p.gen, err = testenv.NewNamespace("gen"); err != nil {
		return nil, err
	}
	p.closers = append(p.closers, p.gen)
	if err := p.connect(lb); err != nil {
		return nil, err
	}
	if err := p.addSink(); err != nil {
		return nil, err
	}
	if err := p.addGenerator(); err != nil {
		return nil, err
	}
	balancer, err := s.start(ctx, o, lb)
	if err != nil {
		return nil, err
	}
	if balancer != nil {
		p.closers = append(p.closers, balancer)
	}
	return p, nil
}

func (p *path) close() error {
	var err error
	for _, c := range slices.Backward(p.closers) {
		err = errors.Join(err, c.Close())
	}
	return err
}

func (p *path) connect(lb *testenv.Namespace) error {
	lbEnd := testenv.End{NS: lb, Interface: "eth0", MAC: lbMAC, Addrs: []netip.Prefix{lbPrefix}}
	genEnd := testenv.End{NS: p.gen, Interface: "eth0", MAC: genMAC, Addrs: []netip.Prefix{genPrefix}}
	if err := testenv.Connect(lbEnd, genEnd, testenv.LinkOptions{MTU: testenv.EncapMTU}); err != nil {
		return err
	}
	iface, err := lb.Netlink().LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find the balancer's interface: %w", err)
	}
	for i := range backends {
		err := lb.Netlink().NeighSet(&netlink.Neigh{
			LinkIndex: iface.Attrs().Index, IP: backendAddr(i).AsSlice(), HardwareAddr: genMAC, State: netlink.NUD_PERMANENT,
		})
		if err != nil {
			return fmt.Errorf("add neighbour: %w", err)
		}
	}
	// Without a program of its own, this is what makes a veth take frames from XDP.
	return lb.Do(func() error {
		tool, err := ethtool.NewEthtool()
		if err != nil {
			return err
		}
		defer tool.Close()
		return tool.Change("eth0", map[string]bool{"rx-gro": true})
	})
}

func (p *path) addSink() (err error) {
	if p.sink, err = newCounter(); err != nil {
		return err
	}
	p.closers = append(p.closers, p.sink)
	iface, err := p.gen.Netlink().LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find the sink's interface: %w", err)
	}
	p.ifindex = iface.Attrs().Index
	kind := ebpf.SchedCLS
	if p.native {
		kind = ebpf.XDP
	}
	prog, err := newSink(kind, p.sink)
	if err != nil {
		return err
	}
	defer prog.Close() // the link keeps it
	var l link.Link
	err = p.gen.Do(func() error {
		if p.native {
			l, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: p.ifindex, Flags: link.XDPDriverMode})
		} else {
			l, err = link.AttachTCX(link.TCXOptions{Program: prog, Interface: p.ifindex, Attach: ebpf.AttachTCXIngress})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("attach sink: %w", err)
	}
	p.closers = append(p.closers, l)
	return nil
}

func (p *path) addGenerator() error {
	counter, err := newCounter()
	if err != nil {
		return err
	}
	defer counter.Close() // the program keeps it
	if p.generator, err = newGenerator(udpFrame(genMAC, lbMAC), counter, xdpTX); err != nil {
		return err
	}
	p.closers = append(p.closers, p.generator)
	return nil
}

// udpFrame is a client's packet to the VIP.
func udpFrame(from, to net.HardwareAddr) []byte {
	eth := &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IPv4(198, 18, 0, 1), DstIP: vip.AsSlice()}
	udp := &layers.UDP{SrcPort: firstPort, DstPort: port} // no checksum: the source port varies
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true}
	payload := gopacket.Payload(make([]byte, frameLen-headers))
	ipChecked := gopacket.NewSerializeBuffer()
	err := errors.Join(
		gopacket.SerializeLayers(buf, opts, udp, payload),
		gopacket.SerializeLayers(ipChecked, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, gopacket.Payload(buf.Bytes())),
	)
	if err != nil {
		panic(err) // the layers are this program's own
	}
	return bytes.Clone(ipChecked.Bytes())
}

// xlbOf starts xlb.
func xlbOf(forward, mode string) func(context.Context, options, *testenv.Namespace) (io.Closer, error) {
	return func(ctx context.Context, o options, lb *testenv.Namespace) (io.Closer, error) {
		return startXLB(ctx, o, lb, "udp", forward, mode, backends, backendAddr)
	}
}

func startXLB(ctx context.Context, o options, lb *testenv.Namespace, protocol, forward, mode string, n int, addr func(int) netip.Addr) (*testenv.Node, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [eth0]\nxdp_mode: %s\nmetrics: {listen: \"off\"}\nservices:\n", mode)
	fmt.Fprintf(&b, "  - name: bench\n    vip: %s\n    port: %d\n    protocol: %s\n    forward: %s\n    backends:\n", vip, port, protocol, forward)
	for i := range n {
		fmt.Fprintf(&b, "      - {name: b%d, address: %s}\n", i, addr(i))
	}
	return testenv.StartNode(ctx, lb, testenv.Program{Path: o.xlb}, b.String())
}

// forwarding routes the VIP by a backend: what a kernel does at the least.
func forwarding(_ context.Context, _ options, lb *testenv.Namespace) (io.Closer, error) {
	return nil, errors.Join(lb.Forward(), lb.AddRoute(netip.PrefixFrom(vip, vip.BitLen()), backendAddr(0)))
}

// nftables picks a backend by a hash of the flow, as its manual suggests.
func nftables(ctx context.Context, _ options, lb *testenv.Namespace) (io.Closer, error) {
	return nil, errors.Join(lb.Forward(), natRules(ctx, lb, "udp", backends, backendAddr, ""))
}

// natRules loads destination NAT to backends, and more rules.
func natRules(ctx context.Context, lb *testenv.Namespace, protocol string, n int, addr func(int) netip.Addr, more string) error {
	var m []string
	for i := range n {
		m = append(m, fmt.Sprintf("%d : %s", i, addr(i)))
	}
	rules := fmt.Sprintf(`table ip bench {
	chain in {
		type nat hook prerouting priority dstnat;
		ip daddr %s %s dport %d dnat to jhash ip saddr . %s sport mod %d map { %s }
	}
	%s
}
`, vip, protocol, port, protocol, n, strings.Join(m, ", "), more)
	cmd := lb.Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("load nftables rules: %w: %s", err, out)
	}
	return nil
}
