package bpf_test

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// XDP's return codes.
const (
	xdpDrop     = 1
	xdpPass     = 2
	xdpTX       = 3
	xdpRedirect = 4
)

// The packet palette: who appears in every test of the data path.
var (
	client  = netip.MustParseAddr("198.51.100.7")
	vip     = netip.MustParseAddr("192.0.2.10")
	backend = netip.MustParseAddr("10.1.0.1")
	self    = netip.MustParseAddr("10.0.0.1")

	routerMAC  = maps.MAC{0x02, 0, 0, 0, 0, 0x01}
	selfMAC    = maps.MAC{0x02, 0, 0, 0, 0, 0x02}
	backendMAC = maps.MAC{0x02, 0, 0, 0, 0, 0x03}
)

const testRunIfindex = 1 // BPF_PROG_TEST_RUN lets packets arrive on lo

var testLimits = maps.Limits{Services: 64, Backends: 256, Slots: 1 << 16, Rules: 64, Fragments: 1 << 16, Sources: 1 << 16, ServerIDs: 512, Flows: 1 << 16}

// path is a loaded data path, attached to nothing.
type path struct {
	*testing.T
	prog   *ebpf.Program
	maps   map[string]*ebpf.Map
	tables fuzzTables
	close  func()
}

// newPath loads the program with everything in it.
func newPath(t *testing.T) *path {
	t.Helper()
	return newPathWith(t, maps.Settings{Key: maps.Key{1}, Limits: testLimits}, maps.AllFeatures())
}

func newPathWith(t *testing.T, settings maps.Settings, features maps.Features) *path {
	t.Helper()
	spec, err := bpf.LoadXlb()
	if err != nil {
		t.Fatal(err)
	}
	if err := maps.Specialise(spec, settings, features); err != nil {
		t.Fatal(err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("load (tests of the data path need root): %+v", err)
	}
	tables, err := maps.Open(coll.Maps)
	if err != nil {
		t.Fatal(err)
	}
	closePath := sync.OnceFunc(func() {
		tables.Close()
		coll.Close()
	})
	t.Cleanup(closePath)
	byName := map[string]bpf.Reason{}
	for _, r := range bpf.Reasons() {
		byName[r.String()] = r
	}
	return &path{t, coll.Programs[bpf.XlbProgXlb], coll.Maps, fuzzTables{tables, byName}, closePath}
}

// serve makes vip:80/tcp and vip:53/udp services of one backend.
func (p *path) serve(b maps.Backend) {
	p.Helper()
	p.must(p.tables.SetBackend(1, b))
	p.must(p.tables.SetService(0, maps.Service{}))
	p.must(p.tables.SetSlotTable(0, maps.Steady([]maps.BackendID{1, 1, 1})))
	p.must(p.tables.SetListeners([]maps.Listener{
		{VIP: netip.PrefixFrom(vip, 32), First: 80, Last: 80, Protocol: maps.TCP},
		{VIP: netip.PrefixFrom(vip, 32), First: 53, Last: 53, Protocol: maps.UDP},
	}))
}

func (p *path) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// run sends a frame through the program.
func (p *path) run(frame []byte) (verdict uint32, out []byte) {
	p.Helper()
	out = make([]byte, len(frame)+256)
	opts := ebpf.RunOptions{Data: frame, DataOut: out}
	verdict, err := p.prog.Run(&opts)
	p.must(err)
	return verdict, opts.DataOut
}

// counts returns the packets per reason, FORWARDED being the sum of the backends'.
func (p *path) counts() map[bpf.Reason]maps.Counter {
	counts := map[bpf.Reason]maps.Counter{}
	for _, r := range bpf.Reasons() {
		counts[r] = p.tables.ReasonCounter(r)
	}
	for id := range testLimits.Backends {
		c, sum := p.tables.BackendCounter(maps.BackendID(id+1)), counts[bpf.ReasonForwarded]
		counts[bpf.ReasonForwarded] = maps.Counter{Packets: sum.Packets + c.Packets, Bytes: sum.Bytes + c.Bytes}
	}
	return counts
}

// counted runs f and returns what it added to the counters.
func (p *path) counted(f func()) map[bpf.Reason]maps.Counter {
	before := p.counts()
	f()
	added := map[bpf.Reason]maps.Counter{}
	for r, after := range p.counts() {
		if n := after.Packets - before[r].Packets; n > 0 {
			added[r] = maps.Counter{Packets: n, Bytes: after.Bytes - before[r].Bytes}
		}
	}
	return added
}

// expect runs a frame and compares verdict, bytes out and what was counted.
func (p *path) expect(t *testing.T, frame []byte, verdict uint32, want []byte, reason bpf.Reason) {
	t.Helper()
	var got uint32
	var out []byte
	counted := p.counted(func() { got, out = p.run(frame) })
	if got != verdict {
		t.Errorf("verdict %d, want %d", got, verdict)
	}
	if diff := cmp.Diff(want, out); diff != "" && verdict != xdpDrop {
		t.Errorf("bytes out (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[bpf.Reason]maps.Counter{reason: {Packets: 1, Bytes: uint64(len(frame))}}, counted); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func viaIPIP() maps.Backend {
	return maps.Backend{
		Forward: maps.IPIP, Ifindex: testRunIfindex, MTU: 1500,
		SourceMAC: selfMAC, DestMAC: routerMAC, Source: self, Dest: backend,
	}
}

func viaL2() maps.Backend {
	return maps.Backend{Forward: maps.L2, Ifindex: testRunIfindex, MTU: 1500, SourceMAC: selfMAC, DestMAC: backendMAC}
}

// frameOf serialises layers behind an Ethernet header from the router to xlb.
func frameOf(t testing.TB, etherType layers.EthernetType, rest ...gopacket.SerializableLayer) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr(routerMAC[:]), DstMAC: net.HardwareAddr(selfMAC[:]), EthernetType: etherType}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, append([]gopacket.SerializableLayer{eth}, rest...)...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func ipv4(dst netip.Addr, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{
		Version: 4, TTL: 64, Id: 0x1234, Flags: layers.IPv4DontFragment, Protocol: proto,
		SrcIP: client.AsSlice(), DstIP: dst.AsSlice(),
	}
}

// tcpFrame is a segment from the client, changed by the given functions before
// lengths and checksums are computed.
func tcpFrame(t testing.TB, dst netip.AddrPort, payload int, change ...func(*layers.IPv4)) []byte {
	t.Helper()
	ip := ipv4(dst.Addr(), layers.IPProtocolTCP)
	for _, f := range change {
		f(ip)
	}
	tcp := &layers.TCP{SrcPort: 4242, DstPort: layers.TCPPort(dst.Port()), SYN: true, Window: 1024}
	_ = tcp.SetNetworkLayerForChecksum(ip)
	return frameOf(t, layers.EthernetTypeIPv4, ip, tcp, gopacket.Payload(make([]byte, payload)))
}

func udpFrame(t testing.TB, dst netip.AddrPort, payload int) []byte {
	t.Helper()
	ip := ipv4(dst.Addr(), layers.IPProtocolUDP)
	udp := &layers.UDP{SrcPort: 4242, DstPort: layers.UDPPort(dst.Port())}
	_ = udp.SetNetworkLayerForChecksum(ip)
	return frameOf(t, layers.EthernetTypeIPv4, ip, udp, gopacket.Payload(make([]byte, payload)))
}
