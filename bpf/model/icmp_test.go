package model

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

func echo4(t testing.TB) []byte {
	return frame4(t, ipv4(1), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 3, Seq: 4}, gopacket.Payload("ping!"))
}

func echo6(t testing.TB) []byte {
	return frame6(t, ipv6(58), &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(128, 0)}, gopacket.Payload{0, 3, 0, 4, 'p', 'i', 'n'})
}

func TestEchoRequestIsAnswered(t *testing.T) {
	m := newModel(t, state4And6())
	tag := []byte{0x81, 0, 0x60, 5}
	r := expect(t, m, append(tagged(echo4(t), tag...), 9, 9), "tx echo_replied")
	p := decode(t, r.Frame[:len(r.Frame)-2], layers.LayerTypeEthernet)
	eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	icmp := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if !bytes.Equal(eth.DstMAC, routerMAC) || !bytes.Equal(eth.SrcMAC, ourMAC) || !bytes.Equal(r.Frame[12:16], tag) {
		t.Errorf("link header % x", r.Frame[:18])
	}
	if !ip.SrcIP.Equal(vip4.AsSlice()) || !ip.DstIP.Equal(client4.AsSlice()) || ip.TTL != 64 {
		t.Errorf("IP header %v", ip)
	}
	if icmp.TypeCode != layers.CreateICMPv4TypeCode(0, 0) || icmp.Id != 3 || icmp.Seq != 4 || string(icmp.Payload) != "ping!" {
		t.Errorf("ICMP %v", icmp)
	}

	r = expect(t, m, echo6(t), "tx echo_replied")
	p = decode(t, r.Frame, layers.LayerTypeEthernet)
	ip6 := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	if !ip6.SrcIP.Equal(vip6.AsSlice()) || ip6.HopLimit != 64 || p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6).TypeCode.Type() != 129 {
		t.Errorf("reply %v", p)
	}
}

func TestWrongICMPChecksumStaysWrong(t *testing.T) {
	frame := echo4(t)
	frame[36] ^= 0x40
	r := expect(t, newModel(t, state4And6()), frame, "tx echo_replied")
	p := gopacket.NewPacket(r.Frame, layers.LayerTypeEthernet, gopacket.Default)
	if err, wrong := p.VerifyChecksums(); err != nil || len(wrong) != 1 {
		t.Errorf("wrong checksums: %v, %v", wrong, err)
	}
}

func TestICMPThatIsNoErrorOfAFlow(t *testing.T) {
	tests := map[string]struct {
		policy maps.EchoPolicy
		frame  []byte
		want   string
	}{
		"echo passed":          {maps.EchoPass, echo4(t), "pass no_service"},
		"echo dropped":         {maps.EchoDrop, echo6(t), "drop echo_dropped"},
		"echo code 1":          {maps.EchoReply, edited(echo4(t), 21, 1), "pass no_service"},
		"echo reply":           {maps.EchoReply, edited(echo4(t), 20, 0), "pass no_service"},
		"redirect":             {maps.EchoReply, edited(echo4(t), 20, 5), "pass no_service"},
		"router advertisement": {maps.EchoReply, edited(echo6(t), 40, 134), "pass no_service"},
		"too short":            {maps.EchoReply, edited(echo4(t), 2, 0, 27), "drop bad_length"},
		"first fragment":       {maps.EchoReply, edited(echo4(t), 6, 0x20, 0), "drop fragment"},
		"later fragment":       {maps.EchoReply, edited(echo4(t), 6, 0, 9), "drop fragment"},
		"TTL 1":                {maps.EchoReply, edited(echo4(t), 8, 1), "tx echo_replied"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := newModel(t, with(func(s *State) { s.Settings.Echo = test.policy }))
			expect(t, m, test.frame, test.want)
		})
	}
}

// error4 is what a router on the way to the client sends about a backend's
// answer, which is quoted.
func error4(t testing.TB, change func(*layers.IPv4), quotedBytes int) []byte {
	quoted := ipv4(6)
	quoted.SrcIP, quoted.DstIP = quoted.DstIP, quoted.SrcIP
	quoted.Length = 60
	if change != nil {
		change(quoted)
	}
	answer := build(t, quoted, &layers.TCP{SrcPort: 443, DstPort: 4242, ACK: true})
	ip := ipv4(1)
	ip.SrcIP = netip.MustParseAddr("203.0.113.1").AsSlice()
	icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 4), Seq: 1400}
	return frame4(t, ip, icmp, gopacket.Payload(answer[:min(quotedBytes, len(answer))]))
}

