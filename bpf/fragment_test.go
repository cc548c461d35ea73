package bpf_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// part is a fragment of a packet from the client to the VIP. The offset is in bytes.
type part struct {
	family
	proto  maps.Protocol
	ident  uint32 // IPv4: 16 bits
	offset uint16
	last   bool
}

// packet has 64 bytes behind the IP header; those at offset 0 begin with an L4
// header, from port 4242 to port 443.
func (f part) packet(t testing.TB) []byte {
	t.Helper()
	ip := f.ip(layers.IPProtocol(f.proto))
	l4 := []gopacket.SerializableLayer{filler(64)}
	switch {
	case f.offset == 0 && f.proto == maps.TCP:
		l4 = []gopacket.SerializableLayer{&layers.TCP{SrcPort: 4242, DstPort: 443, ACK: true}, filler(44)}
	case f.offset == 0 && f.proto == maps.UDP:
		l4 = []gopacket.SerializableLayer{&layers.UDP{SrcPort: 4242, DstPort: 443}, filler(56)}
	}
	if ip, ok := ip.(*layers.IPv6); ok {
		return packet(t, append(extended(ip, fragmentHeader(f.offset, !f.last, f.ident)), l4...)...)
	}
	header := ip.(*layers.IPv4)
	header.Id, header.FragOffset, header.Flags = uint16(f.ident), f.offset/8, layers.IPv4MoreFragments
	if f.last {
		header.Flags = 0
	}
	return packet(t, append([]gopacket.SerializableLayer{header}, l4...)...)
}

// clocked is a path whose time the test sets.
func clocked(t *testing.T, change ...func(*maps.Settings)) *path {
	t.Helper()
	s := maps.Settings{Key: maps.Key{1}, Limits: testLimits, FixedTime: true}
	for _, f := range change {
		f(&s)
	}
	p := newPathWith(t, s, maps.AllFeatures())
	p.tables.SetTime(uint64(time.Hour))
	return p
}

const orphaned = "drop fragment_unknown"

func TestLaterFragmentsFollowTheFirst(t *testing.T) {
	p := clocked(t)
	p.offerWeb(maps.Service{})
	for i, f := range families {
		for j, proto := range []maps.Protocol{maps.TCP, maps.UDP} {
			to := []string{"tx backend 1", "tx backend 9"}[i]
			first := part{family: f, proto: proto, ident: 0x1234 + 0x100*uint32(j)}
			but := func(change func(*part)) []byte {
				other := first
				other.offset = 64
				change(&other)
				return other.packet(t)
			}
			later := but(func(*part) {})
			outcomes{
				{"a later one before the first", later, orphaned},
				{"the first", first.packet(t), to},
				{"the next", later, to},
				{"the last", but(func(f *part) { f.offset, f.last = 128, true }), to},
				{"the next again", later, to},
				{"one of 8 bytes offset", but(func(f *part) { f.offset = 8 }), to},
				{"one of the next packet", but(func(f *part) { f.ident++ }), orphaned},
				{"one of a packet that differs in the first byte", but(func(f *part) { f.ident ^= 0x8000 }), orphaned},
				{"one of another source", but(func(f *part) { f.client = f.client.Next() }), orphaned},
				{"one of the other protocol", but(func(f *part) { f.proto = maps.TCP + maps.UDP - proto }), orphaned},
			}.check(t, p)

			p.must(p.tables.SetBackend(100, via(maps.L2, f, f)))
			p.must(p.tables.SetSlotTable(maps.ServiceID(i), maps.Steady([]maps.BackendID{100})))
			outcomes{
				{"a later one after the slots have moved", later, to},
				{"the first of another packet", but(func(f *part) { f.offset, f.ident = 0, 77 }), "tx backend 100"},
				{"its next", but(func(f *part) { f.ident = 77 }), "tx backend 100"},
			}.check(t, p)
			p.offer(maps.ServiceID(i), maps.Service{}, maps.Backend{IPv6: f.v6()})
			outcomes{{"a later one after its backend lost its next hop", later, "drop no_next_hop"}}.check(t, p)
			p.offer(maps.ServiceID(i), maps.Service{}, via(maps.L2, f, f))
		}
	}
}

