package bpf_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// decapsulator is the loaded program of `xlb decap`, attached to nothing.
type decapsulator struct {
	t       *testing.T
	objects bpf.DecapObjects
}

func newDecap(t *testing.T) *decapsulator {
	t.Helper()
	d := &decapsulator{t: t}
	if err := bpf.LoadDecapObjects(&d.objects, nil); err != nil {
		t.Fatalf("load (tests of the data path need root): %+v", err)
	}
	t.Cleanup(func() { d.objects.Close() })
	return d
}

func (d *decapsulator) run(frame []byte) (verdict uint32, out []byte) {
	d.t.Helper()
	opts := ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame))}
	verdict, err := d.objects.Decap.Run(&opts)
	if err != nil {
		d.t.Fatal(err)
	}
	return verdict, opts.DataOut
}

// counted returns what the program says that it has taken out of tunnels.
func (d *decapsulator) counted() (sum maps.Counter) {
	d.t.Helper()
	var perCPU []bpf.DecapCounter
	if err := d.objects.Decapsulated.Lookup(uint32(0), &perCPU); err != nil {
		d.t.Fatal(err)
	}
	for _, c := range perCPU {
		sum.Packets += c.Packets
		sum.Bytes += c.Bytes
	}
	return sum
}

// takes checks that a frame becomes another one.
func (d *decapsulator) takes(t *testing.T, frame, want []byte) {
	t.Helper()
	verdict, out := d.run(frame)
	if verdict != xdpPass {
		t.Errorf("verdict %d, want pass", verdict)
	}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("bytes out (-want +got):\n%s", diff)
	}
}

// leaves checks that a frame goes to the kernel as it came, uncounted.
func (d *decapsulator) leaves(t *testing.T, name string, frame []byte) {
	t.Helper()
	before := d.counted()
	verdict, out := d.run(frame)
	if verdict != xdpPass || !bytes.Equal(out, frame) {
		t.Errorf("%s: verdict %d, frame %x; want it to pass as it came, %x", name, verdict, out, frame)
	}
	if d.counted() != before {
		t.Errorf("%s: counted as taken out", name)
	}
}

// tunnels are all ways to a backend but l2.
func tunnels() (all []way) {
	for _, w := range ways() {
		if w.b.Forward != maps.L2 {
			all = append(all, w)
		}
	}
	return all
}

// in is a packet in the way's tunnel.
func (w way) in(t testing.TB, inner []byte) []byte {
	return tunnelledBy(t, w.b, 0x123456789abcdef0, inner)
}

// outerHeader is the length of a tunnel's IP header.
func (w way) outerHeader() int {
	if w.b.Dest.Is6() {
		return 40
	}
	return 20
}

func TestDecapTakesEveryTunnelOffAndNothingElse(t *testing.T) {
	d := newDecap(t)
	stacks := [][]maps.Tag{nil, {{Type: 0x8100, ID: 0xe064}}, {{Type: 0x88a8, ID: 0x0065}, {Type: 0x8100, ID: 7}}}
	options := family4.ip(layers.IPProtocolTCP).(*layers.IPv4)
	options.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	for _, w := range tunnels() {
		inner := map[string][]byte{
			"a segment":     w.inner.tcp(t, 443, 30),
			"a datagram":    w.inner.udp(t, 443, 1),
			"a fragment":    part{family: w.inner, proto: maps.UDP, offset: 64}.packet(t),
			"a long packet": w.inner.tcp(t, 443, 1400),
			"no payload":    shortened(w.inner.tcp(t, 443, 0), 0),
		}
		if w.inner.v6() {
			inner["extension headers"] = extendedTCP(t, extension{number: hopByHop}, extension{number: destination, length: 3})
		} else {
			inner["IPv4 options"] = packet(t, options, &layers.TCP{SrcPort: 4242, DstPort: 443})
		}
		for name, inner := range inner {
			for _, tags := range stacks {
				for _, padding := range []int{0, 5} {
					t.Run(fmt.Sprintf("%s, %s, %d tags, %d padding", w.name, name, len(tags), padding), func(t *testing.T) {
						outer, before := w.in(t, inner), d.counted()
						d.takes(t, append(arriving(outer, tags...), filler(padding)...), append(arriving(inner, tags...), filler(padding)...))
						want := maps.Counter{Packets: before.Packets + 1, Bytes: before.Bytes + uint64(len(outer))}
						if got := d.counted(); got != want {
							t.Errorf("counter %+v, want %+v", got, want)
						}
					})
				}
			}
		}
	}
}

