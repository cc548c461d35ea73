package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// icmp is a message to the VIP with four bytes behind its checksum.
func (f family) icmp(t testing.TB, src netip.Addr, kind, code uint8, word uint32, payload []byte) []byte {
	t.Helper()
	return icmpPacket(t, ipHeader(src, f.vip, layers.IPProtocolICMPv4), kind, code, word, payload)
}

// icmpPacket puts an ICMP message of its family behind an IP header.
func icmpPacket(t testing.TB, ip gopacket.SerializableLayer, kind, code uint8, word uint32, payload []byte) []byte {
	t.Helper()
	if ip, ok := ip.(*layers.IPv6); ok {
		ip.NextHeader = layers.IPProtocolICMPv6
		return packet(t, ip, icmp6(kind, code), gopacket.Payload(binary.BigEndian.AppendUint32(nil, word)), gopacket.Payload(payload))
	}
	return packet(t, ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, code), Id: uint16(word >> 16), Seq: uint16(word)}, gopacket.Payload(payload))
}

func icmp6(kind, code uint8) *layers.ICMPv6 {
	return &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, code)}
}

// ping is an echo request, pong the answer to it.
func (f family) ping(t testing.TB, payload int) []byte {
	t.Helper()
	return f.icmp(t, f.client, f.echo()[0], 0, 0x12340007, filler(payload))
}

func (f family) pong(t testing.TB, payload int) []byte {
	t.Helper()
	return icmpPacket(t, ipHeader(f.vip, f.client, layers.IPProtocolICMPv4), f.echo()[1], 0, 0x12340007, filler(payload))
}

// echo returns the types of echo request and reply.
func (f family) echo() [2]uint8 {
	if f.v6() {
		return [2]uint8{layers.ICMPv6TypeEchoRequest, layers.ICMPv6TypeEchoReply}
	}
	return [2]uint8{layers.ICMPv4TypeEchoRequest, layers.ICMPv4TypeEchoReply}
}

var twoTags = []maps.Tag{{Type: 0x88a8, ID: 0x6123}, {Type: 0x8100, ID: 0xe004}}

func TestEchoIsAnsweredLikeAHostWould(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	for _, f := range families {
		for _, c := range []struct {
			name       string
			ping, pong []byte
			tags       int
			padding    int
		}{
			{"a ping", f.ping(t, 56), f.pong(t, 56), 0, 0},
			{"an empty one", f.ping(t, 0), f.pong(t, 0), 0, 0},
			{"an odd length", f.ping(t, 7), f.pong(t, 7), 0, 11},
			{"a long one", f.ping(t, 1400), f.pong(t, 1400), 0, 0},
			{"in a VLAN", f.ping(t, 56), f.pong(t, 56), 1, 3},
			{"in two VLANs", f.ping(t, 56), f.pong(t, 56), 2, 0},
			{"on its last hop", livingPacket(f.ping(t, 56), 1), f.pong(t, 56), 0, 0},
		} {
			t.Run(f.name+" "+c.name, func(t *testing.T) {
				tags, padding := twoTags[:c.tags], filler(c.padding)
				frame := append(arriving(c.ping, tags...), padding...)
				p.expect(t, frame, xdpTX, append(linked(routerMAC, selfMAC, tags, c.pong), padding...), bpf.ReasonEchoReplied)
			})
		}
	}
}

func TestEchoReplyKeepsOptionsAndHeadersOfTheRequest(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	with4 := func(src, dst netip.Addr, kind uint8) []byte {
		ip := ipHeader(src, dst, layers.IPProtocolICMPv4).(*layers.IPv4)
		ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
		return icmpPacket(t, ip, kind, 0, 9, filler(3))
	}
	with6 := func(src, dst netip.Addr, kind uint8) []byte {
		ip := ipHeader(src, dst, layers.IPProtocolICMPv6).(*layers.IPv6)
		parts := extended(ip, extension{number: hopByHop}, extension{number: destination, length: 1}, fragmentHeader(0, false, 5))
		return packet(t, append(parts, icmp6(kind, 0), filler(21))...)
	}
	for i, build := range []func(src, dst netip.Addr, kind uint8) []byte{with4, with6} {
		f := families[i]
		t.Run(f.name, func(t *testing.T) {
			p.expect(t, arriving(build(f.client, f.vip, f.echo()[0])), xdpTX,
				linked(routerMAC, selfMAC, nil, build(f.vip, f.client, f.echo()[1])), bpf.ReasonEchoReplied)
		})
	}
}

