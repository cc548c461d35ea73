package bpf_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// family is one side of the palette.
type family struct {
	name                       string
	client, vip, self, backend netip.Addr
}

var (
	family4  = family{"IPv4", client, vip, self, backend}
	family6  = family{"IPv6", netip.MustParseAddr("2001:db8:51::7"), netip.MustParseAddr("2001:db8:2::10"), netip.MustParseAddr("fd00:10::1"), netip.MustParseAddr("fd00:10:1::1")}
	families = []family{family4, family6}
)

func (f family) v6() bool { return f.vip.Is6() }

// ip is a header from the client to the VIP.
func (f family) ip(proto layers.IPProtocol) gopacket.SerializableLayer {
	return ipHeader(f.client, f.vip, proto)
}

// tcp is a segment from the client's port 4242 to a port of the VIP.
func (f family) tcp(t testing.TB, port uint16, payload int) []byte {
	t.Helper()
	return packet(t, f.ip(layers.IPProtocolTCP),
		&layers.TCP{SrcPort: 4242, DstPort: layers.TCPPort(port), ACK: true, Window: 1024}, filler(payload))
}

// udp is the same as a datagram.
func (f family) udp(t testing.TB, port uint16, payload int) []byte {
	t.Helper()
	return packet(t, f.ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 4242, DstPort: layers.UDPPort(port)}, filler(payload))
}

// hash is the flow hash of the client's port 4242 to a port of the VIP.
func (f family) hash(port uint16, proto maps.Protocol) uint64 {
	return maps.FlowHash(maps.Key{1}, netip.AddrPortFrom(f.client, 4242), netip.AddrPortFrom(f.vip, port), proto)
}

func ipHeader(src, dst netip.Addr, proto layers.IPProtocol) gopacket.SerializableLayer {
	if src.Is6() {
		return &layers.IPv6{Version: 6, HopLimit: 64, TrafficClass: 0xb9, NextHeader: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	return &layers.IPv4{
		Version: 4, TTL: 64, TOS: 0xb9, Id: 0x1234, Flags: layers.IPv4DontFragment, Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice(),
	}
}

// filler is a payload of n bytes, no two neighbours the same.
func filler(n int) gopacket.Payload {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + 1)
	}
	return b
}

// packet serialises layers with right lengths and checksums.
func packet(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	return serialise(t, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...)
}

func serialise(t testing.TB, opts gopacket.SerializeOptions, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var network gopacket.NetworkLayer
	for _, part := range parts {
		if n, ok := part.(gopacket.NetworkLayer); ok {
			network = n
		}
		if c, ok := part.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok && network != nil {
			if err := c.SetNetworkLayerForChecksum(network); err != nil {
				t.Fatal(err)
			}
		}
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, opts, parts...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// linked puts an Ethernet header in front of an IP packet.
func linked(dst, src maps.MAC, tags []maps.Tag, ip []byte) []byte {
	frame := append(dst[:], src[:]...)
	for _, tag := range tags {
		if tag.Type != 0 {
			frame = binary.BigEndian.AppendUint16(frame, tag.Type)
			frame = binary.BigEndian.AppendUint16(frame, tag.ID)
		}
	}
	return append(binary.BigEndian.AppendUint16(frame, etherTypeOf(ip)), ip...)
}

func etherTypeOf(ip []byte) uint16 {
	if ip[0]>>4 == 6 {
		return 0x86dd
	}
	return 0x0800
}

// arriving is an IP packet as the router sends it to xlb.
func arriving(ip []byte, tags ...maps.Tag) []byte { return linked(selfMAC, routerMAC, tags, ip) }

// hopLater is an IP packet with a TTL or hop limit one lower.
func hopLater(ip []byte) []byte {
	if ip[0]>>4 == 4 {
		return livingPacket(ip, ip[8]-1)
	}
	return livingPacket(ip, ip[7]-1)
}

// markedPacket is a packet with another TOS or traffic class.
func markedPacket(ip []byte, tos uint8) []byte {
	if ip[0]>>4 == 4 {
		return rightChecksum(with(ip, func(b []byte) { b[1] = tos }))
	}
	return with(ip, func(b []byte) { b[0], b[1] = 0x60|tos>>4, tos<<4|b[1]&0x0f })
}

// livingPacket is a packet with another TTL or hop limit.
func livingPacket(ip []byte, hops uint8) []byte {
	if ip[0]>>4 == 4 {
		return rightChecksum(with(ip, func(b []byte) { b[8] = hops }))
	}
	return with(ip, func(b []byte) { b[7] = hops })
}

// rightChecksum sets the checksum of the IPv4 header that a packet starts with.
func rightChecksum(ip []byte) []byte {
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], gopacket.FoldChecksum(gopacket.ComputeChecksum(ip[:ip[0]&0x0f*4], 0)))
	return ip
}

