package main

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/testenv"
)

func TestPacketsThatNoHostSendsAreDroppedWithTheirReason(t *testing.T) {
	lab := testenv.New(t, testenv.NewRouted, testenv.Options{VIPs: bothVIPs, Decap: decap})
	node := start(t, lab, configOf(lab, "verify_checksum: true",
		service("four", "vip: 192.0.2.10, port: [80, 81], protocol: [tcp, udp], forward: ipip", over4(lab.Backends...)),
		service("six", `vip: "2001:db8:2::10", port: [80, 81], protocol: [tcp, udp], forward: ipip`, over6(lab.Backends...)),
		service("other", "vip: 192.0.2.11, port: 80, forward: gre", over4(lab.Backends...))))
	tap, kernel := openTap(t, lab.LBPeers[0].NS, lab.LBPeers[0].Interface), openTap(t, lab.LB, lab.LBInterfaces[0])

	at, at6 := testenv.Sources(1)[0], testenv.SourcesFor(testenv.DefaultVIP6, 1)[0]
	vip, vip6 := silent(testenv.DefaultVIP), silent(testenv.DefaultVIP6)
	from := func(addr string) []byte {
		a := netip.AddrPortFrom(netip.MustParseAddr(addr), 4242)
		if a.Addr().Is6() {
			return datagram(t, lab, a, vip6)
		}
		return datagram(t, lab, a, vip)
	}
	good, good6 := datagram(t, lab, at, vip), datagram(t, lab, at6, vip6)
	const ip = 14 // where the IP header begins
	cases := []struct {
		reason string
		frame  []byte
	}{
		{"land", from(vip.Addr().String())},
		{"land", from(vip6.Addr().String())},
		{"source_is_vip", from("192.0.2.11")},
		{"martian", from("0.0.0.0")},
		{"martian", from("127.0.0.1")},
		{"martian", from("224.0.0.1")},
		{"martian", from("240.0.0.1")},
		{"martian", from("255.255.255.255")},
		{"martian", from("::")},
		{"martian", from("::1")},
		{"martian", from("::ffff:198.18.0.1")},
		{"martian", from("ff02::1")},
		{"bad_length", good[:ip+20+8+len(payload)-1]}, // behind that is padding
		{"bad_length", good6[:len(good6)-1]},
		{"bad_length", with(good, ip, 0x44)},       // a header of 16 bytes
		{"bad_length", with(good, ip+2, 0, 19)},    // shorter than its header
		{"bad_length", with(good, ip+20+4, 0, 7)},  // UDP length
		{"bad_length", with(good6, ip+40+4, 0, 7)}, // of both families
		{"bad_length", with(good, ip+20+4, 0xff, 0xff)},
		{"bad_length", withSegment(t, lab, 4)}, // TCP data offset
		{"bad_length", withSegment(t, lab, 6)}, // without the options that it announces
		{"bad_checksum", with(good, ip+10, 0, 0)},
		{"ttl_expired", withTTL(t, lab, 1)},
		{"ttl_expired", withTTL(t, lab, 0)},
		{"ttl_expired", with(good6, ip+7, 1)},
		{"icmp_unmatched", unreachable(t, lab, ipv4(testenv.DefaultVIP.Next(), at.Addr(), layers.IPProtocolUDP))}, // about another VIP
		{"icmp_unmatched", unreachable(t, lab, ipv4(testenv.DefaultVIP, at.Addr(), layers.IPProtocolGRE))},
		{"fragment", echoFragment(t, lab)},
	}
	want := map[string]uint64{}
	for _, c := range cases {
		inject(t, lab, c.frame)
		want[c.reason]++
		wantReason(t, node, c.reason, want[c.reason])
	}
	// The first frame that the kernel gets and the first to leave are those that may.
	unserved := datagram(t, lab, at, netip.AddrPortFrom(testenv.DefaultVIP, 9))
	inject(t, lab, unserved)
	wantInKernel(t, kernel, unserved)
	mark := datagram(t, lab, netip.AddrPortFrom(at.Addr(), 9), vip)
	inject(t, lab, mark)
	got := header[*layers.UDP](fromLB(t, tap))
	if len(got) != 1 || got[0].SrcPort != 9 {
		t.Errorf("the balancer sent %+v before the good packet", got)
	}
	want["no_service"] = 1
	wantNoOtherReasons(t, node, slices.Collect(maps.Keys(want))...)
	for _, vip := range bothVIPs {
		wantSpread(t, lab, vip, 50, lab.Backends)
	}
}

// with is a frame with other bytes at an offset.
func with(f []byte, at int, bytes ...byte) []byte {
	f = slices.Clone(f)
	copy(f[at:], bytes)
	return f
}

// withSegment is a SYN with a data offset.
func withSegment(t *testing.T, lab *testenv.Lab, offset uint8) []byte {
	t.Helper()
	ip := ipv4(testenv.Sources(1)[0].Addr(), testenv.DefaultVIP, layers.IPProtocolTCP)
	const inTCP = 14 + 20 + 12
	return with(frame(t, toLB(t, lab, layers.EthernetTypeIPv4), ip, syn(ip, 4242, 80)), inTCP, offset<<4)
}

func withTTL(t *testing.T, lab *testenv.Lab, ttl uint8) []byte {
	t.Helper()
	ip := ipv4(testenv.Sources(1)[0].Addr(), testenv.DefaultVIP, layers.IPProtocolUDP)
	ip.TTL = ttl
	return frame(t, toLB(t, lab, layers.EthernetTypeIPv4), ip, udp(ip, 4242, 81), gopacket.Payload(payload))
}

// unreachable is an ICMP error to the VIP about a packet.
func unreachable(t *testing.T, lab *testenv.Lab, about *layers.IPv4) []byte {
	t.Helper()
	ip := ipv4(testenv.Sources(1)[0].Addr(), testenv.DefaultVIP, layers.IPProtocolICMPv4)
	icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeHost)}
	return frame(t, toLB(t, lab, layers.EthernetTypeIPv4), ip, icmp, about, gopacket.Payload(payload))
}

// echoFragment is the first fragment of a ping.
func echoFragment(t *testing.T, lab *testenv.Lab) []byte {
	t.Helper()
	ip := ipv4(testenv.Sources(1)[0].Addr(), testenv.DefaultVIP, layers.IPProtocolICMPv4)
	ip.Flags = layers.IPv4MoreFragments
	echo := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0)}
	return frame(t, toLB(t, lab, layers.EthernetTypeIPv4), ip, echo, gopacket.Payload("16 bytes of echo"))
}
