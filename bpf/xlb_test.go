package bpf_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

var (
	web = netip.AddrPortFrom(vip, 80)
	dns = netip.AddrPortFrom(vip, 53)
)

// with returns a copy of a frame, changed.
func with(frame []byte, change func([]byte)) []byte {
	frame = bytes.Clone(frame)
	change(frame)
	return frame
}

// setIP changes a byte of the IPv4 header.
func setIP(offset int, value byte) func([]byte) {
	return func(frame []byte) { frame[14+offset] = value }
}

// Every exit but the forwarding ones: the verdict, the reason, the packet as it came.
func TestPacketThatIsNotForwardedLeavesUntouchedWithItsReason(t *testing.T) {
	p := newPath(t)
	p.serve(viaIPIP())
	tcp := tcpFrame(t, web, 100)
	arp := frameOf(t, layers.EthernetTypeARP, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
		SourceHwAddress: routerMAC[:], SourceProtAddress: client.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: vip.AsSlice(),
	})
	ipv6 := frameOf(t, layers.EthernetTypeIPv6,
		&layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolNoNextHeader, SrcIP: net.ParseIP("2001:db8::1"), DstIP: net.ParseIP("2001:db8::2")})
	icmp := frameOf(t, layers.EthernetTypeIPv4, ipv4(vip, layers.IPProtocolICMPv4),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeTimestampRequest, 0)})

	for _, c := range []struct {
		name    string
		frame   []byte
		verdict uint32
		reason  bpf.Reason
	}{
		{"ARP for the VIP", arp, xdpPass, bpf.ReasonNotIp},
		{"IPv6 to an address that is no VIP", ipv6, xdpPass, bpf.ReasonNotOurs},
		{"an Ethernet header alone", tcp[:14], xdpPass, bpf.ReasonMalformed},
		{"an IPv4 header cut short", tcp[:33], xdpPass, bpf.ReasonMalformed},
		{"version 5 in an IPv4 frame", with(tcp, setIP(0, 0x55)), xdpPass, bpf.ReasonMalformed},
		{"an address that is no VIP", tcpFrame(t, netip.AddrPortFrom(backend, 80), 0), xdpPass, bpf.ReasonNotOurs},
		{"a fragment for somebody else", with(tcpFrame(t, netip.AddrPortFrom(backend, 80), 0), setIP(6, 0x20)), xdpPass, bpf.ReasonNotOurs},
		{"another port of the VIP", tcpFrame(t, netip.AddrPortFrom(vip, 81), 0), xdpPass, bpf.ReasonNoService},
		{"the service's port in the other protocol", udpFrame(t, web, 0), xdpPass, bpf.ReasonNoService},
		{"ICMP other than echo and errors", icmp, xdpPass, bpf.ReasonNoService},
		{"an IP length past the frame", with(tcp, func(f []byte) { binary.BigEndian.PutUint16(f[16:], 141) }), xdpDrop, bpf.ReasonBadLength},
		{"an IP length too short for TCP", with(tcp, func(f []byte) { binary.BigEndian.PutUint16(f[16:], 39) }), xdpDrop, bpf.ReasonBadLength},
		{"an IP length too short for UDP", with(udpFrame(t, dns, 100), func(f []byte) { binary.BigEndian.PutUint16(f[16:], 27) }), xdpDrop, bpf.ReasonBadLength},
		{"an IP header length below 20", with(tcp, setIP(0, 0x44)), xdpDrop, bpf.ReasonBadLength},
		{"an IP header length past the packet", with(tcpFrame(t, web, 0), setIP(0, 0x4f)), xdpDrop, bpf.ReasonBadLength},
		{"a later fragment without a first", with(tcp, setIP(7, 0x01)), xdpDrop, bpf.ReasonFragmentUnknown},
		{"TTL 1", with(tcp, setIP(8, 1)), xdpDrop, bpf.ReasonTtlExpired},
		{"TTL 0", with(tcp, setIP(8, 0)), xdpDrop, bpf.ReasonTtlExpired},
		{"a packet longer than the MTU once encapsulated, without DF", tcpFrame(t, web, 1500-20-20-20+1, func(ip *layers.IPv4) { ip.Flags = 0 }), xdpDrop, bpf.ReasonTooBig},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.expect(t, c.frame, c.verdict, c.frame, c.reason)
		})
	}
}

