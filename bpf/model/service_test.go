package model

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

// servedBy gives each of the services one backend, of its own number plus 100.
func servedBy(s *State, services ...maps.ServiceID) {
	for _, id := range services {
		b := maps.BackendID(id + 100)
		s.Backends[b] = s.Backends[1]
		s.Slots[id] = []maps.BackendID{b}
		s.Services[id] = maps.Service{}
	}
}

func to(t *testing.T, dst string, port int) []byte {
	ip, l4 := ipv4(6), tcp()
	ip.DstIP = netip.MustParseAddr(dst).AsSlice()
	l4.DstPort = layers.TCPPort(port)
	return frame4(t, ip, l4)
}

func TestMostSpecificListenerWins(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		servedBy(s, 10, 11, 12, 13, 14)
		add := func(vip string, first, last uint16, protocol maps.Protocol, id maps.ServiceID) {
			s.Listeners = append(s.Listeners, maps.Listener{VIP: netip.MustParsePrefix(vip), First: first, Last: last, Protocol: protocol, Service: id})
		}
		add("192.0.2.10/32", 400, 499, maps.TCP, 10)
		add("192.0.2.10/32", 440, 460, maps.TCP, 11)
		add("192.0.2.8/29", 0, 65535, maps.TCP, 12)
		add("192.0.2.0/24", 0, 65535, maps.UDP, 13)
		add("192.0.2.0/24", 53, 53, maps.TCP, 14)
	}))
	tests := []struct {
		dst     string
		port    int
		backend maps.BackendID
		want    string
	}{
		{"192.0.2.10", 443, 1, "tx forwarded"},
		{"192.0.2.10", 444, 111, "tx forwarded"},
		{"192.0.2.10", 440, 111, "tx forwarded"},
		{"192.0.2.10", 439, 110, "tx forwarded"},
		{"192.0.2.10", 499, 110, "tx forwarded"},
		{"192.0.2.10", 500, 112, "tx forwarded"},
		{"192.0.2.10", 0, 112, "tx forwarded"},
		{"192.0.2.15", 53, 112, "tx forwarded"},
		{"192.0.2.16", 53, 114, "tx forwarded"},
		{"192.0.2.16", 54, 0, "pass no_service"},
		{"192.0.3.16", 53, 0, "pass not_ours"},
	}
	for _, test := range tests {
		if r := expect(t, m, to(t, test.dst, test.port), test.want); r.Backend != test.backend {
			t.Errorf("%s port %d went to backend %d, want %d", test.dst, test.port, r.Backend, test.backend)
		}
	}
	query := udp()
	query.DstPort = 53
	if r := expect(t, m, frame4(t, ipv4(17), query), "tx forwarded"); r.Backend != 113 {
		t.Errorf("UDP port 53 went to backend %d, want the wide prefix's 113", r.Backend)
	}
}

