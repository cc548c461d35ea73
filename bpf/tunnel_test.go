package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// Every mode, every mix of inner and outer family: each byte of what leaves.
func TestEveryWayToABackendBuildsTheRightFrame(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			for i := range families { // either service may go this way: the listener decides
				p.offer(maps.ServiceID(i), maps.Service{}, w.b)
			}
			tcp, udp := w.inner.hash(443, maps.TCP), w.inner.hash(443, maps.UDP)
			room := 1500 - overhead(w.b)
			ipHeaders := len(w.inner.tcp(t, 443, 0))
			options, _ := w.inner.ip(layers.IPProtocolTCP).(*layers.IPv4)
			for _, c := range []struct {
				name    string
				hash    uint64
				packet  []byte
				padding int
			}{
				{"a segment", tcp, w.inner.tcp(t, 443, 100), 0},
				{"a datagram", udp, w.inner.udp(t, 443, 33), 0},
				{"an odd length", tcp, w.inner.tcp(t, 443, 1), 0},
				{"the longest that fits", tcp, w.inner.tcp(t, 443, room-ipHeaders), 0},
				{"padding behind the packet", udp, w.inner.udp(t, 443, 1), 17},
				{"no DSCP, no ECN", tcp, markedPacket(w.inner.tcp(t, 443, 5), 0), 0},
				{"all DSCP and ECN bits", tcp, markedPacket(w.inner.tcp(t, 443, 5), 0xff), 0},
				{"a hop before the last", tcp, livingPacket(w.inner.tcp(t, 443, 5), 2), 0},
			} {
				padding := filler(c.padding)
				frame := append(arriving(c.packet), padding...)
				want := append(leaving(t, w.b, c.hash, c.packet), padding...)
				t.Run(c.name, func(t *testing.T) { p.expect(t, frame, xdpTX, want, bpf.ReasonForwarded) })
			}
			if options != nil {
				options.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
				ip := packet(t, options, &layers.TCP{SrcPort: 4242, DstPort: 443}, filler(9))
				t.Run("IPv4 options", func(t *testing.T) {
					p.expect(t, arriving(ip), xdpTX, leaving(t, w.b, tcp, ip), bpf.ReasonForwarded)
				})
			}
		})
	}
}

// Backends with several receive queues are reached by outer sources that differ.
func TestOuterSourceVariesWithTheFlowWithinItsPrefix(t *testing.T) {
	p := newPath(t)
	for _, c := range []struct {
		outer family
		base  string
		bits  int
	}{
		{family4, "10.9.0.0", 8}, {family4, "10.9.0.0", 16}, {family4, "10.9.0.0", 1},
		{family6, "fd00:9::", 16}, {family6, "fd00:9::", 32},
	} {
		b := via(maps.IPIP, c.outer, family4)
		b.Source, b.SourceBits = netip.MustParseAddr(c.base), c.bits
		p.offer(0, maps.Service{}, b)
		p.must(p.tables.SetListeners(web443()[:2]))
		seen := map[netip.Addr]bool{}
		for port := range uint16(200) {
			src := netip.AddrPortFrom(client, 1024+port)
			ip := packet(t, family4.ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: layers.TCPPort(src.Port()), DstPort: 443})
			hash := maps.FlowHash(maps.Key{1}, src, netip.AddrPortFrom(vip, 443), maps.TCP)
			seen[varied(b, hash)] = true
			p.expect(t, arriving(ip), xdpTX, leaving(t, b, hash, ip), bpf.ReasonForwarded)
		}
		if want := min(1<<c.bits, 90); len(seen) < want {
			t.Errorf("%d bits of %s: 200 flows have %d sources, want at least %d", c.bits, c.base, len(seen), want)
		}
	}
}

// A checksum of 0 would say that there is none (RFC 768).
func TestUDPChecksumThatComesOutAsZeroIsSentAsOnes(t *testing.T) {
	p := newPath(t)
	b := via(maps.GUE, family6, family4)
	b.Checksum = true
	p.offer(0, maps.Service{}, b)
	p.must(p.tables.SetListeners(web443()[:2]))
	const outerUDP, payload = 14 + 40, 20 + 20
	ip := family4.tcp(t, 443, 2)
	ip[payload], ip[payload+1] = 0, 0
	_, out := p.run(arriving(ip))
	copy(ip[payload:], out[outerUDP+6:][:2]) // what is missing to a sum of ones
	_, out = p.run(arriving(ip))
	if sum := binary.BigEndian.Uint16(out[outerUDP+6:]); sum != 0xffff {
		t.Errorf("checksum %#x, want 0xffff", sum)
	}
}

func TestLastHopAndUnresolvedBackendsEndPacketsOfEveryWay(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	for i, f := range families {
		p.must(p.tables.SetBackend(firstBackend(maps.ServiceID(i)), via(maps.GUE, f, f)))
		outcomes{
			{"hop limit 0", livingPacket(f.tcp(t, 443, 5), 0), "drop ttl_expired"},
			{"hop limit 1", livingPacket(f.tcp(t, 443, 5), 1), "drop ttl_expired"},
			{"hop limit 2", livingPacket(f.tcp(t, 443, 5), 2), []string{"tx backend 1", "tx backend 9"}[i]},
		}.check(t, p)
		p.must(p.tables.SetBackend(firstBackend(maps.ServiceID(i)), maps.Backend{}))
		outcomes{
			{"no next hop", f.tcp(t, 443, 5), "drop no_next_hop"},
			{"hop limit 1 before no next hop", livingPacket(f.tcp(t, 443, 5), 1), "drop ttl_expired"},
		}.check(t, p)
		p.must(p.tables.SetSlotTable(maps.ServiceID(i), nil))
		outcomes{{"no backend", f.tcp(t, 443, 5), "drop no_backend"}}.check(t, p)
	}
}

// What the program was not loaded for is refused by a reason, not sent wrongly.
func TestWaysThatTheProgramWasNotLoadedForHaveNoNextHop(t *testing.T) {
	for _, outer := range families {
		features := maps.Features{IPv6: true, Tunnel4: !outer.v6(), Tunnel6: outer.v6()}
		p := newPathWith(t, maps.Settings{Key: maps.Key{1}, Limits: testLimits}, features)
		p.must(p.tables.SetListeners(web443()))
		for _, w := range ways() {
			for i := range families {
				p.offer(maps.ServiceID(i), maps.Service{}, w.b)
			}
			verdict, want := uint32(xdpDrop), bpf.ReasonNoNextHop
			if w.b.Forward != maps.L2 && w.b.Dest.Is6() == outer.v6() {
				verdict, want = xdpTX, bpf.ReasonForwarded
			}
			ip := w.inner.tcp(t, 443, 5)
			t.Run(w.name, func(t *testing.T) {
				p.expect(t, arriving(ip), verdict, leaving(t, w.b, w.inner.hash(443, maps.TCP), ip), want)
			})
		}
	}
}
