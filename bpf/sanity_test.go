package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

// The program with the option verify_checksum.
func verifying(t *testing.T) *path {
	t.Helper()
	return newPathWith(t, maps.Settings{Key: maps.Key{1}, Limits: testLimits, VerifyChecksum: true}, maps.AllFeatures())
}

func TestSourcesThatNoHostHasAreDropped(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	p.must(p.tables.SetListeners(append(web443(),
		listen("192.0.2.11", 80, 80, maps.TCP, 0), listen("203.0.113.64/26", 80, 80, maps.TCP, 0),
		listen("2001:db8:2::11", 80, 80, maps.TCP, 1), listen("2001:db8:9::/112", 80, 80, maps.TCP, 1))))
	const land, martian, isVIP = "drop land", "drop martian", "drop source_is_vip"
	for src, want := range map[string]string{
		"192.0.2.10":             land,
		"0.0.0.0":                martian,
		"0.255.255.255":          martian,
		"1.0.0.0":                allowed,
		"126.255.255.255":        allowed,
		"127.0.0.0":              martian,
		"127.0.0.1":              martian,
		"127.255.255.255":        martian,
		"128.0.0.0":              allowed,
		"10.0.0.1":               allowed, // private networks may be clients
		"169.254.1.1":            allowed,
		"223.255.255.255":        allowed,
		"224.0.0.1":              martian,
		"239.255.255.255":        martian,
		"240.0.0.1":              martian,
		"255.255.255.255":        martian,
		"192.0.2.11":             isVIP,
		"203.0.113.64":           isVIP,
		"203.0.113.127":          isVIP,
		"203.0.113.63":           allowed,
		"203.0.113.128":          allowed,
		"2001:db8:2::10":         land,
		"::":                     martian,
		"::1":                    martian,
		"::ffff:198.51.100.7":    martian,
		"::198.51.100.7":         martian,
		"0:0:0:1::":              allowed,
		"ff00::":                 martian,
		"ff02::1":                martian,
		"ffff:ffff:ffff:ffff::":  martian,
		"feff::1":                allowed,
		"fe80::1":                allowed,
		"fd00::1":                allowed,
		"2001:db8:2::11":         isVIP,
		"2001:db8:9::":           isVIP,
		"2001:db8:9::ffff":       isVIP,
		"2001:db8:9::1:0":        allowed,
		"2001:db8:2:0:1::10":     allowed, // all but one bit as the VIP
		"2001:db8:2:8000::10":    allowed,
		"2001:db8:2::8000:0:10":  allowed,
		"2001:db8:2::10:0:10":    allowed,
		"2001:db9:2::10":         allowed,
		"192.0.2.138":            allowed,
		"192.1.2.10":             allowed,
		"2001:db8:8009::1":       allowed,
		"2001:db8:51::c000:20a":  allowed,
		"2001:db8:0:1::c000:20a": allowed,
	} {
		src := netip.MustParseAddr(src)
		if want == allowed {
			want += map[bool]string{false: " 1", true: " 9"}[src.Is6()]
		}
		outcomes{{src.String(), from(t, netip.AddrPortFrom(src, 4242), maps.TCP), want}}.check(t, p)
	}
	for _, c := range []struct {
		name   string
		packet []byte
		want   string
	}{
		{"a foreign packet from a martian", packet(t, ipHeader(netip.MustParseAddr("127.0.0.1"), backend, layers.IPProtocolUDP), &layers.UDP{}), "pass not_ours"},
		{"a foreign packet from a VIP", packet(t, ipHeader(vip, backend, layers.IPProtocolUDP), &layers.UDP{}), "pass not_ours"},
		{"a ping from a martian", family4.icmp(t, netip.MustParseAddr("127.0.0.1"), 8, 0, 0, nil), martian},
		{"an error from a VIP", family4.icmp(t, netip.MustParseAddr("192.0.2.11"), 3, 3, 0, family4.quoted(t, maps.TCP, 443)), isVIP},
		{"a later fragment from itself", with(part{family: family4, proto: maps.TCP, offset: 64}.packet(t), func(b []byte) { copy(b[12:16], b[16:20]) }), land},
		{"a bad length from itself", with(from(t, netip.AddrPortFrom(vip, 443), maps.TCP), func(b []byte) { b[2] = 9 }), "drop bad_length"},
	} {
		outcomes{{c.name, c.packet, c.want}}.check(t, p)
	}
}

