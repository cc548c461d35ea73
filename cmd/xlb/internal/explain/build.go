package explain

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Single describes a packet to build.
type Single struct {
	Protocol string // tcp, udp or icmp: an echo request
	Src, Dst netip.AddrPort
	SYN      bool // TCP: a SYN with an MSS option instead of an ACK
	Size     int  // of the payload, in bytes
	TTL      uint8
}

// Build makes a frame with right lengths and checksums. Its MAC addresses are
// zero; IPv4 packets must not be fragmented, as hosts that look for the path MTU
// send them.
func (s Single) Build() ([]byte, error) {
	v6 := s.Dst.Addr().Is6()
	if s.Src.Addr().Is6() != v6 {
		return nil, fmt.Errorf("build packet from %s to %s: one is IPv4, the other IPv6: write two of one family", s.Src.Addr(), s.Dst.Addr())
	}
	ip := &layers.IPv4{Version: 4, TTL: s.TTL, Flags: layers.IPv4DontFragment, SrcIP: s.Src.Addr().AsSlice(), DstIP: s.Dst.Addr().AsSlice()}
	ip6 := &layers.IPv6{Version: 6, HopLimit: s.TTL, SrcIP: s.Src.Addr().AsSlice(), DstIP: s.Dst.Addr().AsSlice()}
	eth := &layers.Ethernet{SrcMAC: make(net.HardwareAddr, 6), DstMAC: make(net.HardwareAddr, 6), EthernetType: layers.EthernetTypeIPv4}
	var network interface {
		gopacket.SerializableLayer
		gopacket.NetworkLayer
	} = ip
	if v6 {
		eth.EthernetType, network = layers.EthernetTypeIPv6, ip6
	}
	transport, protocol, err := s.transport(network)
	if err != nil {
		return nil, err
	}
	ip.Protocol, ip6.NextHeader = protocol, protocol
	all := append([]gopacket.SerializableLayer{eth, network}, transport...)
	buf := gopacket.NewSerializeBuffer()
	opts := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opts, append(all, gopacket.Payload(make([]byte, s.Size)))...); err != nil {
		return nil, fmt.Errorf("build packet: %w", err)
	}
	return buf.Bytes(), nil
}

// ethernetMSS4 and ethernetMSS6 are what hosts announce behind an MTU of 1500.
const ethernetMSS4, ethernetMSS6 = 1460, 1440

func (s Single) transport(network gopacket.NetworkLayer) ([]gopacket.SerializableLayer, layers.IPProtocol, error) {
	v6 := s.Dst.Addr().Is6()
	switch {
	case s.Protocol == "tcp":
		tcp := &layers.TCP{SrcPort: layers.TCPPort(s.Src.Port()), DstPort: layers.TCPPort(s.Dst.Port()), Window: 65535, SYN: s.SYN, ACK: !s.SYN}
		if s.SYN {
			mss := uint16(ethernetMSS4)
			if v6 {
				mss = ethernetMSS6
			}
			tcp.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{byte(mss >> 8), byte(mss)}}}
		}
		return []gopacket.SerializableLayer{tcp}, layers.IPProtocolTCP, tcp.SetNetworkLayerForChecksum(network)
	case s.Protocol == "udp":
		udp := &layers.UDP{SrcPort: layers.UDPPort(s.Src.Port()), DstPort: layers.UDPPort(s.Dst.Port())}
		return []gopacket.SerializableLayer{udp}, layers.IPProtocolUDP, udp.SetNetworkLayerForChecksum(network)
	case s.Protocol == "icmp" && v6:
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}
		echo := &layers.ICMPv6Echo{Identifier: 1, SeqNumber: 1}
		return []gopacket.SerializableLayer{icmp, echo}, layers.IPProtocolICMPv6, icmp.SetNetworkLayerForChecksum(network)
	case s.Protocol == "icmp":
		icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: 1, Seq: 1}
		return []gopacket.SerializableLayer{icmp}, layers.IPProtocolICMPv4, nil
	}
	return nil, 0, fmt.Errorf("build packet of protocol %q: write tcp, udp or icmp", s.Protocol)
}
