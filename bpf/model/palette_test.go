package model

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

var (
	vip4, vip6       = netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8:1::a")
	client4, client6 = netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8:ffff::7")

	routerMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	ourMAC    = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

const (
	arrival = 1 // the interface that packets arrive on
	start   = int64(100e9)
)

// state4And6 has HTTPS and HTTP/3 on both VIPs: services 1 and 2 with one l2
// backend each of the same number.
func state4And6() State {
	s := State{
		Settings: maps.Settings{VerifyChecksum: true},
		Services: map[maps.ServiceID]maps.Service{1: {}, 2: {}},
		Slots:    map[maps.ServiceID][]maps.BackendID{1: {1}, 2: {2}},
		Backends: map[maps.BackendID]maps.Backend{},
		Egress:   map[uint32]bool{7: true},
	}
	for i, vip := range []netip.Addr{vip4, vip6} {
		prefix := netip.PrefixFrom(vip, vip.BitLen())
		id := maps.ServiceID(i + 1)
		for _, protocol := range []maps.Protocol{maps.TCP, maps.UDP} {
			s.Listeners = append(s.Listeners, maps.Listener{VIP: prefix, First: 443, Last: 443, Protocol: protocol, Service: id})
		}
		s.Backends[maps.BackendID(id)] = maps.Backend{
			Forward: maps.L2, IPv6: i == 1, Up: true, Ifindex: arrival, MTU: 1500,
			SourceMAC: maps.MAC{2, 0, 0, 0, 0, 9}, DestMAC: maps.MAC{2, 0, 0, 0, 0, byte(0x10 + i)},
		}
	}
	return s
}

// with is state4And6 changed.
func with(change func(*State)) State {
	s := state4And6()
	change(&s)
	return s
}

func (s *State) changeService(id maps.ServiceID, change func(*maps.Service)) {
	svc := s.Services[id]
	change(&svc)
	s.Services[id] = svc
}

func (s *State) changeBackend(id maps.BackendID, change func(*maps.Backend)) {
	b := s.Backends[id]
	change(&b)
	s.Backends[id] = b
}

func newModel(t testing.TB, s State) *Model {
	t.Helper()
	m, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ethernet(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: routerMAC, DstMAC: ourMAC, EthernetType: kind}
}

func ipv4(protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{
		Version: 4, TTL: 60, TOS: 0xb8, Id: 0x1234, Flags: layers.IPv4DontFragment, Protocol: protocol,
		SrcIP: client4.AsSlice(), DstIP: vip4.AsSlice(),
	}
}

func ipv6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{
		Version: 6, HopLimit: 60, TrafficClass: 0xb8, FlowLabel: 0x12345, NextHeader: next,
		SrcIP: client6.AsSlice(), DstIP: vip6.AsSlice(),
	}
}

func tcp() *layers.TCP {
	return &layers.TCP{SrcPort: 4242, DstPort: 443, Seq: 7, ACK: true, Window: 1000}
}

func udp() *layers.UDP { return &layers.UDP{SrcPort: 4242, DstPort: 443} }

// build makes the bytes of the layers, lengths and checksums right.
func build(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var network gopacket.NetworkLayer
	for _, part := range parts {
		if n, ok := part.(gopacket.NetworkLayer); ok {
			network = n
		}
		setNetwork(t, part, network)
	}
	buf := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, options, parts...); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// setNetwork tells a layer with a pseudo header in its checksum what is around it.
func setNetwork(t testing.TB, layer any, network gopacket.NetworkLayer) {
	t.Helper()
	if c, ok := layer.(interface {
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	}); ok {
		if err := c.SetNetworkLayerForChecksum(network); err != nil {
			t.Fatal(err)
		}
	}
}

func frame4(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	return build(t, append([]gopacket.SerializableLayer{ethernet(layers.EthernetTypeIPv4)}, parts...)...)
}

func frame6(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	return build(t, append([]gopacket.SerializableLayer{ethernet(layers.EthernetTypeIPv6)}, parts...)...)
}

func tcp4(t testing.TB) []byte { return frame4(t, ipv4(6), tcp(), gopacket.Payload("hello")) }
func udp4(t testing.TB) []byte { return frame4(t, ipv4(17), udp(), gopacket.Payload("hello")) }
func tcp6(t testing.TB) []byte { return frame6(t, ipv6(6), tcp(), gopacket.Payload("hello")) }
func udp6(t testing.TB) []byte { return frame6(t, ipv6(17), udp(), gopacket.Payload("hello")) }

// edited is a frame with bytes replaced from an offset of its IP header on, and
// IPv4's checksum right again.
func edited(frame []byte, at int, bytes ...byte) []byte {
	frame = append([]byte(nil), frame...)
	copy(frame[ethernetHeader+at:], bytes)
	return withChecksum(frame)
}

func withChecksum(frame []byte) []byte {
	ip := frame[ethernetHeader:]
	if ip[0]>>4 == 4 && len(ip) >= ipv4Header && headerLength(ip) >= ipv4Header && headerLength(ip) <= len(ip) {
		ip[10], ip[11] = 0, 0
		binary.BigEndian.PutUint16(ip[10:], checksum(ip[:headerLength(ip)], 0))
	}
	return frame
}

// outcome is what the tables expect, such as "drop land".
func outcome(r Result) string { return r.Verdict.String() + " " + r.Reason }

func expect(t testing.TB, m *Model, frame []byte, want string) Result {
	t.Helper()
	return expectAt(t, m, frame, start, want)
}

func expectAt(t testing.TB, m *Model, frame []byte, now int64, want string) Result {
	t.Helper()
	r := m.Process(frame, arrival, now)
	if diff := cmp.Diff(want, outcome(r)); diff != "" {
		t.Fatalf("outcome (-want +got):\n%s", diff)
	}
	return r
}

// decode reads a frame by a reader that is not ours and checks every checksum.
func decode(t testing.TB, frame []byte, first gopacket.Decoder) gopacket.Packet {
	t.Helper()
	p := gopacket.NewPacket(frame, first, gopacket.Default)
	if failed := p.ErrorLayer(); failed != nil {
		t.Fatalf("decode %x: %v", frame, failed.Error())
	}
	var network gopacket.NetworkLayer
	for _, layer := range p.Layers() {
		if n, ok := layer.(gopacket.NetworkLayer); ok {
			network = n
		}
		setNetwork(t, layer, network)
	}
	if err, wrong := p.VerifyChecksums(); err != nil || len(wrong) > 0 {
		t.Fatalf("checksums of %s: %v, %v", p, err, wrong)
	}
	return p
}