func error6(t testing.TB, next layers.IPProtocol, quotedBytes int) []byte {
	quoted := ipv6(next)
	quoted.SrcIP, quoted.DstIP = quoted.DstIP, quoted.SrcIP
	answer := build(t, quoted, gopacket.Payload{0x01, 0xbb, 0x10, 0x92, 0, 0, 0, 0, 0, 0})
	ip := ipv6(58)
	ip.SrcIP = netip.MustParseAddr("2001:db8:2::1").AsSlice()
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(2, 0)}
	return frame6(t, ip, icmp, gopacket.Payload(append([]byte{0, 0, 5, 0}, answer[:quotedBytes]...)))
}

func TestICMPErrorsThatMatchNoFlowAreDropped(t *testing.T) {
	tests := map[string]struct {
		frame []byte
		want  string
	}{
		"eight bytes of TCP":   {error4(t, nil, 28), "tx forwarded"},
		"seven bytes of TCP":   {error4(t, nil, 27), "drop icmp_unmatched"},
		"no whole IP header":   {error4(t, nil, 19), "drop icmp_unmatched"},
		"a later fragment":     {error4(t, func(ip *layers.IPv4) { ip.FragOffset = 9 }, 40), "drop icmp_unmatched"},
		"a first fragment":     {error4(t, func(ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments }, 40), "tx forwarded"},
		"another source":       {error4(t, func(ip *layers.IPv4) { ip.SrcIP = client4.AsSlice() }, 40), "drop icmp_unmatched"},
		"another protocol":     {error4(t, func(ip *layers.IPv4) { ip.Protocol = 1 }, 40), "drop icmp_unmatched"},
		"quoted header length": {edited(error4(t, nil, 40), 28, 0x44), "drop icmp_unmatched"},
		"quoted options past":  {edited(error4(t, nil, 40), 28, 0x49), "drop icmp_unmatched"},
		"quoted version":       {edited(error4(t, nil, 40), 28, 0x65), "drop icmp_unmatched"},
		"another port":         {edited(error4(t, nil, 40), 48, 0, 80), "pass no_service"},
		"source quench":        {edited(error4(t, nil, 40), 20, 4, 0), "tx forwarded"},
		"parameter problem":    {edited(error4(t, nil, 40), 20, 12, 0), "tx forwarded"},
		"IPv6":                 {error6(t, 6, 48), "tx forwarded"},
		"IPv6, seven bytes":    {error6(t, 17, 47), "drop icmp_unmatched"},
		"IPv6, an extension":   {error6(t, 44, 50), "drop icmp_unmatched"},
		"IPv6, type 4":         {edited(error6(t, 6, 48), 40, 4), "tx forwarded"},
		"IPv6, type 5":         {edited(error6(t, 6, 48), 40, 5), "pass no_service"},
	}
	m := newModel(t, state4And6())
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { expect(t, m, test.frame, test.want) })
	}
}

func TestICMPErrorGoesWhereItsFlowGoes(t *testing.T) {
	m := newModel(t, manyBackends(1, 2))
	for port := range 50 {
		r4, r6 := tcp(), tcp()
		r4.SrcPort, r6.SrcPort = layers.TCPPort(port), layers.TCPPort(port)
		flow4 := m.Process(frame4(t, ipv4(6), r4), arrival, start).Backend
		flow6 := m.Process(frame6(t, ipv6(6), r6), arrival, start).Backend
		got4 := m.Process(edited(error4(t, nil, 40), 50, 0, byte(port)), arrival, start).Backend
		got6 := m.Process(edited(error6(t, 6, 48), 90, 0, byte(port)), arrival, start).Backend
		if flow4 == 0 || flow4 != got4 || flow6 == 0 || flow6 != got6 {
			t.Fatalf("port %d: flows at backends %d and %d, errors at %d and %d", port, flow4, flow6, got4, got6)
		}
	}
}

// manyBackends gives the services 101 slots with an l2 backend each, IPv4's are
// numbered from 1000 and IPv6's from 2000.
func manyBackends(services ...maps.ServiceID) State {
	return with(func(s *State) {
		for _, id := range services {
			s.Slots[id] = nil
			for i := range 101 {
				b := maps.BackendID(uint32(id)*1000 + uint32(i))
				s.Backends[b] = s.Backends[maps.BackendID(id)]
				s.Slots[id] = append(s.Slots[id], b)
			}
		}
	})
}