// RFC 6040, figure 4, by inner and outer field: what arrives, dropped where it
// cannot be said.
func TestDecapMergesECN(t *testing.T) {
	d := newDecap(t)
	const notECT, ect1, ect0, ce, lost = 0, 1, 2, 3, 0xff
	want := [4][4]uint8{
		notECT: {notECT: notECT, ect0: notECT, ect1: notECT, ce: lost},
		ect0:   {notECT: ect0, ect0: ect0, ect1: ect1, ce: ce},
		ect1:   {notECT: ect1, ect0: ect1, ect1: ect1, ce: ce},
		ce:     {notECT: ce, ect0: ce, ect1: ce, ce: ce},
	}
	for _, w := range tunnels() {
		for _, dscp := range []uint8{0, 0xb8, 0xfc} {
			for in := range uint8(4) {
				for out := range uint8(4) {
					for id := range uint16(16) { // other checksums
						inner := w.inner.tcp(t, 443, 9)
						if !w.inner.v6() {
							binary.BigEndian.PutUint16(inner[4:], id*0x1111)
						}
						inner = markedPacket(inner, dscp|in)
						frame := arriving(markedPacket(w.in(t, inner), 0x48|out))
						name := fmt.Sprintf("%s, DSCP %#x, inner %d, outer %d", w.name, dscp, in, out)
						if want[in][out] == lost {
							if verdict, _ := d.run(frame); verdict != xdpDrop {
								t.Errorf("%s: verdict %d, want drop", name, verdict)
							}
							continue
						}
						_, got := d.run(frame)
						if want := arriving(markedPacket(inner, dscp|want[in][out])); !bytes.Equal(got, want) {
							t.Errorf("%s: frame %x, want %x", name, got, want)
						}
					}
				}
			}
		}
	}
}

// A checksum that was wrong inside stays wrong: the server's kernel drops the packet.
func TestDecapDoesNotRepairTheInnerChecksum(t *testing.T) {
	d := newDecap(t)
	w := way{"ipip", family4, via(maps.IPIP, family4, family4)}
	damaged := with(markedPacket(family4.tcp(t, 443, 9), 2), func(b []byte) { b[10] ^= 0x40 })
	for outer := range uint8(4) {
		_, out := d.run(arriving(markedPacket(w.in(t, damaged), outer)))
		if got := gopacket.FoldChecksum(gopacket.ComputeChecksum(out[14:34], 0)); got == 0 {
			t.Errorf("outer ECN %d: the checksum is right now", outer)
		}
	}
}

// Whatever is missing, be it that the frame is cut or that lengths say less, the
// kernel gets the packet as it came.
func TestDecapLeavesWhatIsNotWhole(t *testing.T) {
	d := newDecap(t)
	for _, w := range tunnels() {
		packet := w.in(t, w.inner.tcp(t, 443, 3))
		for _, tags := range [][]maps.Tag{nil, twoTags[:1], twoTags} {
			frame := arriving(packet, tags...)
			for n := 14; n < len(frame); n++ {
				d.leaves(t, fmt.Sprintf("%s, %d tags, first %d bytes", w.name, len(tags), n), frame[:n:n])
			}
		}
		for n := w.outerHeader(); n < len(packet); n++ {
			d.leaves(t, fmt.Sprintf("%s, a packet of %d bytes", w.name, n), arriving(w.resized(packet, n)))
			d.leaves(t, fmt.Sprintf("%s, a packet of %d bytes, and padding", w.name, n), append(arriving(w.resized(packet, n)), filler(200)...))
		}
	}
}

// resized is a tunnel's packet of n bytes, all outer lengths as they should be.
func (w way) resized(packet []byte, n int) []byte {
	header := w.outerHeader()
	packet = shortened(packet[:n:n], n-header)
	if w.b.Forward == maps.GUE && n >= header+8 {
		binary.BigEndian.PutUint16(packet[header+4:], uint16(n-header))
	}
	return packet
}