// leaving is the frame that a packet of the given hash becomes on its way to a
// backend, computed by another implementation.
func leaving(t testing.TB, b maps.Backend, hash uint64, ip []byte) []byte {
	t.Helper()
	inner := hopLater(ip)
	if b.Forward != maps.L2 {
		inner = tunnelledBy(t, b, hash, inner)
	}
	return linked(b.DestMAC, b.SourceMAC, b.Tags[:], inner)
}

// tunnelledBy puts a packet into a backend's tunnel.
func tunnelledBy(t testing.TB, b maps.Backend, hash uint64, inner []byte) []byte {
	t.Helper()
	kind, tos := layers.IPProtocolIPv4, inner[1]
	if inner[0]>>4 == 6 {
		kind, tos = layers.IPProtocolIPv6, uint8(binary.BigEndian.Uint16(inner)>>4)
	}
	proto := map[maps.Forward]layers.IPProtocol{maps.IPIP: kind, maps.GRE: layers.IPProtocolGRE, maps.GUE: layers.IPProtocolUDP}[b.Forward]
	outer := ipHeader(varied(b, hash), b.Dest, proto)
	switch ip := outer.(type) {
	case *layers.IPv4:
		ip.TOS, ip.Id = tos, 0
	case *layers.IPv6:
		ip.TrafficClass, ip.FlowLabel = tos, uint32(hash>>12&0xfffff)
	}
	switch b.Forward {
	case maps.GRE:
		return packet(t, outer, &layers.GRE{Protocol: layers.EthernetType(etherTypeOf(inner))}, gopacket.Payload(inner))
	case maps.GUE:
		udp := &layers.UDP{SrcPort: layers.UDPPort(0xc000 | hash&0x3fff), DstPort: layers.UDPPort(b.Port)}
		gue := gopacket.Payload{0, byte(kind), 0, 0}
		if b.Checksum {
			return packet(t, outer, udp, gue, gopacket.Payload(inner))
		}
		return packet(t, outer, gopacket.Payload(serialise(t, gopacket.SerializeOptions{FixLengths: true}, udp, gue, gopacket.Payload(inner))))
	}
	return packet(t, outer, gopacket.Payload(inner))
}

// varied is a backend's outer source address for a flow.
func varied(b maps.Backend, hash uint64) netip.Addr {
	addr := b.Source.AsSlice()
	word, mask := addr[len(addr)-4:], uint32(1<<b.SourceBits-1)
	bits := binary.BigEndian.Uint32(binary.LittleEndian.AppendUint32(nil, uint32(hash)))
	binary.BigEndian.PutUint32(word, binary.BigEndian.Uint32(word)|bits&mask)
	out, _ := netip.AddrFromSlice(addr)
	return out
}

// via is a backend of inner's family by a tunnel in outer's, or by l2.
func via(forward maps.Forward, outer, inner family) maps.Backend {
	b := maps.Backend{Forward: forward, IPv6: inner.v6(), Up: true, Ifindex: testRunIfindex, MTU: 1500, SourceMAC: selfMAC, DestMAC: backendMAC}
	if forward != maps.L2 {
		b.Source, b.Dest, b.DestMAC = outer.self, outer.backend, routerMAC
	}
	if forward == maps.GUE {
		b.Port = 6080
	}
	return b
}

// way is how packets of a family reach a backend.
type way struct {
	name  string
	inner family
	b     maps.Backend
}

