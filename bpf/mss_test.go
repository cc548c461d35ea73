package bpf_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// segment is a TCP segment with raw options, filled up with zeros, and a right checksum.
func segment(t testing.TB, f family, tcp layers.TCP, options ...byte) []byte {
	t.Helper()
	tcp.SrcPort, tcp.DstPort, tcp.Window = 4242, 443, 1024
	size := (len(options) + 3) / 4 * 4
	for range size {
		tcp.Options = append(tcp.Options, layers.TCPOption{OptionType: layers.TCPOptionKindNop})
	}
	ip := packet(t, f.ip(layers.IPProtocolTCP), &tcp, filler(11))
	at := len(ip) - 11 - size
	clear(ip[at : at+size])
	copy(ip[at:], options)
	l4 := ip[at-20:]
	l4[16], l4[17] = 0, 0
	pseudo := gopacket.ComputeChecksum(addrAt(ip, false).AsSlice(), uint32(len(l4)+6))
	pseudo = gopacket.ComputeChecksum(addrAt(ip, true).AsSlice(), pseudo)
	binary.BigEndian.PutUint16(l4[16:], gopacket.FoldChecksum(gopacket.ComputeChecksum(l4, pseudo)))
	return ip
}

func TestMSSOfSYNsIsLoweredToTheServices(t *testing.T) {
	p := newPath(t)
	const mss = 1220 // 0x04c4
	high, low, clamped := []byte{2, 4, 0x05, 0xb4}, []byte{2, 4, 0x04, 0xc3}, []byte{2, 4, 0x04, 0xc4}
	nops := func(n int) []byte { return bytes.Repeat([]byte{1}, n) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	long := append([]byte{253, 17}, make([]byte, 15)...)
	timestamps, sack := []byte{8, 10, 1, 2, 3, 4, 5, 6, 7, 8}, []byte{4, 2}
	syn, synACK, ack := layers.TCP{SYN: true}, layers.TCP{SYN: true, ACK: true}, layers.TCP{ACK: true}
	for _, b := range []way{{"l2", family4, via(maps.L2, family4, family4)}, {"l2", family6, via(maps.L2, family6, family6)}, {"gue", family4, via(maps.GUE, family6, family4)}} {
		f := b.inner
		p.offer(0, maps.Service{MSS: mss}, b.b)
		p.must(p.tables.SetListeners([]maps.Listener{listen(f.vip.String(), 443, 443, maps.TCP, 0)}))
		for _, c := range []struct {
			name    string
			tcp     layers.TCP
			options []byte
			want    []byte // nil: as it came
		}{
			{"alone", syn, high, clamped},
			{"at an odd offset", syn, join(nops(1), high), join(nops(1), clamped)},
			{"behind other options", syn, join(sack, timestamps, high), join(sack, timestamps, clamped)},
			{"behind other options, odd", syn, join(nops(1), timestamps, sack, high), join(nops(1), timestamps, sack, clamped)},
			{"at the end of the longest header", syn, join(long, long, sack, high), join(long, long, sack, clamped)},
			{"as the tenth option", syn, join(nops(9), high), join(nops(9), clamped)},
			{"as the eleventh option", syn, join(nops(10), high), nil},
			{"on a SYN that acknowledges", synACK, high, clamped},
			{"not on a SYN", ack, high, nil},
			{"lower already", syn, low, nil},
			{"as low already", syn, clamped, nil},
			{"twice: the first counts", syn, join(high, high), join(clamped, high)},
			{"the largest there is", syn, []byte{2, 4, 0xff, 0xff}, clamped},
			{"0", syn, []byte{2, 4, 0, 0}, nil},
			{"none", syn, nil, nil},
			{"behind the end of options", syn, join([]byte{0, 0, 0, 0}, high), nil},
			{"behind an option of length 0", syn, join([]byte{8, 0}, high), nil},
			{"behind an option of length 1", syn, join([]byte{8, 1}, high), nil},
			{"behind an MSS option of another length", syn, join([]byte{2, 3, 0xff}, high), join([]byte{2, 3, 0xff}, clamped)},
			{"of another length", syn, []byte{2, 6, 0xff, 0xff, 0xff, 0xff}, nil},
			{"behind an option that ends past the header", syn, join([]byte{8, 40, 0, 0}, high), nil},
			{"cut by the header's end", syn, join(nops(1), high[:3]), nil},
		} {
			t.Run(f.name+" "+b.name+" "+c.name, func(t *testing.T) {
				want := c.want
				if want == nil {
					want = c.options
				}
				p.expect(t, arriving(segment(t, f, c.tcp, c.options...)), xdpTX,
					leaving(t, b.b, f.hash(443, maps.TCP), segment(t, f, c.tcp, want...)), bpf.ReasonForwarded)
			})
		}
	}
}

func TestMSSChecksumSurvivesEveryCarry(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{MSS: 0x04c4})
	for seq := range uint32(1 << 16) { // the sequence number runs the checksum through all its values
		if seq%251 != 0 && seq < 0xff00 {
			continue
		}
		for _, nops := range [][]byte{nil, {1}} {
			in := segment(t, family4, layers.TCP{SYN: true, Seq: seq}, append(nops, 2, 4, 0xff, 0xb5)...)
			want := segment(t, family4, layers.TCP{SYN: true, Seq: seq}, append(nops, 2, 4, 0x04, 0xc4)...)
			if _, out := p.run(arriving(in)); !bytes.Equal(out[14+20:], want[20:]) {
				t.Fatalf("sequence number %#x behind %d no-operations: segment %x, want %x", seq, len(nops), out[14+20:], want[20:])
			}
		}
	}
}

func TestMSSIsLoweredBehindOtherHeadersAndInFirstFragments(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{MSS: 1220})
	tcp := func(mss ...byte) *layers.TCP {
		return &layers.TCP{SrcPort: 4242, DstPort: 443, SYN: true, Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: mss}}}
	}
	ip6 := func(mss ...byte) []byte {
		return packet(t, append(extended(family6.ip(layers.IPProtocolTCP).(*layers.IPv6), extension{number: hopByHop, length: 3}), tcp(mss...))...)
	}
	ip4 := func(change func(*layers.IPv4), mss ...byte) []byte {
		ip := family4.ip(layers.IPProtocolTCP).(*layers.IPv4)
		change(ip)
		return packet(t, ip, tcp(mss...), filler(24))
	}
	options := func(ip *layers.IPv4) {
		ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	}
	first := func(ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments }
	for name, c := range map[string]struct {
		f        family
		in, want []byte
	}{
		"IPv6 options":     {family6, ip6(0x05, 0xa0), ip6(0x04, 0xc4)},
		"IPv4 options":     {family4, ip4(options, 0x05, 0xa0), ip4(options, 0x04, 0xc4)},
		"a first fragment": {family4, ip4(first, 0x05, 0xa0), ip4(first, 0x04, 0xc4)},
	} {
		t.Run(name, func(t *testing.T) {
			p.expect(t, arriving(c.in), xdpTX, leaving(t, via(maps.L2, c.f, c.f), 0, c.want), bpf.ReasonForwarded)
		})
	}
}

func TestMSSStaysWithoutALimit(t *testing.T) {
	p := newPath(t)
	p.offerWeb(maps.Service{})
	for _, f := range families {
		ip := segment(t, f, layers.TCP{SYN: true}, 2, 4, 0xff, 0xff)
		p.expect(t, arriving(ip), xdpTX, leaving(t, via(maps.L2, f, f), 0, ip), bpf.ReasonForwarded)
	}
}