// A damaged request must not become a reply that looks right.
func TestEchoReplyToADamagedRequestIsDamaged(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	for i, f := range families {
		checksum := []int{14 + 20 + 2, 14 + 40 + 2}[i]
		for damage := range 256 {
			frame, want := arriving(f.ping(t, 8)), linked(routerMAC, selfMAC, nil, f.pong(t, 8))
			frame[len(frame)-1] ^= byte(damage)
			want[len(want)-1] ^= byte(damage)
			_, out := p.run(frame)
			if got, want := binary.BigEndian.Uint16(out[checksum:]), binary.BigEndian.Uint16(want[checksum:]); got != want {
				t.Fatalf("%s, damaged by %#x: checksum %#x, want the one of the undamaged reply, %#x", f.name, damage, got, want)
			}
		}
	}
}

func TestEchoPolicies(t *testing.T) {
	for want, policy := range map[string]maps.EchoPolicy{"pass no_service": maps.EchoPass, "drop echo_dropped": maps.EchoDrop} {
		p := newPathWith(t, maps.Settings{Key: maps.Key{1}, Limits: testLimits, Echo: policy}, maps.AllFeatures())
		p.offerWeb(maps.Service{})
		for _, f := range families {
			outcomes{
				{f.name + " echo request", f.ping(t, 56), want},
				{f.name + " echo reply", f.icmp(t, f.client, f.echo()[1], 0, 1, nil), "pass no_service"},
				{f.name + " web", f.tcp(t, 443, 5), []string{"tx backend 1", "tx backend 9"}[map[bool]int{true: 1}[f.v6()]]},
			}.check(t, p)
		}
	}
}

// quoted is a packet of the VIP's service on a port to the client's port 4242.
func (f family) quoted(t testing.TB, proto maps.Protocol, port uint16, change ...func(ip gopacket.SerializableLayer)) []byte {
	t.Helper()
	ip := ipHeader(f.vip, f.client, layers.IPProtocol(proto))
	for _, f := range change {
		f(ip)
	}
	var l4 gopacket.SerializableLayer = &layers.TCP{SrcPort: layers.TCPPort(port), DstPort: 4242, ACK: true}
	if proto == maps.UDP {
		l4 = &layers.UDP{SrcPort: layers.UDPPort(port), DstPort: 4242}
	}
	return packet(t, ip, l4, filler(60))
}

// router tells a sender what went wrong.
func (f family) router() netip.Addr {
	if f.v6() {
		return netip.MustParseAddr("2001:db8:51::1")
	}
	return netip.MustParseAddr("198.51.100.1")
}

// errorTypes are the types and codes of errors that take the flow's way.
func (f family) errorTypes() [][2]uint8 {
	if f.v6() {
		return [][2]uint8{{1, 0}, {1, 4}, {2, 0}, {3, 0}, {3, 1}, {4, 0}, {4, 2}}
	}
	return [][2]uint8{{3, 0}, {3, 1}, {3, 3}, {3, 4}, {4, 0}, {11, 0}, {11, 1}, {12, 0}}
}

// The backend that holds the flow gets the error, by the same tunnel and with the
// same hash, so that the same receive queue sees it.
func TestErrorsAboutAFlowGoItsWayInEveryMode(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			for i := range families {
				p.offer(maps.ServiceID(i), maps.Service{}, w.b)
			}
			for _, kind := range w.inner.errorTypes() {
				for _, proto := range []maps.Protocol{maps.TCP, maps.UDP} {
					quoted := w.inner.quoted(t, proto, 443)
					shortest := len(quoted) - 60 - map[maps.Protocol]int{maps.TCP: 20, maps.UDP: 8}[proto] + 8
					for _, quote := range [][]byte{quoted, quoted[:shortest]} {
						ip := w.inner.icmp(t, w.inner.router(), kind[0], kind[1], 1400, quote)
						p.expect(t, arriving(ip), xdpTX, leaving(t, w.b, w.inner.hash(443, proto), ip), bpf.ReasonForwarded)
					}
				}
			}
		})
	}
}

func TestErrorsFindTheBackendOfTheirFlowAmongMany(t *testing.T) {
	p := newPath(t)
	p.offerMany(maps.Service{}, 0, 0)
	for _, f := range families {
		seen := map[maps.BackendID]bool{}
		for port := range uint16(100) {
			quoted := f.quoted(t, maps.TCP, 443)
			binary.BigEndian.PutUint16(quoted[len(quoted)-60-20+2:], 2000+port)
			want := p.backendOf(from(t, netip.AddrPortFrom(f.client, 2000+port), maps.TCP))
			if got := p.backendOf(f.icmp(t, f.router(), f.errorTypes()[0][0], 0, 0, quoted)); got != want || got == 0 {
				t.Errorf("%s port %d: backend %d, the flow is at %d", f.name, 2000+port, got, want)
			}
			seen[want] = true
		}
		if len(seen) < 50 {
			t.Errorf("%s: 100 flows at %d backends; the test wants more", f.name, len(seen))
		}
	}
}

