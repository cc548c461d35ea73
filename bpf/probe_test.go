package bpf_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// What the program of probes returns.
const (
	tcxNext     = math.MaxUint32 // -1: on to whoever comes next
	tcxDrop     = 2
	tcxRedirect = 7
)

const probeMark = 0x58000000

// prober is the program of probes beside a data path whose backends it reads.
type prober struct {
	*path
	objects bpf.ProbeObjects
}

func newProber(t *testing.T) *prober {
	t.Helper()
	p := &prober{path: newPath(t)}
	spec, err := bpf.LoadProbe()
	p.must(err)
	opts := ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{
		bpf.ProbeMapBackends: p.maps[bpf.XlbMapBackends], bpf.ProbeMapHops: p.maps[bpf.XlbMapHops], bpf.ProbeMapOuter6: p.maps[bpf.XlbMapOuter6],
	}}
	for name, m := range opts.MapReplacements {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	if err := spec.LoadAndAssign(&p.objects, &opts); err != nil {
		t.Fatalf("load: %+v", err)
	}
	t.Cleanup(func() { p.objects.Close() })
	return p
}

// socketBuffer is the start of a __sk_buff.
type socketBuffer struct {
	_       [2]uint32
	Mark    uint32
	_       [38]uint32
	GSOSegs uint32
	_       uint64
	GSOSize uint32
	_       uint32
}

// probe runs a packet as it leaves lo.
func (p *prober) probe(ip []byte, buffer socketBuffer) (verdict uint32, out []byte) {
	p.Helper()
	frame := linked(maps.MAC{}, maps.MAC{}, nil, ip)
	opts := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+256), Context: buffer}
	verdict, err := p.objects.Probe.Run(&opts)
	p.must(err)
	return verdict, opts.DataOut
}

func (p *prober) results() (c bpf.ProbeProbeCounters) {
	p.Helper()
	p.must(p.objects.Probes.Lookup(uint32(0), &c))
	return c
}

// becomes checks what becomes of a marked packet, and that it is counted once.
func (p *prober) becomes(t *testing.T, name string, ip []byte, buffer socketBuffer, want string) {
	t.Helper()
	before := p.results()
	verdict, _ := p.probe(ip, buffer)
	after, got := p.results(), map[uint32]string{tcxNext: "next", tcxDrop: "drop", tcxRedirect: "redirect"}[verdict]
	for _, c := range []struct {
		name           string
		packets, bytes uint64
	}{
		{"sent", after.Sent.Packets - before.Sent.Packets, after.Sent.Bytes - before.Sent.Bytes},
		{"unresolved", after.Unresolved.Packets - before.Unresolved.Packets, after.Unresolved.Bytes - before.Unresolved.Bytes},
		{"too_big", after.TooBig.Packets - before.TooBig.Packets, after.TooBig.Bytes - before.TooBig.Bytes},
		{"refused", after.Refused.Packets - before.Refused.Packets, after.Refused.Bytes - before.Refused.Bytes},
	} {
		if c.packets != 0 {
			got += fmt.Sprintf(" %d %s of %d", c.packets, c.name, c.bytes)
		}
	}
	if want != "next" {
		want = fmt.Sprintf(want, 14+len(ip))
	}
	if got != want {
		t.Errorf("%s: %s, want %s", name, got, want)
	}
}

// entropyOf reads the hash, as far as headers show it, from a frame on its way to a backend.
func entropyOf(b maps.Backend, frame []byte) (hash uint64) {
	if len(frame) < 14+overhead(b) || b.Forward == maps.L2 {
		return 0
	}
	outer, header := frame[14:], 20
	if b.Dest.Is6() {
		header = 40
		hash |= uint64(binary.BigEndian.Uint32(outer)&0xfffff) << 12
	}
	if b.Forward == maps.GUE {
		hash |= uint64(binary.BigEndian.Uint16(outer[header:]) & 0x3fff)
	}
	if b.SourceBits > 0 {
		from := map[bool]int{false: 12, true: 20}[b.Dest.Is6()]
		word := binary.BigEndian.Uint32(outer[from:]) & uint32(1<<b.SourceBits-1)
		hash |= uint64(binary.LittleEndian.Uint32(binary.BigEndian.AppendUint32(nil, word)))
	}
	return hash
}

