package main

import (
	"bytes"
	"encoding/binary"
	"net"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

const (
	frameLen  = 128 // FRAME of wrapper.c
	sourceNet = 11  // first byte of every IPv4 source
	linkLen   = 14
)

// traffic is the packet of flow 0 and how it varies.
type traffic struct {
	frame     []byte
	ipv6      bool
	flows     uint64
	vips      int
	serverIDs int
	idAt      int  // where the QUIC server ID lies, 0: there is none
	grows     bool // the product puts a header in front
}

// newFrame serialises layers behind an Ethernet header and pads the frame.
func newFrame(kind layers.EthernetType, rest ...gopacket.SerializableLayer) []byte {
	eth := &layers.Ethernet{SrcMAC: routerMAC[:], DstMAC: selfMAC[:], EthernetType: kind}
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, append([]gopacket.SerializableLayer{eth}, rest...)...); err != nil {
		panic(err) // the layers are this program's own
	}
	return append(bytes.Clone(buf.Bytes()), make([]byte, frameLen-len(buf.Bytes()))...)
}

func ip4(proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{
		Version: 4, TTL: 64, Flags: layers.IPv4DontFragment, Protocol: proto,
		SrcIP: net.IPv4(sourceNet, 0, 0, 0), DstIP: vipAddr(0).AsSlice(),
	}
}

func tcpSegment(ip gopacket.NetworkLayer, syn bool) *layers.TCP {
	tcp := &layers.TCP{SrcPort: 0x8000, DstPort: port, SYN: syn, ACK: !syn, Window: 1024}
	_ = tcp.SetNetworkLayerForChecksum(ip) // fails for other layers than IP
	return tcp
}

func tcp4(flows uint64) traffic {
	ip := ip4(layers.IPProtocolTCP)
	return traffic{frame: newFrame(layers.EthernetTypeIPv4, ip, tcpSegment(ip, false)), flows: flows, vips: 1}
}

func syn4(flows uint64) traffic {
	ip := ip4(layers.IPProtocolTCP)
	return traffic{frame: newFrame(layers.EthernetTypeIPv4, ip, tcpSegment(ip, true)), flows: flows, vips: 1}
}

func tcp6(flows uint64) traffic {
	ip := &layers.IPv6{
		Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP,
		SrcIP: net.ParseIP("2001:db8:ff::"), DstIP: vipAddr6().AsSlice(),
	}
	return traffic{frame: newFrame(layers.EthernetTypeIPv6, ip, tcpSegment(ip, false)), ipv6: true, flows: flows, vips: 1}
}

func udpTraffic(flows uint64, payload []byte) traffic {
	ip := ip4(layers.IPProtocolUDP)
	udp := &layers.UDP{SrcPort: 0x8000, DstPort: port}
	_ = udp.SetNetworkLayerForChecksum(ip) // fails for other layers than IP
	return traffic{frame: newFrame(layers.EthernetTypeIPv4, ip, udp, gopacket.Payload(payload)), flows: flows, vips: 1}
}

func udp4(flows uint64) traffic { return udpTraffic(flows, make([]byte, 40)) }

// quic4 is a packet with a short header: one byte, then a connection ID of rotation
// 0 that begins with the server ID.
func quic4(flows uint64) traffic {
	t := udpTraffic(flows, append([]byte{0x40}, make([]byte, 39)...))
	t.serverIDs, t.idAt = backends, linkLen+20+8+1+1
	return t
}

func arp() traffic {
	request := &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
		SourceHwAddress: routerMAC[:], SourceProtAddress: make([]byte, 4), DstHwAddress: make([]byte, 6), DstProtAddress: vipAddr(0).AsSlice(),
	}
	return traffic{frame: newFrame(layers.EthernetTypeARP, request), flows: 1, vips: 1}
}

// elsewhere sends to an address that is no VIP.
func elsewhere(t traffic) traffic {
	t.frame[t.offsets().dest] ^= 1
	return t
}

func toVIPs(t traffic, vips int) traffic {
	t.vips = vips
	return t
}

// offsets say where the fields lie that the wrapper writes.
type offsets struct{ hop, source, dest, port uint32 }

func (t traffic) offsets() offsets {
	if t.ipv6 { // of the addresses the last words
		return offsets{hop: linkLen + 4, source: linkLen + 8 + 12, dest: linkLen + 24 + 12, port: linkLen + 40}
	}
	return offsets{hop: linkLen + 8, source: linkLen + 12, dest: linkLen + 16, port: linkLen + 20}
}

// word reads the frame as the wrapper does.
func (t traffic) word(at uint32) uint32 { return binary.NativeEndian.Uint32(t.frame[at:]) }

// flowKey is the key of a flow of IPv4 in the reference tables.
func (t traffic) flowKey(flow uint32) WrapperFlowKey {
	o := t.offsets()
	return WrapperFlowKey{
		Source: t.word(o.source) | flow&^0xff, Dest: t.word(o.dest),
		SourcePort: wire(0x8000 | uint16(flow&0xff)), DestPort: wire(port), Proto: uint32(maps.TCP),
	}
}

func wire(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}
