package bpf_test

import (
	"encoding/binary"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// Next-header numbers of the tests.
const (
	hopByHop    = layers.IPProtocolIPv6HopByHop
	routing     = layers.IPProtocolIPv6Routing
	fragment    = layers.IPProtocolIPv6Fragment
	destination = layers.IPProtocolIPv6Destination
)

// extension is an IPv6 extension header: its number, its length field, and bytes
// behind that, which are filled up to the length.
type extension struct {
	number layers.IPProtocol
	length uint8
	rest   []byte
}

// fragmentHeader is the extension of a fragment; the offset is in bytes.
func fragmentHeader(offset uint16, more bool, ident uint32) extension {
	if more {
		offset |= 1
	}
	return extension{fragment, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, offset), ident)}
}

// extended puts extension headers between the IPv6 header and what follows it.
func extended(ip *layers.IPv6, all ...extension) []gopacket.SerializableLayer {
	last := ip.NextHeader
	parts := []gopacket.SerializableLayer{ip}
	for i, e := range all {
		next := last
		if i+1 < len(all) {
			next = all[i+1].number
		}
		header := make([]byte, 8+8*int(e.length))
		header[0], header[1] = byte(next), e.length
		copy(header[2:], e.rest)
		parts = append(parts, gopacket.Payload(header))
	}
	if len(all) > 0 {
		ip.NextHeader = all[0].number
	}
	return parts
}

// extendedTCP is a segment to port 443 of the VIP behind extension headers.
func extendedTCP(t testing.TB, all ...extension) []byte {
	t.Helper()
	parts := extended(family6.ip(layers.IPProtocolTCP).(*layers.IPv6), all...)
	return packet(t, append(parts, &layers.TCP{SrcPort: 4242, DstPort: 443, ACK: true}, filler(20))...)
}

func repeated(e extension, n int) (all []extension) {
	for range n {
		all = append(all, e)
	}
	return all
}

func TestExtensionHeadersAreWalkedToTheFlowOrPassed(t *testing.T) {
	p := newPath(t)
	b := via(maps.GUE, family6, family6)
	p.offerWeb(maps.Service{})
	p.offer(1, maps.Service{}, b)
	options, atomic := extension{number: destination}, fragmentHeader(0, false, 7)
	for _, c := range []struct {
		name   string
		packet []byte
	}{
		{"none", extendedTCP(t)},
		{"hop-by-hop options", extendedTCP(t, extension{number: hopByHop})},
		{"long hop-by-hop options", extendedTCP(t, extension{number: hopByHop, length: 100})},
		{"destination options", extendedTCP(t, options)},
		{"an atomic fragment", extendedTCP(t, atomic)},
		{"one of each", extendedTCP(t, extension{number: hopByHop}, options, atomic, extension{number: destination, length: 2})},
		{"six", extendedTCP(t, repeated(options, 6)...)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.expect(t, arriving(c.packet), xdpTX, leaving(t, b, family6.hash(443, maps.TCP), c.packet), bpf.ReasonForwarded)
		})
	}

	cut := func(ip []byte, n int) []byte { // the packet ends n bytes behind the IPv6 header
		ip = append([]byte(nil), ip[:40+n]...)
		binary.BigEndian.PutUint16(ip[4:], uint16(n))
		return ip
	}
	for _, c := range []struct {
		name    string
		packet  []byte
		verdict uint32
		reason  bpf.Reason
	}{
		{"seven", extendedTCP(t, repeated(options, 7)...), xdpPass, bpf.ReasonExtensionHeaders},
		{"a routing header", extendedTCP(t, extension{number: routing}), xdpPass, bpf.ReasonExtensionHeaders},
		{"a routing header behind another", extendedTCP(t, options, extension{number: routing}), xdpPass, bpf.ReasonExtensionHeaders},
		{"two fragment headers", extendedTCP(t, atomic, atomic), xdpPass, bpf.ReasonExtensionHeaders},
		{"no next header", packet(t, family6.ip(layers.IPProtocolNoNextHeader), filler(40)), xdpPass, bpf.ReasonNoService},
		{"an authentication header", packet(t, family6.ip(layers.IPProtocolAH), filler(40)), xdpPass, bpf.ReasonNoService},
		{"a payload in ESP", packet(t, family6.ip(layers.IPProtocolESP), filler(40)), xdpPass, bpf.ReasonNoService},
		{"IPv4's ICMP", packet(t, family6.ip(layers.IPProtocolICMPv4), filler(40)), xdpPass, bpf.ReasonNoService},
		{"a header longer than the packet", with(extendedTCP(t, options), func(b []byte) { b[41] = 6 }), xdpDrop, bpf.ReasonBadLength},
		{"a header cut short", cut(extendedTCP(t, options), 7), xdpDrop, bpf.ReasonBadLength},
		{"a second header cut short", cut(extendedTCP(t, options, options), 12), xdpDrop, bpf.ReasonBadLength},
		{"nothing behind the headers", cut(extendedTCP(t, options), 8), xdpDrop, bpf.ReasonBadLength},
		{"half of TCP behind the headers", cut(extendedTCP(t, options), 8+19), xdpDrop, bpf.ReasonBadLength},
		{"nothing but an IPv6 header", cut(extendedTCP(t), 0), xdpDrop, bpf.ReasonBadLength},
	} {
		t.Run(c.name, func(t *testing.T) {
			frame := arriving(c.packet)
			p.expect(t, frame, c.verdict, frame, c.reason)
		})
	}
}
