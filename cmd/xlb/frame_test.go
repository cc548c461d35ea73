package main

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/testenv"
)

// payload marks the frames that tests make themselves.
var payload = []byte("made by a test")

// frame puts layers together, with the right lengths and checksums.
func frame(t *testing.T, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	must(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...))
	return slices.Clone(buf.Bytes())
}

// toLB is the Ethernet header of a frame from the router to a routed lab's balancer.
func toLB(t *testing.T, lab *testenv.Lab, kind layers.EthernetType) *layers.Ethernet {
	t.Helper()
	l, err := lab.LB.Netlink().LinkByName(lab.LBInterfaces[0])
	must(t, err)
	return &layers.Ethernet{SrcMAC: lab.LBPeers[0].MAC, DstMAC: l.Attrs().HardwareAddr, EthernetType: kind}
}

func ipv4(from, to netip.Addr, protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 17, Protocol: protocol, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
}

func ipv6(from, to netip.Addr, protocol layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 17, NextHeader: protocol, SrcIP: from.AsSlice(), DstIP: to.AsSlice()}
}

// udp is the header of a datagram in an IP packet.
func udp(ip gopacket.NetworkLayer, from, to uint16) *layers.UDP {
	l := &layers.UDP{SrcPort: layers.UDPPort(from), DstPort: layers.UDPPort(to)}
	l.SetNetworkLayerForChecksum(ip)
	return l
}

// syn is the header of a connection's first segment in an IP packet.
func syn(ip gopacket.NetworkLayer, from, to uint16) *layers.TCP {
	l := &layers.TCP{SrcPort: layers.TCPPort(from), DstPort: layers.TCPPort(to), SYN: true, Seq: 1, Window: 1000}
	l.SetNetworkLayerForChecksum(ip)
	return l
}

// datagram is a frame to the balancer with a datagram whose payload is payload.
func datagram(t *testing.T, lab *testenv.Lab, from, to netip.AddrPort) []byte {
	t.Helper()
	if to.Addr().Is6() {
		ip := ipv6(from.Addr(), to.Addr(), layers.IPProtocolUDP)
		return frame(t, toLB(t, lab, layers.EthernetTypeIPv6), ip, udp(ip, from.Port(), to.Port()), gopacket.Payload(payload))
	}
	ip := ipv4(from.Addr(), to.Addr(), layers.IPProtocolUDP)
	return frame(t, toLB(t, lab, layers.EthernetTypeIPv4), ip, udp(ip, from.Port(), to.Port()), gopacket.Payload(payload))
}

// silent is a port without a server: an answer to a source without a socket would have the client complain to the VIP, and
// that be forwarded as well.
func silent(vip netip.Addr) netip.AddrPort { return netip.AddrPortFrom(vip, 81) }

func openTap(t *testing.T, n *testenv.Namespace, ifname string) *testenv.Tap {
	t.Helper()
	tap, err := testenv.OpenTap(n, ifname)
	must(t, err)
	t.Cleanup(func() { tap.Close() })
	return tap
}

// inject sends a frame to the balancer's first interface.
func inject(t *testing.T, lab *testenv.Lab, f []byte) {
	t.Helper()
	must(t, testenv.Inject(lab.LBPeers[0].NS, lab.LBPeers[0].Interface, f))
}

// fromLB waits for the next frame of a test's own that the balancer sent, as seen at the other end of its link.
func fromLB(t *testing.T, tap *testenv.Tap) gopacket.Packet {
	t.Helper()
	f, err := tap.Find(deadline(t), "a frame of the balancer's with the test's payload", func(f testenv.Frame) bool {
		return !f.Outgoing && bytes.Contains(f.Data, payload)
	})
	must(t, err)
	return decode(f)
}

func decode(f testenv.Frame) gopacket.Packet {
	return gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.Default)
}

// header returns the layers of a kind in a packet, outermost first.
func header[T gopacket.Layer](p gopacket.Packet) []T {
	var found []T
	for _, l := range p.Layers() {
		if l, ok := l.(T); ok {
			found = append(found, l)
		}
	}
	return found
}

// wantChecksums wants a packet to decode without an error, with right checksums in all its layers.
func wantChecksums(t *testing.T, p gopacket.Packet) {
	t.Helper()
	if failed := p.ErrorLayer(); failed != nil {
		t.Errorf("decode %s: %v", p, failed.Error())
	}
	var network gopacket.NetworkLayer
	for _, l := range p.Layers() {
		if n, ok := l.(gopacket.NetworkLayer); ok {
			network = n
		}
		if c, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			must(t, c.SetNetworkLayerForChecksum(network))
		}
	}
	err, wrong := p.VerifyChecksums()
	must(t, err)
	if len(wrong) > 0 {
		t.Errorf("wrong checksums: %+v", wrong)
	}
}