func TestStateThatLeavesOpenWhoWinsIsRefused(t *testing.T) {
	listener := state4And6().Listeners[0]
	changes := map[string]func(*State){
		"equal ranges":         func(s *State) { s.Listeners = append(s.Listeners, listener) },
		"unknown service":      func(s *State) { s.Listeners[0].Service = 99 },
		"host bits":            func(s *State) { s.Listeners[0].VIP = netip.PrefixFrom(vip4, 24) },
		"ports reversed":       func(s *State) { s.Listeners[0].First = 444 },
		"another protocol":     func(s *State) { s.Listeners[0].Protocol = 1 },
		"a denied host bit":    func(s *State) { s.NodeDeny = []netip.Prefix{netip.PrefixFrom(client4, 8)} },
		"backend 0":            func(s *State) { s.Backends[0] = maps.Backend{} },
		"half a tunnel":        func(s *State) { s.changeBackend(1, func(b *maps.Backend) { b.Forward = maps.GUE }) },
		"a server ID too many": func(s *State) { s.ServerIDs = map[maps.ServiceID][]maps.ServerID{1: {{ID: []byte{1}, Backend: 1}}} },
		"a rule twice": func(s *State) {
			rule := maps.Rule{Source: netip.PrefixFrom(client4, 32)}
			s.Rules = map[maps.ServiceID][]maps.Rule{1: {rule, rule}}
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			if _, err := New(with(change)); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestLongestRuleDecides(t *testing.T) {
	rules := []maps.Rule{
		{Source: netip.MustParsePrefix("198.51.100.0/24"), Allow: false},
		{Source: netip.MustParsePrefix("198.51.100.0/28"), Allow: true},
		{Source: netip.MustParsePrefix("198.51.100.8/32"), Allow: false},
		{Source: netip.MustParsePrefix("203.0.113.0/24"), Allow: true},
	}
	tests := []struct {
		last   []byte
		filter maps.Filter
		want   string
	}{
		{[]byte{198, 51, 100, 7}, maps.AllowOthers, "tx forwarded"},
		{[]byte{198, 51, 100, 8}, maps.AllowOthers, "drop denied"},
		{[]byte{198, 51, 100, 8}, maps.NoFilter, "tx forwarded"},
		{[]byte{198, 51, 100, 99}, maps.DenyOthers, "drop denied"},
		{[]byte{198, 51, 101, 1}, maps.AllowOthers, "tx forwarded"},
		{[]byte{198, 51, 101, 1}, maps.DenyOthers, "drop denied"},
		{[]byte{203, 0, 113, 1}, maps.DenyOthers, "tx forwarded"},
	}
	for _, test := range tests {
		m := newModel(t, with(func(s *State) {
			s.Rules = map[maps.ServiceID][]maps.Rule{1: rules}
			s.changeService(1, func(svc *maps.Service) { svc.Filter = test.filter })
		}))
		t.Run(netip.AddrFrom4([4]byte(test.last)).String(), func(t *testing.T) {
			expect(t, m, edited(tcp4(t), 12, test.last...), test.want)
			// An ICMP error is judged by the client, not by the router that sends it.
			quoted := func(ip *layers.IPv4) { ip.DstIP = test.last }
			expect(t, m, error4(t, quoted, 40), test.want)
		})
	}
}

func syn4(t *testing.T) []byte {
	l4 := tcp()
	l4.SYN, l4.ACK = true, false
	return frame4(t, ipv4(6), l4)
}

func TestNewConnectionsOfASourceAreLimited(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		for id := range s.Services {
			s.changeService(id, func(svc *maps.Service) {
				svc.NewConnections = maps.Rate{Interval: time.Second, Tolerance: time.Second}
			})
		}
	}))
	second := int64(time.Second)
	syn := syn4(t)
	expectAt(t, m, syn, start, "tx forwarded")
	expectAt(t, m, syn, start, "tx forwarded")
	expectAt(t, m, syn, start, "drop source_rate")
	expectAt(t, m, tcp4(t), start, "tx forwarded")
	expectAt(t, m, edited(syn, 33, 0x12), start, "tx forwarded") // SYN and ACK
	expectAt(t, m, edited(syn, 12, 198, 51, 100, 8), start, "tx forwarded")
	expectAt(t, m, syn, start+second-1, "drop source_rate")
	expectAt(t, m, syn, start+second, "tx forwarded")
	expectAt(t, m, syn, start+second, "drop source_rate")

	l4 := tcp()
	l4.SYN, l4.ACK = true, false
	syn6 := frame6(t, ipv6(6), l4)
	same64, other64 := edited(syn6, 20, 9), edited(syn6, 15, 9)
	expectAt(t, m, syn6, start, "tx forwarded")
	expectAt(t, m, same64, start, "tx forwarded")
	expectAt(t, m, same64, start, "drop source_rate")
	expectAt(t, m, other64, start, "tx forwarded")
}

func TestSilentSourcesAndOldRecordsAreForgotten(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		s.changeService(1, func(svc *maps.Service) { svc.NewConnections = maps.Rate{Interval: time.Second} })
	}))
	syn, first := syn4(t), edited(udp4(t), 6, 0x20, 0)
	fill := func(now int64) {
		for i := range manySources {
			m.Process(edited(syn, 13, 51, byte(i>>8), byte(i)), arrival, now)
			m.Process(edited(first, 13, 51, byte(i>>8), byte(i)), arrival, now)
		}
	}
	fill(start)
	later := start + int64(20*time.Second)
	expectAt(t, m, edited(syn, 13, 52), later, "tx forwarded")
	expectAt(t, m, edited(first, 13, 52), later, "tx forwarded")
	expectAt(t, m, edited(syn, 13, 52), later, "drop source_rate")
	if len(m.sourceTAT) != 1 || len(m.records) != 1 {
		t.Errorf("%d sources and %d records are left, want 1 of each", len(m.sourceTAT), len(m.records))
	}
}