func TestServiceStateDecidesBetweenForwardingAndItsReasons(t *testing.T) {
	p := newPath(t)
	frame := tcpFrame(t, web, 10)
	for _, c := range []struct {
		name   string
		change func(p *path)
		reason bpf.Reason
	}{
		{"no slot table", func(p *path) { p.must(p.tables.SetSlotTable(0, nil)) }, bpf.ReasonNoBackend},
		{"slots that nobody owns", func(p *path) { p.must(p.tables.SetSlotTable(0, maps.Steady(make([]maps.BackendID, 3)))) }, bpf.ReasonNoBackend},
		{"an unresolved backend", func(p *path) { p.must(p.tables.SetBackend(1, maps.Backend{})) }, bpf.ReasonNoNextHop},
		{"a backend by a redirect to an interface that is gone", func(p *path) {
			b := viaIPIP()
			b.Ifindex, b.Egress = testRunIfindex+1, 7
			p.must(p.tables.SetBackend(1, b))
		}, bpf.ReasonNoEgress},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.serve(viaIPIP())
			c.change(p)
			p.expect(t, frame, xdpDrop, nil, c.reason)
		})
	}
}

func TestListenersRemovedAreNotOursAgain(t *testing.T) {
	p := newPath(t)
	frame := tcpFrame(t, web, 10)
	p.expect(t, frame, xdpPass, frame, bpf.ReasonNotOurs) // before anything is set
	p.serve(viaIPIP())
	p.must(p.tables.SetListeners(nil))
	p.expect(t, frame, xdpPass, frame, bpf.ReasonNotOurs)
}

// decreased is the client's packet one hop later, computed by another implementation.
func decreased(t *testing.T, frame []byte) []byte {
	t.Helper()
	packet := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default)
	ip := packet.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	ip.TTL--
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true}, ip, gopacket.Payload(ip.Payload)); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestIPIPWrapsThePacketForItsBackend(t *testing.T) {
	p := newPath(t)
	p.serve(viaIPIP())
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"a TCP segment", tcpFrame(t, web, 100)},
		{"a UDP datagram", udpFrame(t, dns, 33)},
		{"the longest packet that fits", tcpFrame(t, web, 1500-20-20-20)},
		{"DSCP and ECN", tcpFrame(t, web, 5, func(ip *layers.IPv4) { ip.TOS = 0xba })},
		{"IP options", tcpFrame(t, web, 5, func(ip *layers.IPv4) {
			ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
		})},
		{"a TTL of 2", tcpFrame(t, web, 5, func(ip *layers.IPv4) { ip.TTL = 2 })},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.expect(t, c.frame, xdpTX, wrapped(t, c.frame), bpf.ReasonForwarded)
		})
	}
}

// wrapped is what should leave for the backend, computed by another
// implementation. Ethernet padding stays behind the packet and is not counted in
// the outer length.
func wrapped(t *testing.T, frame []byte) []byte {
	t.Helper()
	inner := decreased(t, frame)
	buf := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: selfMAC[:], DstMAC: routerMAC[:], EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{
			Version: 4, TOS: inner[1], TTL: 64, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolIPv4,
			SrcIP: self.AsSlice(), DstIP: backend.AsSlice(),
		}, gopacket.Payload(inner))
	if err != nil {
		t.Fatal(err)
	}
	return append(buf.Bytes()[:14+20+len(inner)], frame[14+len(inner):]...)
}

func TestTTLChecksumSurvivesEveryCarry(t *testing.T) {
	p := newPath(t)
	p.serve(viaL2())
	for id := range 1 << 16 { // the identification runs the checksum through all its values
		if id%251 != 0 && id < 0xff00 {
			continue
		}
		frame := tcpFrame(t, web, 0, func(ip *layers.IPv4) { ip.Id = uint16(id) })
		_, out := p.run(frame)
		if want := decreased(t, frame); !bytes.Equal(out[14:34], want[:20]) {
			t.Fatalf("identification %#x: header %x, want %x", id, out[14:34], want[:20])
		}
	}
}

func TestPaddingOfAShortFrameIsNotPartOfThePacket(t *testing.T) {
	p := newPath(t)
	p.serve(viaIPIP())
	frame := udpFrame(t, dns, 1)
	if len(frame) != 60 {
		t.Fatalf("the frame has %d bytes; the test wants Ethernet's minimum", len(frame))
	}
	p.expect(t, frame, xdpTX, wrapped(t, frame), bpf.ReasonForwarded)
}

func TestL2ChangesOnlyMACsAndTTL(t *testing.T) {
	p := newPath(t)
	p.serve(viaL2())
	frame := tcpFrame(t, web, 1460)
	want := append(append(append([]byte{}, backendMAC[:]...), selfMAC[:]...), 0x08, 0x00)
	p.expect(t, frame, xdpTX, append(want, decreased(t, frame)...), bpf.ReasonForwarded)
}