// The hashes were computed from docs/DATAPATH.md, section 12, by another program.
func TestFragmentsLeaveByTheTunnelWithTheirHash(t *testing.T) {
	p := clocked(t)
	p.offerWeb(maps.Service{})
	for i, f := range families {
		for _, c := range []struct {
			proto maps.Protocol
			hash  uint64
		}{
			{maps.TCP, []uint64{0xe58d0639797a3e83, 0xfa51222f3c37c9c1}[i]},
			{maps.UDP, []uint64{0x8aa34b399095311b, 0xab30ecdad8ac7814}[i]},
		} {
			b := via(maps.GUE, family6, f)
			p.offer(maps.ServiceID(i), maps.Service{}, b)
			first := part{family: f, proto: c.proto, ident: []uint32{0x1234, 0x12345678}[i]}
			later := first
			later.offset = 64
			t.Run(f.name+" "+c.proto.String(), func(t *testing.T) {
				p.expect(t, arriving(first.packet(t)), xdpTX, leaving(t, b, f.hash(443, c.proto), first.packet(t)), bpf.ReasonForwarded)
				p.expect(t, arriving(later.packet(t)), xdpTX, leaving(t, b, c.hash, later.packet(t)), bpf.ReasonForwarded)
			})
		}
	}
}

func TestFragmentRecordsEndAfterTenSeconds(t *testing.T) {
	p := clocked(t)
	p.offerWeb(maps.Service{})
	const start = 0x1fffffe * time.Second // close to where the records' seconds begin anew
	for i, f := range families {
		to := []string{"tx backend 1", "tx backend 9"}[i]
		for n, c := range []struct {
			first, later time.Duration
			want         string
		}{
			{0, 10 * time.Second, to},
			{0, 11*time.Second - 1, to},
			{0, 11 * time.Second, orphaned},
			{time.Second - 1, 11 * time.Second, orphaned}, // whole seconds are counted
			{0, time.Hour, orphaned},
		} {
			first := part{family: f, proto: maps.TCP, ident: uint32(n)}
			later := first
			later.offset = 64
			p.tables.SetTime(uint64(start + c.first))
			outcomes{{"the first", first.packet(t), to}}.check(t, p)
			p.tables.SetTime(uint64(start + c.later))
			outcomes{{fmt.Sprintf("the next after %s", c.later-c.first), later.packet(t), c.want}}.check(t, p)
		}
	}
}

// A full bucket loses the oldest record, whoever sends how many first fragments.
func TestFragmentRecordsAreBoundedAndTheOldestGoes(t *testing.T) {
	p := clocked(t, func(s *maps.Settings) { s.Limits.Fragments = 4 })
	p.offerWeb(maps.Service{})
	first := part{family: family4, proto: maps.UDP}
	later := part{family: family4, proto: maps.UDP, offset: 64}
	for n := range 6 {
		p.tables.SetTime(uint64(time.Hour) + uint64(n)*uint64(time.Second))
		first.ident = uint32(n)
		outcomes{{"first", first.packet(t), "tx backend 1"}}.check(t, p)
	}
	for n := range 6 {
		later.ident = uint32(n)
		want := "tx backend 1"
		if n < 2 {
			want = orphaned
		}
		outcomes{{fmt.Sprintf("later fragment of packet %d", n), later.packet(t), want}}.check(t, p)
	}
}