func TestPacketsOfAServiceAreLimited(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		s.changeService(1, func(svc *maps.Service) {
			svc.Packets = maps.Rate{Interval: time.Millisecond, Tolerance: 2 * time.Millisecond}
			svc.NewConnections = maps.Rate{Interval: time.Hour}
		})
	}))
	expect(t, m, syn4(t), "tx forwarded")
	expect(t, m, syn4(t), "drop source_rate") // which does not count here
	expect(t, m, udp4(t), "tx forwarded")
	expect(t, m, edited(tcp4(t), 8, 1), "drop ttl_expired")
	expect(t, m, udp4(t), "drop service_rate")
	expect(t, m, error4(t, nil, 40), "tx forwarded")
	expect(t, m, tcp6(t), "tx forwarded")
	expectAt(t, m, udp4(t), start+int64(time.Millisecond), "tx forwarded")
}

func TestNoBackend(t *testing.T) {
	for name, slots := range map[string][]maps.BackendID{"no table": nil, "no owner": {0}} {
		t.Run(name, func(t *testing.T) {
			m := newModel(t, with(func(s *State) { s.Slots[1] = slots }))
			expect(t, m, tcp4(t), "drop no_backend")
		})
	}
	m := newModel(t, with(func(s *State) { s.Backends[1] = maps.Backend{} }))
	expect(t, m, tcp4(t), "drop no_next_hop")
}

func TestEgressDecidesHowThePacketLeaves(t *testing.T) {
	for key, want := range map[uint32]string{7: "redirect forwarded", 8: "drop no_egress"} {
		m := newModel(t, with(func(s *State) {
			s.changeBackend(1, func(b *maps.Backend) { b.Ifindex, b.Egress = 2, key })
		}))
		r := expect(t, m, tcp4(t), want)
		if r.Frame[5] != 0x10 || (r.Backend == 1) != (key == 7) {
			t.Errorf("frame % x of backend %d", r.Frame[:14], r.Backend)
		}
	}
}

func TestFragmentsFollowTheFirst(t *testing.T) {
	m := newModel(t, manyBackends(1, 2))
	part := func(at, field byte, src byte) []byte {
		return edited(edited(udp4(t), 6, at, field), 15, src)
	}
	expect(t, m, part(0, 9, 1), "drop fragment_unknown")
	first := expect(t, m, part(0x20, 0, 1), "tx forwarded")
	later := expect(t, m, part(0, 9, 1), "tx forwarded")
	if later.Backend != first.Backend {
		t.Errorf("fragments at backends %d and %d", first.Backend, later.Backend)
	}
	expect(t, m, part(0x20, 9, 2), "drop fragment_unknown")
	expect(t, m, edited(part(0, 9, 1), 4, 0, 1), "drop fragment_unknown")
	expect(t, m, edited(part(0, 9, 1), 9, 6), "drop fragment_unknown")
	expect(t, m, edited(part(0, 9, 1), 8, 1), "drop ttl_expired")
	expectAt(t, m, part(0, 9, 1), start+int64(11*time.Second)-1, "tx forwarded")
	expectAt(t, m, part(0, 9, 1), start+int64(11*time.Second), "drop fragment_unknown")
	expect(t, m, edited(part(0, 9, 1), 9, 47), "drop fragment")
	expect(t, m, part(0x1f, 0xfd, 1), "tx forwarded")
	oversized := edited(frame4(t, ipv4(17), udp(), gopacket.Payload(make([]byte, 100))), 6, 0x1f, 0xff)
	expect(t, m, oversized, "drop bad_length")

	id := []byte{0, 0, 0, 1, 1, 2, 3, 4}
	later6 := []byte{0, 0, 8, 0, 1, 2, 3, 4}
	whole := expect(t, m, chain(t, extension{44, id[1:]}), "tx forwarded")
	followed := expect(t, m, chain(t, extension{60, make([]byte, 7)}, extension{44, later6[1:]}), "tx forwarded")
	if whole.Backend != followed.Backend {
		t.Errorf("IPv6 fragments at backends %d and %d", whole.Backend, followed.Backend)
	}
}

