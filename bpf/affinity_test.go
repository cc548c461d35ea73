package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

const manyBackends = 199

// offerMany makes port 443 of both VIPs a service of many backends, the one of
// slot i having number i + 1, reached through gue over IPv6.
func (p *path) offerMany(s maps.Service, bits4, bits6 int) {
	p.Helper()
	owners := make([]maps.BackendID, manyBackends)
	for i := range owners {
		owners[i] = maps.BackendID(i + 1)
		p.must(p.tables.SetBackend(owners[i], via(maps.GUE, family6, family4)))
	}
	for i, f := range families {
		s.IPv6, s.SourceBits = f.v6(), []int{bits4, bits6}[i]
		p.must(p.tables.SetService(maps.ServiceID(i), s))
		p.must(p.tables.SetSlotTable(maps.ServiceID(i), maps.Steady(owners)))
	}
	p.must(p.tables.SetListeners(web443()))
}

// backendOf runs a packet and returns the backend that it went to, 0 for none.
func (p *path) backendOf(ip []byte) maps.BackendID {
	p.Helper()
	before := make([]uint64, testLimits.Backends+1)
	for id := range before {
		before[id] = p.tables.BackendCounter(maps.BackendID(id)).Packets
	}
	p.run(arriving(ip))
	for id := range before {
		if p.tables.BackendCounter(maps.BackendID(id)).Packets != before[id] {
			return maps.BackendID(id)
		}
	}
	return 0
}

// from is a packet to port 443 of the VIP of its source's family.
func from(t testing.TB, src netip.AddrPort, proto maps.Protocol) []byte {
	t.Helper()
	f := family4
	if src.Addr().Is6() {
		f = family6
	}
	var l4 gopacket.SerializableLayer = &layers.TCP{SrcPort: layers.TCPPort(src.Port()), DstPort: 443}
	if proto == maps.UDP {
		l4 = &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: 443}
	}
	return packet(t, ipHeader(src.Addr(), f.vip, layers.IPProtocol(proto)), l4, filler(9))
}

// Nodes of different versions must agree on every flow: these never change. They
// were computed from docs/DATAPATH.md, section 12, by another program. The low 32
// bits of the hash show in the outer header, the high ones in the slot.
func TestHashVectors(t *testing.T) {
	p := newPath(t)
	const byFlow = -1
	for _, c := range []struct {
		src   family
		proto maps.Protocol
		bits  int
		hash  uint64
		slot  maps.BackendID
	}{
		{family4, maps.TCP, byFlow, 0xc26088319474143e, 151},
		{family4, maps.UDP, byFlow, 0x856914310768f6c7, 103},
		{family4, maps.TCP, 32, 0x4907573a116b9c7a, 56},
		{family4, maps.TCP, 24, 0x59b0b5a97f06cc7d, 69},
		{family4, maps.TCP, 13, 0xf254c0becbc5e01d, 188},
		{family4, maps.UDP, 0, 0xe0ded7be9c078772, 174},
		{family6, maps.TCP, byFlow, 0x87dc3d8c0c814d1, 6},
		{family6, maps.UDP, byFlow, 0x4afb6cc03bf6bce4, 58},
		{family6, maps.TCP, 128, 0x21226a1923b838fb, 25},
		{family6, maps.TCP, 64, 0x1b6304ea0fecaae, 1},
		{family6, maps.TCP, 45, 0xdf68f55c7d1286ae, 173},
		{family6, maps.UDP, 0, 0xe0ded7be9c078772, 174},
	} {
		s := maps.Service{BySource: c.bits != byFlow}
		p.offerMany(s, min(max(c.bits, 0), 32), max(c.bits, 0))
		ip := from(t, netip.AddrPortFrom(c.src.client, 4242), c.proto)
		_, out := p.run(arriving(ip))
		label, port := binary.BigEndian.Uint32(out[14:])&0xfffff, binary.BigEndian.Uint16(out[54:])
		if label != uint32(c.hash>>12)&0xfffff || port != 0xc000|uint16(c.hash)&0x3fff {
			t.Errorf("%s/%s by %d bits: flow label %#x, source port %#x; the hash is %#x", c.src.name, c.proto, c.bits, label, port, c.hash)
		}
		if got := p.backendOf(ip); got != c.slot+1 {
			t.Errorf("%s/%s by %d bits: slot %d, want %d", c.src.name, c.proto, c.bits, got-1, c.slot)
		}
	}
}

func TestAffinityBySourceKeepsASourceAndSpreadsOthers(t *testing.T) {
	p := newPath(t)
	p.offerMany(maps.Service{BySource: true}, 24, 56)
	for _, c := range []struct {
		name   string
		same   []string // as the first one
		others func(i int) netip.Addr
	}{
		{"IPv4 /24", []string{"198.51.100.7", "198.51.100.0", "198.51.100.255"}, func(i int) netip.Addr {
			return netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 7})
		}},
		{"IPv6 /56", []string{"2001:db8:51:100::7", "2001:db8:51:1ff::", "2001:db8:51:100:ffff:ffff:ffff:ffff"}, func(i int) netip.Addr {
			return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7, byte(i >> 8), byte(i), 0, 15: 1})
		}},
	} {
		first := p.backendOf(from(t, netip.AddrPortFrom(netip.MustParseAddr(c.same[0]), 4242), maps.TCP))
		for _, src := range c.same {
			for _, port := range []uint16{1, 4242, 4243, 65535} {
				for _, proto := range []maps.Protocol{maps.TCP, maps.UDP} {
					src := netip.AddrPortFrom(netip.MustParseAddr(src), port)
					if got := p.backendOf(from(t, src, proto)); got != first || got == 0 {
						t.Errorf("%s: %s/%s goes to backend %d, want %d", c.name, src, proto, got, first)
					}
				}
			}
		}
		seen := map[maps.BackendID]bool{}
		for i := range 1000 {
			seen[p.backendOf(from(t, netip.AddrPortFrom(c.others(i), 4242), maps.TCP))] = true
		}
		if len(seen) < 190 { // 1000 draws of 199 leave one or two out
			t.Errorf("%s: 1000 prefixes go to %d of %d backends", c.name, len(seen), manyBackends)
		}
	}
}

func TestAffinityByFlowSpreadsTheFlowsOfOneSource(t *testing.T) {
	p := newPath(t)
	p.offerMany(maps.Service{}, 0, 0)
	for _, f := range families {
		seen := map[maps.BackendID]bool{}
		for port := range uint16(1000) {
			src := netip.AddrPortFrom(f.client, 20000+port)
			b := p.backendOf(from(t, src, maps.TCP))
			if again := p.backendOf(from(t, src, maps.TCP)); again != b {
				t.Fatalf("%s goes to backend %d, then to %d", src, b, again)
			}
			seen[b] = true
		}
		if len(seen) < 190 {
			t.Errorf("%s: 1000 ports go to %d of %d backends", f.name, len(seen), manyBackends)
		}
	}
}