func TestDecapLeavesInnerHeadersThatDoNotFit(t *testing.T) {
	d := newDecap(t)
	for _, w := range tunnels() {
		inner := w.inner.tcp(t, 443, 3)
		set := func(at int, value byte) []byte {
			return arriving(w.in(t, with(inner, func(b []byte) { b[at] = value })))
		}
		other, length, whole := byte(0x65), 3, byte(len(inner))
		if w.inner.v6() {
			other, length, whole = 0x45, 5, byte(len(inner)-40)
		}
		d.takes(t, set(length, whole), arriving(inner))
		d.takes(t, set(length, whole-1), arriving(with(inner, func(b []byte) { b[length]-- })))
		d.leaves(t, w.name+", inner length one too many", set(length, whole+1))
		d.leaves(t, w.name+", inner length far too many", set(length-1, 0xff))
		padded := append(set(length, whole+1), filler(60)...)
		d.leaves(t, w.name+", inner length one too many, with padding", padded)
		crossed := w.in(t, inner)
		crossed[len(crossed)-len(inner)] = other
		d.leaves(t, w.name+", the other version inside", arriving(crossed))
		if !w.inner.v6() {
			d.leaves(t, w.name+", inner header length 4", set(0, 0x44))
			d.leaves(t, w.name+", inner header length 0", set(0, 0x40))
			d.leaves(t, w.name+", inner length below its header's", set(length, 19))
			d.leaves(t, w.name+", inner header longer than the packet", set(0, 0x4f))
		}
	}
}

func TestDecapLeavesOuterHeadersThatXLBDoesNotSend(t *testing.T) {
	d := newDecap(t)
	for _, w := range tunnels() {
		whole := w.in(t, w.inner.tcp(t, 443, 30))
		set := func(at int, value byte) []byte { return with(whole, func(b []byte) { b[at] = value }) }
		d.takes(t, arriving(whole), arriving(w.inner.tcp(t, 443, 30)))
		d.leaves(t, w.name+", three tags", arriving(whole, twoTags[0], twoTags[1], twoTags[1]))
		d.leaves(t, w.name+", the other family's ethertype", with(arriving(whole), func(b []byte) { b[12] ^= 0x8e; b[13] ^= 0xdd }))
		d.leaves(t, w.name+", ARP's ethertype", with(arriving(whole), func(b []byte) { b[12], b[13] = 8, 6 }))
		if w.b.Dest.Is6() {
			d.leaves(t, w.name+", version 5", with(arriving(whole), func(b []byte) { b[14] = 0x50 }))
			for _, e := range []extension{{number: hopByHop}, {number: routing}, {number: destination}, fragmentHeader(0, false, 1), fragmentHeader(0, true, 1), fragmentHeader(8, false, 1)} {
				header := extended(ipHeader(w.b.Source, w.b.Dest, layers.IPProtocol(whole[6])).(*layers.IPv6), e)
				d.leaves(t, fmt.Sprintf("%s, extension header %d", w.name, e.number), arriving(packet(t, append(header, gopacket.Payload(whole[40:]))...)))
			}
			continue
		}
		d.leaves(t, w.name+", version 5", arriving(rightChecksum(set(0, 0x55))))
		// one word less or more, and as much more or less in the TTL: the sum of 20 bytes stays right
		d.leaves(t, w.name+", header length 4", arriving(with(whole, func(b []byte) { b[0]--; b[8]++ })))
		d.leaves(t, w.name+", header length 6", arriving(with(whole, func(b []byte) { b[0]++; b[8]-- })))
		d.leaves(t, w.name+", more fragments", arriving(rightChecksum(set(6, 0x20))))
		d.leaves(t, w.name+", fragment offset 1", arriving(rightChecksum(set(7, 1))))
		d.leaves(t, w.name+", fragment offset 4096", arriving(rightChecksum(set(6, 0x10))))
		d.leaves(t, w.name+", a wrong header checksum", arriving(set(8, 63)))
		options := ipHeader(w.b.Source, w.b.Dest, layers.IPProtocol(whole[9])).(*layers.IPv4)
		options.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
		d.leaves(t, w.name+", options", arriving(packet(t, options, gopacket.Payload(whole[20:]))))
		d.takes(t, arriving(rightChecksum(set(6, 0x00))), arriving(w.inner.tcp(t, 443, 30))) // DF or not
	}
}