func TestL2PacketLongerThanTheEgressMTUIsDropped(t *testing.T) {
	p := newPath(t)
	b := viaL2()
	b.MTU = 1400
	p.serve(b)
	frame := tcpFrame(t, web, 1400-40+1, func(ip *layers.IPv4) { ip.Flags = 0 })
	p.expect(t, frame, xdpDrop, frame, bpf.ReasonTooBig)
}

func TestBackendOnAnotherInterfaceIsRedirectedTo(t *testing.T) {
	p := newPath(t)
	b := viaL2()
	b.Ifindex, b.Egress = testRunIfindex+1, 3
	p.serve(b)
	p.must(p.maps[bpf.XlbMapEgress].Put(uint32(3), uint32(testRunIfindex)))
	frame := tcpFrame(t, web, 10)
	want := append(append(append([]byte{}, backendMAC[:]...), selfMAC[:]...), 0x08, 0x00)
	p.expect(t, frame, xdpRedirect, append(want, decreased(t, frame)...), bpf.ReasonForwarded)
}

func TestUnusedModeIsNotInTheProgram(t *testing.T) {
	p := newPathWith(t, maps.Settings{Limits: testLimits}, maps.Features{L2: true})
	p.serve(viaIPIP())
	frame := tcpFrame(t, web, 10)
	p.expect(t, frame, xdpDrop, frame, bpf.ReasonNoNextHop)
}

// A backend's way is one word: no packet gets the MAC of one way, the outer destination of another, or the checksum of a third.
func TestBackendThatChangesItsNextHopUnderTrafficChangesInOneStep(t *testing.T) {
	p := newPath(t)
	other := viaIPIP()
	other.Dest, other.DestMAC = netip.MustParseAddr("10.255.3.2"), backendMAC
	gre := viaIPIP()
	gre.Forward, gre.Source, gre.Dest = maps.GRE, netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("172.31.255.254")
	ways := []maps.Backend{viaIPIP(), other, gre, viaL2()}
	frame := tcpFrame(t, web, 10)
	want := map[string]bool{}
	for _, b := range ways {
		p.serve(b)
		_, out := p.run(frame)
		want[string(out)] = true
	}
	stop, done := make(chan struct{}), make(chan error)
	var changes atomic.Int64
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			changes.Add(1)
			if err := p.tables.SetBackend(1, ways[rand.IntN(len(ways))]); err != nil {
				changes.Store(1 << 62)
				<-stop
				done <- err
				return
			}
		}
	}()
	got := map[string]int{}
	const few, many = 20_000, 2_000_000
	enough := func() bool { // rows of headers are used again and again
		return len(got) >= len(want) && changes.Load() > int64(10*testLimits.Backends)
	}
	for n := 0; n < few || n < many && !enough(); n++ {
		_, out := p.run(frame)
		got[string(out)]++
	}
	close(stop)
	p.must(<-done)
	for out, n := range got {
		if !want[out] {
			t.Errorf("%d packets left as no way would have them: %x", n, out)
		}
	}
	if len(got) != len(want) {
		t.Errorf("packets left in %d ways, want %d", len(got), len(want))
	}
}

func TestEveryListenerOfAFullTableIsFoundAndNothingElse(t *testing.T) {
	p := newPath(t)
	p.must(p.tables.SetBackend(1, viaL2()))
	var listeners []maps.Listener
	for i := range testLimits.Services {
		p.must(p.tables.SetSlotTable(maps.ServiceID(i), maps.Steady([]maps.BackendID{1})))
		addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		listeners = append(listeners, maps.Listener{VIP: netip.PrefixFrom(addr, 32), First: 80, Last: 80, Protocol: maps.TCP, Service: maps.ServiceID(i)})
	}
	p.must(p.tables.SetListeners(listeners))
	for _, l := range listeners {
		if verdict, _ := p.run(tcpFrame(t, netip.AddrPortFrom(l.VIP.Addr(), 80), 0)); verdict != xdpTX {
			t.Errorf("%s: verdict %d, want TX", l, verdict)
		}
	}
	for i := range 256 {
		addr := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		if verdict, _ := p.run(tcpFrame(t, netip.AddrPortFrom(addr, 80), 0)); verdict != xdpPass {
			t.Errorf("%s: verdict %d, want pass", addr, verdict)
		}
	}
}