func TestLengthsThatDoNotAddUpAreDropped(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	const bad = "drop bad_length"
	set16 := func(at int, value uint16) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint16(b[at:], value) }
	}
	set8 := func(at int, value uint8) func([]byte) { return func(b []byte) { b[at] = value } }
	for i, f := range families {
		to, l4, length := []string{"tx backend 1", "tx backend 9"}[i], []int{20, 40}[i], []int{2, 4}[i]
		tcp, udp := f.tcp(t, 443, 30), f.udp(t, 443, 30)
		whole := len(tcp) - []int{0, 40}[i] // what the length field says
		outcomes{
			{"TCP", tcp, to},
			{"UDP", udp, to},
			{"a length one past the frame", with(tcp, set16(length, uint16(whole+1))), bad},
			{"the largest length", with(tcp, set16(length, 65535)), bad},
			{"a length within the frame", with(tcp, set16(length, uint16(whole-1))), to},
			{"no payload", shortened(tcp, 20), to},
			{"TCP of 19 bytes", shortened(tcp, 19), bad},
			{"TCP of no bytes", shortened(tcp, 0), bad},
			{"UDP of 8 bytes", with(shortened(udp, 8), set16(l4+4, 8)), to},
			{"UDP of 7 bytes", shortened(udp, 7), bad},
			{"TCP: data offset 4", with(tcp, set8(l4+12, 0x40)), bad},
			{"TCP: data offset 0", with(tcp, set8(l4+12, 0)), bad},
			{"TCP: data offset to the end", with(shortened(tcp, 40), set8(l4+12, 0xa0)), to},
			{"TCP: data offset past the end", with(shortened(tcp, 39), set8(l4+12, 0xa0)), bad},
			{"TCP: data offset 15", with(shortened(tcp, 40), set8(l4+12, 0xf0)), bad},
			{"UDP: length 7", with(udp, set16(l4+4, 7)), bad},
			{"UDP: length 0", with(udp, set16(l4+4, 0)), bad},
			{"UDP: length one past the end", with(udp, set16(l4+4, 8+30+1)), bad},
			{"UDP: length one before the end", with(udp, set16(l4+4, 8+30-1)), to},
			{"a port that nobody serves, TCP of 19 bytes", shortened(f.tcp(t, 444, 9), 19), bad},
			{"a protocol that nobody serves, no bytes", shortened(packet(t, f.ip(layers.IPProtocolSCTP), filler(9)), 0), "pass no_service"},
		}.check(t, p)
	}
	tcp := family4.tcp(t, 443, 40)
	outcomes{
		{"IPv4: header length 4", with(tcp, set8(0, 0x44)), bad},
		{"IPv4: header length 0", with(tcp, set8(0, 0x40)), bad},
		{"IPv4: total length below the header's", with(tcp, set16(2, 19)), bad},
		{"IPv4: total length 0", with(tcp, set16(2, 0)), bad},
		{"IPv4: header length past the total length", with(shortened(tcp, 20), set8(0, 0x4f)), bad},
		{"IPv6: no payload", shortened(family6.tcp(t, 443, 0), 0), bad},
		{"IPv6: no payload, as a jumbogram has", packet(t, family6.ip(hopByHop)), bad},
	}.check(t, p)
}

// What lies in the frame behind the packet is no part of it.
func TestLengthsComeFromTheIPHeaderNotFromTheFrame(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	for i, f := range families {
		outcomes{
			{"TCP cut short, with padding", append(shortened(f.tcp(t, 443, 40), 19), filler(40)...), "drop bad_length"},
			{"the longest packet, with padding", append(f.tcp(t, 443, 1500-len(f.tcp(t, 443, 0))), filler(40)...), []string{"tx backend 1", "tx backend 9"}[i]},
			{"an error whose quote is padding", append(f.icmp(t, f.router(), f.errorTypes()[0][0], 0, 0, nil), f.quoted(t, maps.TCP, 443)...), "drop icmp_unmatched"},
			{"a ping whose header is padding", append(shortened(f.ping(t, 8), 7), filler(9)...), "drop bad_length"},
		}.check(t, p)
	}
}

func TestHeaderChecksumIsVerifiedByOption(t *testing.T) {
	tcp := family4.tcp(t, 443, 20)
	options := family4.ip(layers.IPProtocolTCP).(*layers.IPv4)
	for range 10 {
		options.Options = append(options.Options, layers.IPv4Option{OptionType: 148, OptionLength: 4, OptionData: []byte{0xff, 0x01}})
	}
	long := packet(t, options, &layers.TCP{SrcPort: 4242, DstPort: 443})
	damaged := func(at int) []byte { return with(long, func(b []byte) { b[at] ^= 0x10 }) }
	zero := family4.tcp(t, 443, 0) // a checksum of 0 needs an identification that makes it so
	for id := range 1 << 16 {
		binary.BigEndian.PutUint16(zero[4:], uint16(id))
		if rightChecksum(zero); zero[10] == 0 && zero[11] == 0 {
			break
		}
	}
	const wrong = "drop bad_checksum"
	p := verifying(t)
	p.offerWeb(maps.Service{})
	outcomes{
		{"right", tcp, "tx backend 1"},
		{"right, with options", long, "tx backend 1"},
		{"0 where it should be", zero, "tx backend 1"},
		{"one bit of it", with(tcp, func(b []byte) { b[11] ^= 1 }), wrong},
		{"TTL", with(tcp, func(b []byte) { b[8]-- }), wrong},
		{"source", with(tcp, func(b []byte) { b[15]-- }), wrong},
		{"the first option", damaged(20), wrong},
		{"the middle of the options", damaged(39), wrong},
		{"the last option", damaged(59), wrong},
		{"behind the header", with(tcp, func(b []byte) { b[len(b)-1]++ }), "tx backend 1"}, // the server verifies that
		{"a ping", with(family4.ping(t, 9), func(b []byte) { b[11]++ }), wrong},
		{"not ours", with(packet(t, ipHeader(client, backend, layers.IPProtocolUDP), &layers.UDP{}), func(b []byte) { b[11]++ }), "pass not_ours"},
		{"a bad length comes first", with(tcp, func(b []byte) { b[2] = 9 }), "drop bad_length"},
		{"a land attack comes later", with(tcp, func(b []byte) { copy(b[12:16], b[16:20]) }), wrong},
		{"IPv6 has none", family6.tcp(t, 443, 5), "tx backend 9"},
	}.check(t, p)

	p = newPath(t)
	p.offerWeb(maps.Service{})
	outcomes{{"without the option", with(tcp, func(b []byte) { b[11]++ }), "tx backend 1"}}.check(t, p)
}

// A wrong header checksum stays wrong on the way: the server drops the packet.
func TestWrongHeaderChecksumIsNotRepaired(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	frame := arriving(with(family4.tcp(t, 443, 20), func(b []byte) { b[11] ^= 0x55 }))
	_, out := p.run(frame)
	if gopacket.FoldChecksum(gopacket.ComputeChecksum(out[14:34], 0)) == 0 {
		t.Error("the checksum is right now")
	}
}