// probeWays are all ways, and tunnels whose outer source varies.
func probeWays() []way {
	all := ways()
	for i, f := range families {
		b := via(maps.IPIP, f, f)
		b.SourceBits = []int{16, 8}[i]
		b.Source = netip.PrefixFrom(b.Source, b.Source.BitLen()-b.SourceBits).Masked().Addr()
		all = append(all, way{f.name + " in ipip from a prefix", f, b})
	}
	return all
}

// A probe has the bytes of a client's packet, but that no hop has been taken from it yet.
func TestProbeLeavesAsTheDataPathWouldSendIt(t *testing.T) {
	p := newProber(t)
	for _, w := range probeWays() {
		const id = 200 // not in the lowest byte of the word alone, were it read wrongly
		p.must(p.tables.SetBackend(id, w.b))
		for name, ip := range map[string][]byte{
			"a segment":           w.inner.tcp(t, 443, 100),
			"an odd length":       w.inner.tcp(t, 443, 1),
			"a datagram":          w.inner.udp(t, 443, 33),
			"a ping":              w.inner.ping(t, 21),
			"the longest":         w.inner.tcp(t, 443, 1500-overhead(w.b)-len(w.inner.tcp(t, 443, 0))),
			"no DSCP, no ECN":     markedPacket(w.inner.tcp(t, 443, 5), 0),
			"all DSCP, ECN bits":  markedPacket(w.inner.tcp(t, 443, 5), 0xff),
			"the least hop limit": livingPacket(w.inner.tcp(t, 443, 5), 1),
		} {
			t.Run(w.name+", "+name, func(t *testing.T) {
				verdict, out := p.probe(ip, socketBuffer{Mark: probeMark | id})
				if verdict != tcxRedirect {
					t.Fatalf("verdict %d, want redirect; %+v", verdict, p.results())
				}
				hops := ip[map[bool]int{false: 8, true: 7}[w.inner.v6()]]
				want := leaving(t, w.b, entropyOf(w.b, out), livingPacket(bytes.Clone(ip), hops+1))
				if diff := cmp.Diff(want, out); diff != "" {
					t.Errorf("bytes out (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Probes of several connections take several ways through a network that hashes, those of one the same.
func TestProbeOuterHeadersVaryWithTheConnection(t *testing.T) {
	p := newProber(t)
	for _, w := range probeWays() {
		if w.b.Forward != maps.GUE && !w.b.Dest.Is6() && w.b.SourceBits == 0 {
			continue // nothing varies
		}
		if w.b.Forward == maps.L2 {
			continue
		}
		p.must(p.tables.SetBackend(1, w.b))
		seen := map[uint64]bool{}
		for port := range 20 {
			ip := packet(t, w.inner.ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: layers.TCPPort(1024 + port), DstPort: 443, SYN: true})
			_, out := p.probe(ip, socketBuffer{Mark: probeMark | 1})
			_, again := p.probe(ip, socketBuffer{Mark: probeMark | 1})
			if !bytes.Equal(out, again) {
				t.Errorf("%s: one connection has frames %x and %x", w.name, out, again)
			}
			seen[entropyOf(w.b, out)] = true
		}
		if len(seen) < 10 {
			t.Errorf("%s: 20 connections have %d different outer headers", w.name, len(seen))
		}
	}
}

func TestProbeWithoutAWayIsDroppedAndOtherPacketsGoOn(t *testing.T) {
	p := newProber(t)
	for _, f := range families {
		p.must(p.tables.SetBackend(1, via(maps.GUE, f, f)))
		p.must(p.tables.SetBackend(2, maps.Backend{Up: true}))
		p.must(p.tables.SetBackend(3, via(maps.L2, f, f)))
		tcp, overhead := f.tcp(t, 443, 5), overhead(via(maps.GUE, f, f))
		largest := 1500 - len(f.tcp(t, 443, 0))
		last := maps.BackendID(testLimits.Backends)
		p.must(p.tables.SetBackend(last, via(maps.L2, f, f)))
		for _, c := range []struct {
			name string
			ip   []byte
			mark uint32
			want string
		}{
			{"a backend", tcp, probeMark | 1, "redirect 1 sent of %d"},
			{"the last backend", tcp, probeMark | uint32(last), "redirect 1 sent of %d"},
			{"no mark", tcp, 0, "next"},
			{"another mark of the backend's number", tcp, 0x59000001, "next"},
			{"a mark with fewer bits", tcp, 0x50000001, "next"},
			{"the number alone", tcp, 1, "next"},
			{"nobody", tcp, probeMark, "drop 1 unresolved of %d"},
			{"a backend without a next hop", tcp, probeMark | 2, "drop 1 unresolved of %d"},
			{"a number past the table", tcp, probeMark | uint32(last+1), "drop 1 unresolved of %d"},
			{"the largest number", tcp, probeMark | 0x1fffff, "drop 1 unresolved of %d"},
			{"another instance's", tcp, probeMark | 0x200001, "next"},
			{"the longest packet", f.tcp(t, 443, largest-overhead), probeMark | 1, "redirect 1 sent of %d"},
			{"one byte more", f.tcp(t, 443, largest-overhead+1), probeMark | 1, "drop 1 too_big of %d"},
			{"the longest by l2", f.tcp(t, 443, largest), probeMark | 3, "redirect 1 sent of %d"},
			{"one byte more by l2", f.tcp(t, 443, largest+1), probeMark | 3, "drop 1 too_big of %d"},
		} {
			p.becomes(t, f.name+", "+c.name, c.ip, socketBuffer{Mark: c.mark}, c.want)
		}
		arp := frameOf(t, layers.EthernetTypeARP, filler(28))
		opts := ebpf.RunOptions{Data: arp, DataOut: make([]byte, 256), Context: socketBuffer{Mark: probeMark | 1}}
		verdict, err := p.objects.Probe.Run(&opts)
		p.must(err)
		if verdict != tcxDrop {
			t.Errorf("%s, marked ARP: verdict %d, want drop", f.name, verdict)
		}
	}
}

// The parts that the kernel will cut from a long segment would each need a checksum of their own.
func TestProbeThatIsCutLaterCannotHaveAnOuterChecksum(t *testing.T) {
	p := newProber(t)
	long := socketBuffer{Mark: probeMark | 1, GSOSegs: 2, GSOSize: 1000}
	for _, inner := range families {
		p.must(p.tables.SetBackend(1, via(maps.L2, inner, inner)))
		p.becomes(t, inner.name+" by l2", inner.tcp(t, 443, 1900), long, "redirect 1 sent of %d")
		b := via(maps.GUE, family6, inner)
		b.Checksum = true
		p.must(p.tables.SetBackend(1, b))
		p.becomes(t, inner.name+" with a checksum", inner.tcp(t, 443, 1900), long, "drop 1 refused of %d")
	}
}

// An outer checksum that must be right needs an inner one that can be relied upon.
func TestProbeWithoutAnInnerChecksumHasNoOuterChecksum(t *testing.T) {
	p := newProber(t)
	probe := socketBuffer{Mark: probeMark | 1}
	unsummed := func(f family) []byte {
		header := len(f.udp(t, 443, 0)) - 8
		return with(f.udp(t, 443, 9), func(b []byte) { b[header+6], b[header+7] = 0, 0 })
	}
	for _, inner := range families {
		b := via(maps.GUE, family6, inner)
		p.must(p.tables.SetBackend(1, b))
		p.becomes(t, inner.name+" datagram without a checksum, outside none", unsummed(inner), probe, "redirect 1 sent of %d")
		b.Checksum = true
		p.must(p.tables.SetBackend(1, b))
		p.becomes(t, inner.name+" datagram without a checksum", unsummed(inner), probe, "drop 1 refused of %d")
		p.becomes(t, inner.name+" first fragment", part{family: inner, proto: maps.UDP}.packet(t), probe, "drop 1 refused of %d")
		p.becomes(t, inner.name+" later fragment", part{family: inner, proto: maps.UDP, offset: 64}.packet(t), probe, "drop 1 refused of %d")
		p.becomes(t, inner.name+" other protocol", packet(t, inner.ip(layers.IPProtocolSCTP), filler(30)), probe, "drop 1 refused of %d")
	}
}
