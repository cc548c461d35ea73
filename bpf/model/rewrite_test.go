package model

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

func TestL2ReplacesTheLinkHeaderAndLowersTheTTL(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		s.changeBackend(1, func(b *maps.Backend) { b.Tags = [2]maps.Tag{{Type: 0x88a8, ID: 4095}, {Type: 0x8100, ID: 1}} })
	}))
	frame := append(tagged(tcp4(t), 0x81, 0, 0, 9), 7, 7, 7)
	r := expect(t, m, frame, "tx forwarded")
	want := []byte{2, 0, 0, 0, 0, 0x10, 2, 0, 0, 0, 0, 9, 0x88, 0xa8, 0x0f, 0xff, 0x81, 0, 0, 1, 8, 0}
	if !bytes.Equal(r.Frame[:22], want) {
		t.Errorf("link header % x, want % x", r.Frame[:22], want)
	}
	ip := withChecksum(append(make([]byte, ethernetHeader), edited(frame[4:], 8, 59)[ethernetHeader:]...))[ethernetHeader:]
	if !bytes.Equal(r.Frame[22:], ip) {
		t.Errorf("packet % x, want % x", r.Frame[22:], ip)
	}
	r6 := expect(t, m, tcp6(t), "tx forwarded")
	if want := edited(tcp6(t), 7, 59); !bytes.Equal(r6.Frame[12:], want[12:]) {
		t.Errorf("packet % x, want % x", r6.Frame[12:], want[12:])
	}
}

// unwrap reads what follows the outer IP header, of which protocol says what.
func unwrap(t *testing.T, protocol layers.IPProtocol, payload []byte) (kind byte, inner []byte) {
	t.Helper()
	switch protocol {
	case 4, 41:
		return byte(protocol), payload
	case 47:
		g := decode(t, payload, layers.LayerTypeGRE).Layer(layers.LayerTypeGRE).(*layers.GRE)
		if g.ChecksumPresent || g.KeyPresent || g.SeqPresent || g.Version != 0 {
			t.Errorf("GRE header %v", g)
		}
		return map[layers.EthernetType]byte{layers.EthernetTypeIPv4: 4, layers.EthernetTypeIPv6: 41}[g.Protocol], g.Payload
	case 17:
		if int(binary.BigEndian.Uint16(payload[4:])) != len(payload) || binary.BigEndian.Uint16(payload[2:]) != 6080 {
			t.Errorf("UDP header % x before %d bytes", payload[:8], len(payload)-8)
		}
		if payload[8] != 0 || payload[10] != 0 || payload[11] != 0 {
			t.Errorf("GUE header % x", payload[8:12])
		}
		return payload[9], payload[12:]
	}
	t.Fatalf("protocol %d", protocol)
	return 0, nil
}

func TestTunnelsCarryThePacketAsItIs(t *testing.T) {
	outers := map[string][2]string{"over IPv4": {"10.1.0.1", "10.1.0.2"}, "over IPv6": {"fd00::1", "fd00::2"}}
	for _, forward := range []maps.Forward{maps.IPIP, maps.GRE, maps.GUE} {
		for name, outer := range outers {
			for id, frame := range map[maps.BackendID][]byte{1: tcp4(t), 2: tcp6(t)} {
				t.Run(forward.String()+" "+name, func(t *testing.T) {
					src, dst := netip.MustParseAddr(outer[0]), netip.MustParseAddr(outer[1])
					m := newModel(t, with(func(s *State) {
						s.changeBackend(id, func(b *maps.Backend) {
							b.Forward, b.Source, b.Dest, b.Port = forward, src, dst, 6080
						})
					}))
					r := expect(t, m, append(frame[:len(frame):len(frame)], 5, 5), "tx forwarded")
					checkTunnel(t, r.Frame, frame, src, dst)
				})
			}
		}
	}
}