// ways are all of them: every mode, every mix of families.
func ways() (all []way) {
	for _, inner := range families {
		all = append(all, way{"l2 " + inner.name, inner, via(maps.L2, inner, inner)})
		for _, forward := range []maps.Forward{maps.IPIP, maps.GRE, maps.GUE} {
			for _, outer := range families {
				all = append(all, way{fmt.Sprintf("%s in %s over %s", inner.name, forward, outer.name), inner, via(forward, outer, inner)})
			}
		}
		b := via(maps.GUE, family6, inner)
		b.Checksum = true
		all = append(all, way{inner.name + " in gue over IPv6 with checksum", inner, b})
	}
	return all
}

// overhead is what a backend's tunnel adds to a packet.
func overhead(b maps.Backend) int {
	if b.Forward == maps.L2 {
		return 0
	}
	header := map[maps.Forward]int{maps.IPIP: 0, maps.GRE: 4, maps.GUE: 12}[b.Forward]
	if b.Dest.Is6() {
		return header + 40
	}
	return header + 20
}

// listen makes a listener of a VIP, which is an address or a prefix.
func listen(vip string, first, last uint16, proto maps.Protocol, id maps.ServiceID) maps.Listener {
	prefix, err := netip.ParsePrefix(vip)
	if err != nil {
		addr := netip.MustParseAddr(vip)
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	return maps.Listener{VIP: prefix, First: first, Last: last, Protocol: proto, Service: id}
}

// web443 are listeners on port 443 of both VIPs, TCP and UDP: service 0 for IPv4,
// service 1 for IPv6.
func web443() (all []maps.Listener) {
	for i, f := range families {
		for _, proto := range []maps.Protocol{maps.TCP, maps.UDP} {
			all = append(all, listen(f.vip.String(), 443, 443, proto, maps.ServiceID(i)))
		}
	}
	return all
}

// offer makes a service of backends with one slot each. They get the numbers from
// firstBackend on.
func (p *path) offer(id maps.ServiceID, s maps.Service, backends ...maps.Backend) {
	p.Helper()
	owners := make([]maps.BackendID, len(backends))
	for i, b := range backends {
		owners[i] = firstBackend(id) + maps.BackendID(i)
		p.must(p.tables.SetBackend(owners[i], b))
	}
	s.IPv6 = len(backends) > 0 && backends[0].IPv6
	p.must(p.tables.SetService(id, s))
	p.must(p.tables.SetSlotTable(id, maps.Steady(owners)))
}

func firstBackend(id maps.ServiceID) maps.BackendID { return 1 + 8*maps.BackendID(id) }

// offerWeb offers port 443 of both VIPs, each by one backend of its own.
func (p *path) offerWeb(s maps.Service) {
	p.Helper()
	for i, f := range families {
		p.offer(maps.ServiceID(i), s, via(maps.L2, f, f))
	}
	p.must(p.tables.SetListeners(web443()))
}

// outcome runs a frame and says what became of it: "backend 1", or verdict and
// reason, as "drop land". Whatever was counted but once with all bytes shows.
func (p *path) outcome(frame []byte) string {
	p.Helper()
	before, backends := p.counts(), make([]uint64, testLimits.Backends+1)
	for id := range backends {
		backends[id] = p.tables.BackendCounter(maps.BackendID(id)).Packets
	}
	verdict, _ := p.run(frame)
	out := map[uint32]string{xdpPass: "pass", xdpDrop: "drop", xdpTX: "tx", xdpRedirect: "redirect"}[verdict]
	after := p.counts()
	for _, r := range bpf.Reasons() {
		packets, bytes := after[r].Packets-before[r].Packets, after[r].Bytes-before[r].Bytes
		if packets == 0 {
			continue
		}
		if packets != 1 || bytes != uint64(len(frame)) {
			out += fmt.Sprintf(" (%d packets, %d bytes)", packets, bytes)
		}
		if r != bpf.ReasonForwarded {
			out += " " + r.String()
			continue
		}
		for id := range backends {
			if p.tables.BackendCounter(maps.BackendID(id)).Packets != backends[id] {
				out += fmt.Sprintf(" backend %d", id)
			}
		}
	}
	return out
}

// outcomes checks what becomes of IP packets, in order.
type outcomes []struct {
	name   string
	packet []byte
	want   string
}

func (all outcomes) check(t *testing.T, p *path) {
	t.Helper()
	for _, c := range all {
		if got := p.outcome(arriving(c.packet)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
