package bpf_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// tooBig is what the sender of a packet is told about the path MTU, computed by
// another implementation.
func tooBig(t testing.TB, ip []byte, mtu int, tags ...maps.Tag) []byte {
	t.Helper()
	answer := ipHeader(addrAt(ip, true), addrAt(ip, false), layers.IPProtocolICMPv4)
	kind, code, quote := uint8(layers.ICMPv4TypeDestinationUnreachable), uint8(layers.ICMPv4CodeFragmentationNeeded), ip[:min(len(ip), 520)]
	switch answer := answer.(type) {
	case *layers.IPv4:
		answer.TOS, answer.Id = 0, 0
	case *layers.IPv6:
		answer.TrafficClass = 0
		kind, code, quote = layers.ICMPv6TypePacketTooBig, 0, ip[:min(len(ip), 1232)]
		mtu = max(mtu, 1280)
	}
	return linked(routerMAC, selfMAC, tags, icmpPacket(t, answer, kind, code, uint32(mtu), quote))
}

// addrAt is the destination or the source of an IP packet.
func addrAt(ip []byte, dst bool) netip.Addr {
	at, size := 12, 4
	if ip[0]>>4 == 6 {
		at, size = 8, 16
	}
	if dst {
		at += size
	}
	addr, _ := netip.AddrFromSlice(ip[at : at+size])
	return addr
}

func TestPacketTooBigForItsWayIsAnsweredWithThePathMTU(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	for _, w := range ways() {
		for _, mtu := range []int{600, 1280, 1301, 1400, 1500} {
			b, room := w.b, mtu-overhead(w.b)
			b.MTU = mtu
			for i := range families {
				p.offer(maps.ServiceID(i), maps.Service{}, b)
			}
			headers := len(w.inner.tcp(t, 443, 0))
			for _, c := range []struct {
				name    string
				packet  []byte
				tags    int
				padding int
			}{
				{"one byte more", w.inner.tcp(t, 443, room+1-headers), 0, 0},
				{"two bytes more", w.inner.tcp(t, 443, room+2-headers), 0, 0},
				{"a datagram of 1500", w.inner.udp(t, 443, 1500-headers+12), 0, 0},
				{"in a VLAN, on its last but one hop", livingPacket(w.inner.tcp(t, 443, room+1-headers), 2), 1, 0},
				{"in two VLANs, padded", w.inner.tcp(t, 443, room+1-headers), 2, 9},
			} {
				if len(c.packet) <= room {
					continue
				}
				t.Run(fmt.Sprintf("%s, MTU %d, %s", w.name, mtu, c.name), func(t *testing.T) {
					frame := append(arriving(c.packet, twoTags[:c.tags]...), filler(c.padding)...)
					p.expect(t, frame, xdpTX, tooBig(t, c.packet, room, twoTags[:c.tags]...), bpf.ReasonTooBigAnswered)
				})
			}
		}
	}
}

// An answer quotes at most 520 or 1232 bytes, or the whole packet if it is shorter.
func TestShortPacketIsQuotedWhole(t *testing.T) {
	p := newPath(t)
	for i, f := range families {
		for _, length := range []int{519, 520, 521, 1231, 1232, 1233} {
			b := via(maps.L2, f, f)
			b.MTU = length - 1
			p.offer(maps.ServiceID(i), maps.Service{}, b)
			p.must(p.tables.SetListeners(web443()))
			ip := f.tcp(t, 443, length-len(f.tcp(t, 443, 0)))
			p.expect(t, arriving(ip), xdpTX, tooBig(t, ip, length-1), bpf.ReasonTooBigAnswered)
		}
	}
}

func TestSenderThatCannotBeToldLosesThePacket(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{BySource: true, SourceBits: 32}) // its later fragments need no record
	for i, f := range families {
		b := via(maps.GUE, f, f)
		p.must(p.tables.SetBackend(firstBackend(maps.ServiceID(i)), b))
	}
	ip4 := func(flags layers.IPv4Flag, offset uint16) []byte {
		ip := family4.ip(layers.IPProtocolTCP).(*layers.IPv4)
		ip.Flags, ip.FragOffset = flags, offset
		return packet(t, ip, &layers.TCP{SrcPort: 4242, DstPort: 443}, filler(1470))
	}
	ip6 := func(e extension) []byte {
		return packet(t, append(extended(family6.ip(layers.IPProtocolTCP).(*layers.IPv6), e), &layers.TCP{SrcPort: 4242, DstPort: 443}, filler(1430))...)
	}
	const dropped, answered = "drop too_big", "tx too_big_answered"
	outcomes{
		{"DF", ip4(layers.IPv4DontFragment, 0), answered},
		{"no DF", ip4(0, 0), dropped},
		{"a first fragment without DF", ip4(layers.IPv4MoreFragments, 0), dropped},
		{"a first fragment with DF", ip4(layers.IPv4MoreFragments|layers.IPv4DontFragment, 0), answered},
		{"a later fragment with DF", ip4(layers.IPv4DontFragment, 100), dropped},
		{"IPv6, a first fragment", ip6(fragmentHeader(0, true, 9)), answered},
		{"IPv6, a later fragment", ip6(fragmentHeader(800, true, 9)), dropped},
		{"an error", family4.icmp(t, family4.router(), 3, 1, 0, append(family4.quoted(t, maps.TCP, 443), filler(1450)...)), dropped},
		{"an IPv6 error", family6.icmp(t, family6.router(), 1, 0, 0, append(family6.quoted(t, maps.TCP, 443), filler(1410)...)), dropped},
		{"the last hop", livingPacket(ip4(layers.IPv4DontFragment, 0), 1), "drop ttl_expired"},
	}.check(t, p)
}

func TestTooBigAnswersKeepToTheNodesLimit(t *testing.T) {
	limit := maps.Rate{Interval: 100 * time.Millisecond, Tolerance: 300 * time.Millisecond}
	p := newPathWith(t, maps.Settings{Key: maps.Key{1}, Limits: testLimits, TooBig: limit, FixedTime: true}, maps.AllFeatures())
	p.offerWeb(maps.Service{})
	packets := [][]byte{family4.tcp(t, 443, 1500), family6.tcp(t, 443, 1500)} // one limit for both
	now := time.Hour
	for _, c := range []struct {
		after    time.Duration
		answered int // of ten
	}{{0, 4}, {99 * time.Millisecond, 0}, {time.Millisecond, 1}, {200 * time.Millisecond, 2}, {time.Hour, 4}} {
		now += c.after
		p.tables.SetTime(uint64(now))
		counted := p.counted(func() {
			for i := range 10 {
				p.run(arriving(packets[i%2]))
			}
		})
		answered, dropped := counted[bpf.ReasonTooBigAnswered].Packets, counted[bpf.ReasonTooBig].Packets
		if answered != uint64(c.answered) || answered+dropped != 10 {
			t.Errorf("%s on: %d answered, %d dropped, want %d answered of 10", c.after, answered, dropped, c.answered)
		}
	}
}