func TestFirstFragmentMayCutTheHeader(t *testing.T) {
	m := newModel(t, with(func(s *State) {
		s.changeService(1, func(svc *maps.Service) { svc.MSS = 1400 })
	}))
	first := edited(syn4(t), 6, 0x20, 0)
	for _, words := range []byte{0, 4, 15} {
		expect(t, m, edited(first, 32, words<<4), "tx forwarded")
	}
	expect(t, m, edited(first, 2, 0, 39), "drop bad_length")
	length := edited(udp4(t), 6, 0x20, 0)
	expect(t, m, edited(length, 24, 5, 0), "tx forwarded")
	expect(t, m, edited(length, 24, 0, 0), "tx forwarded")
}

func TestOrphanFragmentsArePassedByOption(t *testing.T) {
	m := newModel(t, with(func(s *State) { s.Settings.PassOrphans = true }))
	expect(t, m, edited(udp4(t), 6, 0, 9), "pass fragment_unknown")
}

func TestFragmentsOfTheOnlyServiceNeedNoRecordIfItHashesBySource(t *testing.T) {
	many := manyBackends(1)
	many.Services[1] = maps.Service{BySource: true, SourceBits: 32, Packets: maps.Rate{Interval: time.Hour, Tolerance: time.Hour}}
	m := newModel(t, many)
	fragment := edited(tcp4(t), 6, 0, 9)
	later := expect(t, m, fragment, "tx forwarded")
	whole := expect(t, m, tcp4(t), "tx forwarded")
	if later.Backend != whole.Backend {
		t.Errorf("fragment at backend %d, connection at %d", later.Backend, whole.Backend)
	}
	expect(t, m, fragment, "drop service_rate")
}

func TestFragmentServiceIsTheOnlyOneThatPacketsReach(t *testing.T) {
	type listener struct {
		bits        int
		first, last uint16
		id          maps.ServiceID
	}
	tests := map[string]struct {
		others []listener // beside service 1 on port 443 of the address
		want   string
	}{
		"none":                            {nil, "tx forwarded"},
		"another port, same service":      {[]listener{{32, 80, 80, 1}}, "tx forwarded"},
		"another port":                    {[]listener{{32, 80, 80, 10}}, "drop fragment_unknown"},
		"the port before":                 {[]listener{{32, 442, 443, 10}}, "drop fragment_unknown"},
		"the port after":                  {[]listener{{32, 443, 444, 10}}, "drop fragment_unknown"},
		"all ports":                       {[]listener{{32, 0, 65535, 10}}, "drop fragment_unknown"},
		"a wider prefix, another port":    {[]listener{{24, 80, 80, 10}}, "drop fragment_unknown"},
		"a wider prefix, the same port":   {[]listener{{24, 443, 443, 10}}, "tx forwarded"},
		"a wider prefix behind all ports": {[]listener{{32, 0, 65535, 1}, {24, 80, 80, 10}}, "tx forwarded"},
		"hidden by narrower ranges":       {[]listener{{32, 0, 442, 1}, {32, 444, 65535, 1}, {32, 0, 65535, 10}}, "tx forwarded"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := newModel(t, with(func(s *State) {
				s.changeService(1, func(svc *maps.Service) { svc.BySource = true })
				servedBy(s, 10)
				for _, l := range test.others {
					s.Listeners = append(s.Listeners, maps.Listener{
						VIP: netip.PrefixFrom(vip4, l.bits).Masked(), First: l.first, Last: l.last, Protocol: maps.TCP, Service: l.id,
					})
				}
			}))
			expect(t, m, edited(tcp4(t), 6, 0, 9), test.want)
			expect(t, m, edited(udp4(t), 6, 0, 9), "tx forwarded")
		})
	}
}