// Where the source alone decides, every fragment finds its way by itself.
func TestServicesBySourceNeedNoFirstFragment(t *testing.T) {
	p := clocked(t)
	for i, f := range families {
		id := maps.ServiceID(2 * i)
		later := func(proto maps.Protocol) []byte { return part{family: f, proto: proto, offset: 64}.packet(t) }
		to := fmt.Sprintf("tx backend %d", firstBackend(id))
		all := func(addr string) []maps.Listener {
			return []maps.Listener{listen(addr, 443, 443, maps.TCP, id), listen(addr, 80, 90, maps.TCP, id), listen(addr, 53, 53, maps.UDP, id+1)}
		}
		p.offer(id, maps.Service{BySource: true, SourceBits: 24}, via(maps.L2, f, f))
		p.offer(id+1, maps.Service{}, via(maps.L2, f, f))
		p.must(p.tables.SetListeners(all(f.vip.String())))
		outcomes{
			{"TCP has one service, by source", later(maps.TCP), to},
			{"UDP has one by flow", later(maps.UDP), orphaned},
		}.check(t, p)

		p.must(p.tables.SetRules(id, []maps.Rule{{Source: prefixOf(f.client)}}))
		p.offer(id, maps.Service{BySource: true, SourceBits: 24, Filter: maps.AllowOthers}, via(maps.L2, f, f))
		outcomes{{"its filter counts", later(maps.TCP), "drop denied"}}.check(t, p)
		p.offer(id, maps.Service{BySource: true, SourceBits: 24}, via(maps.L2, f, f))

		p.must(p.tables.SetListeners(append(all(f.vip.String()), listen(f.vip.String(), 8443, 8443, maps.TCP, id+1))))
		outcomes{{"TCP has two", later(maps.TCP), orphaned}}.check(t, p)

		around := prefixOf(f.vip).String()
		p.must(p.tables.SetListeners(append(all(f.vip.String()), listen(around, 8443, 8443, maps.TCP, id+1))))
		outcomes{{"TCP has another that shows through from a shorter prefix", later(maps.TCP), orphaned}}.check(t, p)

		p.must(p.tables.SetListeners(append(all(f.vip.String()), listen(around, 443, 443, maps.TCP, id+1))))
		outcomes{{"the shorter prefix's is hidden", later(maps.TCP), to}}.check(t, p)
	}
}

func TestOrphansArePassedByOption(t *testing.T) {
	p := clocked(t, func(s *maps.Settings) { s.PassOrphans = true })
	p.offerWeb(maps.Service{})
	for _, f := range families {
		frame := arriving(part{family: f, proto: maps.UDP, offset: 64}.packet(t))
		p.expect(t, frame, xdpPass, frame, bpf.ReasonFragmentUnknown)
	}
}

func TestFragmentsThatCannotBeAreRefused(t *testing.T) {
	p := clocked(t)
	p.offerWeb(maps.Service{})
	const icmp, sctp = 1, 132
	short := func(f part, n int) []byte { return shortened(f.packet(t), n) }
	for i, f := range families {
		to, fragmentHeaderLength := []string{"tx backend 1", "tx backend 9"}[i], 8*i
		ownICMP := []maps.Protocol{icmp, 58}[i]
		outcomes{
			{"a later one of ICMP", part{family: f, proto: ownICMP, offset: 64}.packet(t), "drop fragment"},
			{"a first one of ICMP", part{family: f, proto: ownICMP}.packet(t), "drop fragment"},
			{"a later one of SCTP", part{family: f, proto: sctp, offset: 64}.packet(t), "drop fragment"},
			{"a first one of SCTP", part{family: f, proto: sctp}.packet(t), "pass no_service"},
			{"a later one that ends at 65535", short(part{family: f, proto: maps.UDP, offset: 65528}, fragmentHeaderLength+7), orphaned},
			{"a later one that ends at 65536", short(part{family: f, proto: maps.UDP, offset: 65528}, fragmentHeaderLength+8), "drop bad_length"},
			{"a first one with all of TCP's header", short(part{family: f, proto: maps.TCP}, fragmentHeaderLength+20), to},
			{"a first one without all of TCP's header", short(part{family: f, proto: maps.TCP}, fragmentHeaderLength+19), "drop bad_length"},
			{"a first one of a longer datagram", short(part{family: f, proto: maps.UDP}, fragmentHeaderLength+8), to},
			{"a first one without all of UDP's header", short(part{family: f, proto: maps.UDP}, fragmentHeaderLength+7), "drop bad_length"},
			{"a later one of no bytes", short(part{family: f, proto: maps.TCP, offset: 64, ident: 9}, fragmentHeaderLength), orphaned},
		}.check(t, p)
	}
	atomic := part{family: family6, proto: maps.UDP, ident: 5, last: true}
	later := part{family: family6, proto: maps.UDP, ident: 5, offset: 64}
	outcomes{
		{"a packet with a fragment header that is none", atomic.packet(t), "tx backend 9"},
		{"leaves no record", later.packet(t), orphaned},
		{"options behind the fragment header", packet(t, append(extended(family6.ip(layers.IPProtocolTCP).(*layers.IPv6),
			fragmentHeader(0, true, 6), extension{number: destination}), &layers.TCP{SrcPort: 4242, DstPort: 443})...), "tx backend 9"},
		{"a later one that names options", part{family: family6, proto: maps.Protocol(destination), offset: 64, ident: 6}.packet(t), "drop fragment"},
	}.check(t, p)
}