func TestDecapLeavesOtherTunnelHeaders(t *testing.T) {
	d := newDecap(t)
	for _, w := range tunnels() {
		whole := w.in(t, w.inner.tcp(t, 443, 30))
		header := w.outerHeader()
		leaves := func(name string, at int, mask byte) {
			t.Helper()
			d.leaves(t, fmt.Sprintf("%s, %s", w.name, name), arriving(with(whole, func(b []byte) { b[header+at] ^= mask })))
		}
		switch w.b.Forward {
		case maps.GRE:
			for bit := range 16 {
				leaves(fmt.Sprintf("flag or version bit %d", bit), bit/8, 0x80>>(bit%8))
			}
			leaves("another ethertype", 3, 0x01)
			leaves("the ethertype of bridging", 2, 0x60)
		case maps.GUE:
			leaves("another port", 3, 0x01)
			leaves("another port, high byte", 2, 0x01)
			for bit := range 8 {
				leaves(fmt.Sprintf("variant, control or length bit %d", bit), 8, 0x80>>bit)
			}
			for bit := range 16 {
				leaves(fmt.Sprintf("flag bit %d", bit), 10+bit/8, 0x80>>(bit%8))
			}
			for _, proto := range []byte{0, 4 + 41 - whole[header+9], 6, 17, 59} {
				leaves(fmt.Sprintf("protocol %d", proto), 9, whole[header+9]^proto)
			}
			leaves("a UDP length past the packet", 4, 0x80)
			leaves("a UDP length below the inner packet's", 4+1, whole[header+5]^(whole[header+5]-1))
			leaves("a UDP length of 0", 4+1, whole[header+5])
			direct := ipHeader(w.b.Source, w.b.Dest, layers.IPProtocolUDP) // variant 1: no GUE header at all
			d.leaves(t, w.name+", variant 1", arriving(packet(t, direct, &layers.UDP{SrcPort: 0xc000, DstPort: 6080}, gopacket.Payload(w.inner.tcp(t, 443, 30)))))
		case maps.IPIP:
			leaves("the inner protocol crossed", map[bool]int{false: 9, true: 6}[w.b.Dest.Is6()]-header, 4^41)
		}
	}
	for _, f := range families {
		d.leaves(t, f.name+" in no tunnel", arriving(f.tcp(t, 443, 30)))
		d.leaves(t, f.name+", a datagram", arriving(f.udp(t, 443, 30)))
		d.leaves(t, f.name+", a ping", arriving(f.ping(t, 30)))
		d.leaves(t, f.name+", from GUE's port", arriving(packet(t, f.ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 6080, DstPort: 53}, gopacket.Payload{0, 4, 0, 0}, gopacket.Payload(f.tcp(t, 443, 3)))))
	}
	d.leaves(t, "an Ethernet header alone", arriving(family4.tcp(t, 443, 0))[:14])
}

// What xlb sends is what decap takes: the client's packet comes out one hop later.
func TestDecapUndoesWhatXLBDoes(t *testing.T) {
	p, d := newPath(t), newDecap(t)
	p.offerWeb(maps.Service{})
	for _, w := range tunnels() {
		t.Run(w.name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				b := w.b
				b.MTU = 2000
				for i := range rapid.IntRange(0, 2).Draw(r, "tags out") {
					b.Tags[i] = twoTags[i]
				}
				for i := range families {
					p.must(p.tables.SetBackend(firstBackend(maps.ServiceID(i)), b))
				}
				build := w.inner.udp
				if rapid.Bool().Draw(r, "TCP") {
					build = w.inner.tcp
				}
				ip := build(t, 443, rapid.IntRange(0, 1460).Draw(r, "payload"))
				ip = markedPacket(ip, rapid.Byte().Draw(r, "TOS"))
				ip = livingPacket(ip, rapid.ByteRange(2, 255).Draw(r, "TTL"))
				tags, padding := twoTags[:rapid.IntRange(0, 2).Draw(r, "tags in")], filler(rapid.IntRange(0, 20).Draw(r, "padding"))

				verdict, sent := p.run(append(arriving(ip, tags...), padding...))
				if verdict != xdpTX {
					r.Fatalf("xlb: verdict %d, want TX", verdict)
				}
				verdict, got := d.run(sent)
				want := append(linked(b.DestMAC, b.SourceMAC, b.Tags[:], hopLater(ip)), padding...)
				if verdict != xdpPass || !bytes.Equal(got, want) {
					r.Fatalf("decap: verdict %d, frame %x, want %x", verdict, got, want)
				}
			})
		})
	}
}