func TestTooBigIsAnsweredToTheSender(t *testing.T) {
	s := with(func(s *State) {
		for id := range s.Backends {
			s.changeBackend(id, func(b *maps.Backend) {
				b.Forward, b.MTU = maps.IPIP, 1400
				b.Source, b.Dest = netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")
			})
		}
		s.Settings.TooBig = maps.Rate{Interval: time.Second}
	})
	m := newModel(t, s)
	payload := gopacket.Payload(make([]byte, 1380-40))
	expect(t, m, frame4(t, ipv4(6), tcp(), payload), "tx forwarded")
	big := frame4(t, ipv4(6), tcp(), append(payload, 0))
	r := expect(t, m, append(big, 1, 2, 3), "tx too_big_answered")
	p := decode(t, r.Frame, layers.LayerTypeEthernet)
	ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	icmp := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if !ip.SrcIP.Equal(vip4.AsSlice()) || !ip.DstIP.Equal(client4.AsSlice()) || ip.TTL != 64 || ip.TOS != 0 || ip.Id != 0 ||
		ip.Flags != layers.IPv4DontFragment || len(r.Frame) != 14+548 || ip.Length != 548 {
		t.Errorf("IP header %v in %d bytes", ip, len(r.Frame))
	}
	if icmp.TypeCode != layers.CreateICMPv4TypeCode(3, 4) || icmp.Id != 0 || icmp.Seq != 1380 || !bytes.Equal(icmp.Payload, big[14:14+520]) {
		t.Errorf("ICMP %v", icmp)
	}
	expect(t, m, big, "drop too_big")

	later := start + int64(time.Second)
	big = frame6(t, ipv6(6), tcp(), gopacket.Payload(make([]byte, 1381-60)))
	r = expectAt(t, m, big, later, "tx too_big_answered")
	p = decode(t, r.Frame, layers.LayerTypeEthernet)
	ip6 := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	body := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)
	if ip6.HopLimit != 64 || ip6.TrafficClass != 0 || ip6.FlowLabel != 0 || !ip6.DstIP.Equal(client6.AsSlice()) || len(r.Frame) != 14+1280 {
		t.Errorf("IPv6 header %v in %d bytes", ip6, len(r.Frame))
	}
	if body.TypeCode != layers.CreateICMPv6TypeCode(2, 0) || !bytes.Equal(body.Payload[:4], []byte{0, 0, 5, 100}) ||
		!bytes.Equal(body.Payload[4:], big[14:14+1232]) {
		t.Errorf("ICMPv6 %v", body)
	}
}

func TestTooBigIPv6NeverNamesLessThanItsMinimum(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		s.changeBackend(2, func(b *maps.Backend) {
			b.Forward, b.MTU, b.Source, b.Dest = maps.GUE, 1300, vip6.Next(), client6.Next()
		})
	}))
	expect(t, m, frame6(t, ipv6(6), tcp(), gopacket.Payload(make([]byte, 1300-52-60))), "tx forwarded")
	r := expect(t, m, frame6(t, ipv6(6), tcp(), gopacket.Payload(make([]byte, 1300-52-59))), "tx too_big_answered")
	if got := r.Frame[14+40+4 : 14+48]; !bytes.Equal(got, []byte{0, 0, 5, 0}) {
		t.Errorf("MTU % x", got)
	}
}

func TestTooBigIsDroppedWhereNobodyIsToBeTold(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		s.changeBackend(1, func(b *maps.Backend) { b.MTU = 100 })
		s.changeService(1, func(svc *maps.Service) { svc.BySource = true })
	}))
	big := frame4(t, ipv4(6), tcp(), gopacket.Payload(make([]byte, 100)))
	expect(t, m, big, "tx too_big_answered")
	expect(t, m, edited(big, 6, 0, 0), "drop too_big")
	expect(t, m, edited(big, 6, 0x60, 0), "tx too_big_answered")
	expect(t, m, edited(big, 6, 0x40, 9), "drop too_big")
	expect(t, m, frame4(t, ipv4(1), gopacket.Payload(append(error4(t, nil, 40)[34:], make([]byte, 60)...))), "drop too_big")
}