func checkTunnel(t *testing.T, got, frame []byte, src, dst netip.Addr) {
	t.Helper()
	length := int(binary.BigEndian.Uint16(frame[16:]))
	ttl := 8
	if frame[14]>>4 == 6 {
		length, ttl = 40+int(binary.BigEndian.Uint16(frame[18:])), 7
	}
	padding := len(frame) + 2 - ethernetHeader - length
	p := decode(t, got[:len(got)-padding], layers.LayerTypeEthernet)
	var kind byte
	var inner []byte
	if src.Is4() {
		ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if !ip.SrcIP.Equal(src.AsSlice()) || !ip.DstIP.Equal(dst.AsSlice()) || ip.TTL != 64 || ip.TOS != 0xb8 || ip.Id != 0 ||
			ip.Flags != layers.IPv4DontFragment || ip.IHL != 5 || int(ip.Length) != len(got)-padding-14 {
			t.Errorf("outer header %v", ip)
		}
		kind, inner = unwrap(t, ip.Protocol, ip.Payload)
	} else {
		ip := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
		if !ip.SrcIP.Equal(src.AsSlice()) || !ip.DstIP.Equal(dst.AsSlice()) || ip.HopLimit != 64 || ip.TrafficClass != 0xb8 ||
			int(ip.Length) != len(got)-padding-54 {
			t.Errorf("outer header %v", ip)
		}
		kind, inner = unwrap(t, ip.NextHeader, ip.Payload)
	}
	want := edited(frame, ttl, 59)[ethernetHeader:][:length]
	if !bytes.Equal(inner, want) {
		t.Errorf("inner packet % x, want % x", inner, want)
	}
	if kind != map[byte]byte{4: 4, 6: 41}[want[0]>>4] {
		t.Errorf("inner protocol %d", kind)
	}
	if tail := got[len(got)-2:]; !bytes.Equal(tail, []byte{5, 5}) {
		t.Errorf("padding % x", tail)
	}
}

// tunnelled sends the palette's TCP packet, whose hash is known, to a backend.
func tunnelled(t *testing.T, change func(*maps.Backend)) []byte {
	m := newModel(t, with(func(s *State) {
		s.Settings.Key = countingKey()
		s.changeBackend(1, change)
	}))
	return expect(t, m, tcp4(t), "tx forwarded").Frame
}

func TestTunnelsVaryWithTheHash(t *testing.T) {
	const hash = 0xceba662980794963
	over4 := func(b *maps.Backend) {
		b.Forward, b.Source, b.Dest = maps.IPIP, netip.MustParseAddr("10.1.0.0"), netip.MustParseAddr("10.9.0.2")
		b.SourceBits = 13
	}
	// The hash's bytes as they lie are 63 49 79 80; the low 13 bits of the address vary.
	if got, want := net.IP(tunnelled(t, over4)[26:30]).String(), "10.1.25.128"; got != want {
		t.Errorf("outer source %s, want %s", got, want)
	}
	over6 := func(b *maps.Backend) {
		b.Forward, b.Source, b.Dest = maps.GUE, netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	}
	frame := tunnelled(t, over6)
	if got := binary.BigEndian.Uint32(frame[14:]); got != 6<<28|0xb8<<20|hash>>12&0xfffff {
		t.Errorf("first word %#x", got)
	}
	if got := binary.BigEndian.Uint16(frame[54:]); got != 0xc000|hash&0x3fff {
		t.Errorf("source port %#x", got)
	}
	if frame[60] != 0 || frame[61] != 0 {
		t.Errorf("UDP checksum % x", frame[60:62])
	}
}

func TestGUESourcePortsUseTheWholeDynamicRange(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		s.changeBackend(1, func(b *maps.Backend) {
			b.Forward, b.Source, b.Dest = maps.GUE, netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")
		})
	}))
	always, ever := uint16(0xffff), uint16(0)
	for port := range 64 {
		l4 := tcp()
		l4.SrcPort = layers.TCPPort(port)
		r := expect(t, m, frame4(t, ipv4(6), l4), "tx forwarded")
		got := binary.BigEndian.Uint16(r.Frame[34:])
		always, ever = always&got, ever|got
	}
	if always != 0xc000 || ever != 0xffff {
		t.Errorf("bits that are always set %#x, ever set %#x; want 0xc000 and 0xffff", always, ever)
	}
}