func TestErrorsAboutNoFlowOfTheVIPAreRefused(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	const unmatched, passed, forwarded = "drop icmp_unmatched", "pass no_service", "tx backend"
	for i, f := range families {
		other, header := families[1-i], []int{20, 40}[i]
		unreachable := f.errorTypes()[0][0]
		about := func(quote []byte) []byte { return f.icmp(t, f.router(), unreachable, 0, 0, quote) }
		quoted := f.quoted(t, maps.TCP, 443)
		backend := []string{" 1", " 9"}[i]
		outcomes{
			{"a flow of the VIP", about(quoted), forwarded + backend},
			{"a port of the VIP that nobody serves", about(f.quoted(t, maps.TCP, 444)), passed},
			{"seven bytes behind the header", about(quoted[:header+7]), unmatched},
			{"a header alone", about(quoted[:header]), unmatched},
			{"half a header", about(quoted[:header-1]), unmatched},
			{"nothing", about(nil), unmatched},
			{"the other family", about(other.quoted(t, maps.TCP, 443)), unmatched},
			{"a packet that the VIP did not send", about(f.tcp(t, 443, 30)), unmatched},
			{"a packet of another host", about(packet(t, ipHeader(f.backend, f.client, layers.IPProtocolTCP), &layers.TCP{SrcPort: 443, DstPort: 4242})), unmatched},
			{"a packet of another protocol", about(icmpPacket(t, ipHeader(f.vip, f.client, layers.IPProtocolICMPv4), f.echo()[1], 0, 0, filler(9))), unmatched},
			{"the last hop", livingPacket(about(quoted), 1), "drop ttl_expired"},
			{"an echo request of another code", f.icmp(t, f.client, f.echo()[0], 1, 0, nil), passed},
			{"a redirect", f.icmp(t, f.router(), map[bool]uint8{false: 5, true: 137}[f.v6()], 0, 0, quoted), passed},
			{"a type that is not assigned", f.icmp(t, f.router(), 100, 0, 0, quoted), passed},
			{"the other family's echo request", f.icmp(t, f.client, other.echo()[0], 0, 0, nil), passed},
		}.check(t, p)
	}

	about4 := func(quote []byte) []byte { return family4.icmp(t, family4.router(), 3, 4, 1400, quote) }
	about6 := func(quote []byte) []byte { return family6.icmp(t, family6.router(), 2, 0, 1400, quote) }
	quoted4, quoted6 := family4.quoted(t, maps.TCP, 443), family6.quoted(t, maps.TCP, 443)
	options := func(ip gopacket.SerializableLayer) {
		ip.(*layers.IPv4).Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	}
	outcomes{
		{"quoted IPv4 options", about4(family4.quoted(t, maps.TCP, 443, options)), "tx backend 1"},
		{"quoted IPv4 options, seven bytes behind them", about4(family4.quoted(t, maps.TCP, 443, options)[:24+7]), unmatched},
		{"a quoted header length below 20", about4(with(quoted4, func(b []byte) { b[0] = 0x44 })), unmatched},
		{"a quoted header length past the end", about4(with(quoted4[:28], func(b []byte) { b[0] = 0x46 })), unmatched},
		{"a quoted later fragment", about4(with(quoted4, func(b []byte) { b[7] = 1 })), unmatched},
		{"a quoted first fragment", about4(with(quoted4, func(b []byte) { b[6] = 0x20 })), "tx backend 1"},
		{"a quoted length that is nonsense", about4(with(quoted4, func(b []byte) { b[2] = 0xff })), "tx backend 1"},
		{"a message of seven bytes", shortened(family4.ping(t, 0), 7), "drop bad_length"},
		{"a message of seven bytes over IPv6", shortened(family6.ping(t, 0), 7), "drop bad_length"},
		{"quoted extension headers", about6(packet(t, extended(ipHeader(family6.vip, family6.client, layers.IPProtocolTCP).(*layers.IPv6), extension{number: destination})...)), unmatched},
		{"a quoted version of 4 in an IPv6 header", about6(with(quoted6, func(b []byte) { b[0] = 0x40 })), unmatched},
		{"a quoted version of 6 in an IPv4 header", about4(with(quoted4, func(b []byte) { b[0] = 0x65 })), unmatched},
	}.check(t, p)
}

// shortened is a packet without IP options whose L4 is cut to n bytes.
func shortened(ip []byte, n int) []byte {
	if ip[0]>>4 == 6 {
		ip = append([]byte(nil), ip[:40+n]...)
		binary.BigEndian.PutUint16(ip[4:], uint16(n))
		return ip
	}
	ip = append([]byte(nil), ip[:20+n]...)
	binary.BigEndian.PutUint16(ip[2:], uint16(20+n))
	return rightChecksum(ip)
}