func TestGUEOverIPv6HasARightChecksumByOption(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		s.changeBackend(1, func(b *maps.Backend) {
			b.Forward, b.Source, b.Dest, b.Checksum = maps.GUE, netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2"), true
		})
	}))
	for length := range 100 {
		r := expect(t, m, frame4(t, ipv4(17), udp(), gopacket.Payload(make([]byte, length))), "tx forwarded")
		end := 54 + int(binary.BigEndian.Uint16(r.Frame[58:]))
		u := decode(t, r.Frame[:end], layers.LayerTypeEthernet).Layer(layers.LayerTypeUDP).(*layers.UDP)
		if u.Checksum == 0 {
			t.Errorf("no checksum with %d bytes", length)
		}
	}
}

func TestUDPChecksumIsNeverSentAsNone(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		s.changeBackend(1, func(b *maps.Backend) {
			b.Forward, b.Source, b.Dest, b.Checksum = maps.GUE, netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2"), true
		})
	}))
	frame := udp4(t)
	sentAsOnes := 0
	for word := range 1 << 16 { // one of which makes the sum 0
		binary.BigEndian.PutUint16(frame[42:], uint16(word))
		switch got := binary.BigEndian.Uint16(m.Process(frame, arrival, start).Frame[60:]); got {
		case 0:
			t.Fatalf("checksum 0 with the word %#x", word)
		case 0xffff:
			sentAsOnes++
		}
	}
	if sentAsOnes != 1 {
		t.Errorf("%d checksums are 0xffff, want 1", sentAsOnes)
	}
}

func TestMSSOfASYNIsLowered(t *testing.T) {
	mss := func(v uint16) layers.TCPOption {
		return layers.TCPOption{OptionType: 2, OptionLength: 4, OptionData: []byte{byte(v >> 8), byte(v)}}
	}
	nop, end := layers.TCPOption{OptionType: 1}, layers.TCPOption{OptionType: 0}
	scale := layers.TCPOption{OptionType: 3, OptionLength: 3, OptionData: []byte{7}}
	nops := func(n int) (o []layers.TCPOption) {
		for range n {
			o = append(o, nop)
		}
		return o
	}
	tests := map[string]struct {
		options []layers.TCPOption
		syn     bool
		want    uint16 // of the first MSS option
	}{
		"higher":             {[]layers.TCPOption{mss(1460)}, true, 1400},
		"equal":              {[]layers.TCPOption{mss(1400)}, true, 1400},
		"lower":              {[]layers.TCPOption{mss(536)}, true, 536},
		"no SYN":             {[]layers.TCPOption{mss(1460)}, false, 1460},
		"at an odd offset":   {[]layers.TCPOption{scale, mss(1460)}, true, 1400},
		"behind one byte":    {[]layers.TCPOption{nop, mss(8960)}, true, 1400},
		"the tenth":          {append(nops(9), mss(1460)), true, 1400},
		"the eleventh":       {append(nops(10), mss(1460)), true, 1460},
		"behind the end":     {[]layers.TCPOption{end, mss(1460)}, true, 1460},
		"only the first one": {[]layers.TCPOption{mss(1400), mss(1460)}, true, 1400},
	}
	m := newModel(t, with(func(s *State) {
		s.changeService(1, func(svc *maps.Service) { svc.MSS = 1400 })
	}))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l4 := tcp()
			l4.SYN, l4.Options = test.syn, test.options
			frame := frame4(t, ipv4(6), l4)
			r := expect(t, m, frame, "tx forwarded")
			at := 34 + 20 + bytes.Index(frame[54:], []byte{2, 4}) + 2
			if got := binary.BigEndian.Uint16(r.Frame[at:]); got != test.want {
				t.Errorf("MSS %d, want %d", got, test.want)
			}
			decode(t, r.Frame, layers.LayerTypeEthernet)
			if i := bytes.LastIndex(frame[54:], []byte{2, 4}); 34+20+i+2 != at && binary.BigEndian.Uint16(r.Frame[54+i+2:]) != 1460 {
				t.Error("a second MSS option is changed")
			}
		})
	}
}
