package bpf_test

import (
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

// story is packets of one client to port 443 of its family's VIP, a service of
// one slot and backends 1 to 3, and changes between them.
type story struct {
	*path
	t    *testing.T
	f    family
	tick uint64
}

// tell tells a story in both families, over empty tables.
func (p *path) tell(t *testing.T, name string, s maps.Service, events func(*story)) {
	for _, f := range families {
		t.Run(name+" "+f.name, func(t *testing.T) {
			st := &story{path: p, t: t, f: f}
			p.tables.Forget()
			s := s
			s.IPv6 = f.v6()
			if s.BySource {
				s.SourceBits = f.vip.BitLen()
			}
			p.must(p.tables.SetService(0, s))
			for id := range maps.BackendID(3) {
				st.health(id+1, true, true)
			}
			p.must(p.tables.SetListeners([]maps.Listener{
				listen(f.vip.String(), 443, 443, maps.TCP, 0), listen(f.vip.String(), 443, 443, maps.UDP, 0),
			}))
			st.after(100_000)
			events(st)
		})
	}
}

func (s *story) health(id maps.BackendID, up, accepts bool) {
	b := via(maps.L2, s.f, s.f)
	b.Up, b.Accepts = up, accepts
	s.must(s.tables.SetBackend(id, b))
}

func (s *story) settled(current maps.BackendID) {
	s.must(s.tables.SetSlotTable(0, []maps.Slot{{Current: current}}))
}

func (s *story) transition(current, previous maps.BackendID) {
	s.must(s.tables.SetSlotTable(0, []maps.Slot{{Current: current, Previous: previous, Transition: true}}))
}

func (s *story) learned(current, previous maps.BackendID) {
	s.must(s.tables.SetSlotTable(0, []maps.Slot{{Current: current, Previous: previous, Transition: true, Learned: true}}))
}

func (s *story) after(seconds uint64) {
	s.tick += seconds
	s.tables.SetTick(s.tick)
}

// goes checks to which backend a packet goes, 0 for none.
func (s *story) goes(what string, ip []byte, want maps.BackendID) {
	s.t.Helper()
	if got := s.backendOf(ip); got != want {
		s.t.Errorf("%s goes to backend %d, want %d", what, got, want)
	}
}

const (
	tcpFIN = 1 << iota
	tcpSYN
	tcpRST
	tcpACK
)

func (s *story) tcp(port, flags int) []byte {
	return packet(s.t, s.f.ip(layers.IPProtocolTCP), &layers.TCP{
		SrcPort: layers.TCPPort(port), DstPort: 443, FIN: flags&tcpFIN != 0, SYN: flags&tcpSYN != 0, RST: flags&tcpRST != 0, ACK: flags&tcpACK != 0,
	}, filler(9))
}

func (s *story) udp(port int) []byte {
	return packet(s.t, s.f.ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: layers.UDPPort(port), DstPort: 443}, filler(9))
}

// unreachable is an ICMP error about a packet to the client's port.
func (s *story) unreachable(proto maps.Protocol, port int) []byte {
	ip := ipHeader(s.f.vip, s.f.client, layers.IPProtocol(proto))
	quoted := packet(s.t, ip, &layers.UDP{SrcPort: 443, DstPort: layers.UDPPort(port)}, filler(20)) // TCP's ports lie alike
	if s.f.v6() {
		return s.f.icmp(s.t, s.f.backend, layers.ICMPv6TypeDestinationUnreachable, 0, 0, quoted)
	}
	return s.f.icmp(s.t, s.f.backend, layers.ICMPv4TypeDestinationUnreachable, 1, 0, quoted)
}

func TestFlowsKeepTheirBackendsThroughChanges(t *testing.T) {
	p := newPath(t)
	p.tell(t, "a new connection", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 2)
		s.goes("the ACK", s.tcp(1, tcpACK), 2)
		s.transition(3, 1)
		s.goes("an ACK after another change", s.tcp(1, tcpACK), 2)
		s.goes("the SYN again", s.tcp(1, tcpSYN), 2)
		s.goes("the FIN", s.tcp(1, tcpFIN|tcpACK), 2)
		s.goes("the last ACK", s.tcp(1, tcpACK), 2)
		s.goes("another SYN", s.tcp(2, tcpSYN), 3)
		s.goes("a SYN-ACK out of nowhere", s.tcp(3, tcpSYN|tcpACK), 1)
		s.settled(3)
		s.goes("an ACK after the transition", s.tcp(1, tcpACK), 3)
	})
	p.tell(t, "an old connection", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("an ACK", s.tcp(1, tcpACK), 1)
		s.goes("a RST", s.tcp(2, tcpRST), 1)
		s.transition(3, 2)
		s.goes("an ACK after another change", s.tcp(1, tcpACK), 1)
		s.goes("an ACK behind a RST, which is no flow", s.tcp(2, tcpACK), 2)
		s.goes("an ACK not seen before", s.tcp(3, tcpACK), 2)
		s.goes("a RST with a record", s.tcp(1, tcpRST), 1)
	})
	p.tell(t, "a draining backend", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 2)
		s.goes("an established flow's SYN", s.tcp(2, tcpSYN), 2)
		s.goes("its ACK", s.tcp(2, tcpACK), 2)
		s.health(2, true, false)
		s.transition(3, 1)
		s.goes("the SYN again", s.tcp(1, tcpSYN), 3)
		s.goes("its ACK", s.tcp(1, tcpACK), 3)
		s.goes("the established flow's ACK", s.tcp(2, tcpACK), 2)
	})
	p.tell(t, "a previous owner that dies", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("an ACK", s.tcp(1, tcpACK), 1)
		s.health(1, false, false)
		s.goes("an ACK after the death", s.tcp(1, tcpACK), 2)
		s.goes("an ACK not seen before", s.tcp(2, tcpACK), 2)
		s.health(1, true, true)
		s.goes("an ACK after the return", s.tcp(1, tcpACK), 2)
		s.goes("another flow's first ACK", s.tcp(3, tcpACK), 1)
	})
	p.tell(t, "a current owner that dies", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 2)
		s.goes("a flow of before", s.tcp(2, tcpACK), 1)
		s.goes("a datagram of before", s.udp(3), 1)
		s.health(2, false, false)
		s.transition(3, 1)
		s.goes("the SYN's ACK", s.tcp(1, tcpACK), 3)
		s.goes("the flow of before", s.tcp(2, tcpACK), 1)
		s.health(1, false, false)
		s.goes("the datagram's next, which is not learned yet", s.udp(3), 3)
		s.health(2, true, true)
		s.goes("the SYN's ACK after the return", s.tcp(1, tcpACK), 3)
	})
	p.tell(t, "a flow whose backend is gone, beside a previous owner that lives", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 2)
		s.goes("its ACK", s.tcp(1, tcpACK), 2)
		s.learned(2, 1)
		s.goes("a datagram", s.udp(2), 2)
		s.transition(3, 1)
		s.health(2, false, false)
		s.goes("an ICMP error about the flow", s.unreachable(maps.TCP, 1), 3)
		s.goes("the flow's next ACK", s.tcp(1, tcpACK), 3)
		s.goes("the datagram's next", s.udp(2), 3)
		s.goes("a FIN out of nowhere", s.tcp(3, tcpFIN|tcpACK), 1)
	})
	p.tell(t, "a change that is taken back", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 2)
		s.goes("a flow of before", s.tcp(2, tcpACK), 1)
		s.transition(1, 1)
		s.goes("the SYN's ACK", s.tcp(1, tcpACK), 2)
		s.goes("the SYN again", s.tcp(1, tcpSYN), 2)
		s.goes("the flow of before", s.tcp(2, tcpACK), 1)
		s.goes("another of before", s.tcp(3, tcpACK), 1)
		s.goes("another SYN", s.tcp(4, tcpSYN), 1)
	})
	p.tell(t, "a SYN sent again", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 2)
		for _, current := range []maps.BackendID{3, 1, 2} {
			s.after(1)
			s.transition(current, 1)
			s.goes("the SYN again", s.tcp(1, tcpSYN), 2)
		}
		s.transition(3, 1)
		s.goes("its ACK", s.tcp(1, tcpACK), 2)
		s.goes("a SYN of the established flow", s.tcp(1, tcpSYN), 2)
		s.goes("its FIN", s.tcp(1, tcpFIN|tcpACK), 2)
		s.goes("a SYN of the closing flow", s.tcp(1, tcpSYN), 2)
		s.health(2, true, false)
		s.goes("the SYN when its backend drains", s.tcp(1, tcpSYN), 3)
		s.health(2, true, true)
		s.goes("the SYN when its first backend accepts again", s.tcp(1, tcpSYN), 3)
		s.after(901)
		s.transition(1, 2)
		s.goes("the SYN when its record has ended", s.tcp(1, tcpSYN), 1)
	})
	p.tell(t, "UDP", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("a datagram while learning", s.udp(1), 1)
		s.learned(2, 1)
		s.goes("a datagram of the learned flow", s.udp(1), 1)
		s.goes("a datagram of a new flow", s.udp(2), 2)
		s.learned(3, 1)
		s.goes("its second one", s.udp(2), 2)
		s.goes("an ACK not seen before", s.tcp(2, tcpACK), 1)
		s.health(2, true, false)
		s.goes("its third one, the backend draining", s.udp(2), 2)
	})
	p.tell(t, "ICMP errors", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 2)
		s.transition(3, 1)
		s.goes("an error about it", s.unreachable(maps.TCP, 1), 2)
		s.goes("an error about an unknown connection", s.unreachable(maps.TCP, 2), 1)
		s.goes("an error about an unknown datagram", s.unreachable(maps.UDP, 2), 1)
		s.learned(3, 2)
		s.goes("the unknown connection's ACK", s.tcp(2, tcpACK), 2)
		s.goes("an error about a datagram, learned", s.unreachable(maps.UDP, 3), 3)
	})
	p.tell(t, "age", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 2)
		s.after(900)
		s.goes("an error about it, 900 s later", s.unreachable(maps.TCP, 1), 2)
		s.after(1)
		s.goes("an ACK, 901 s later", s.tcp(1, tcpACK), 1)
		s.transition(2, 3)
		s.after(900)
		s.goes("an ACK, 900 s later", s.tcp(1, tcpACK), 1)
		s.after(900)
		s.goes("another, 900 s later", s.tcp(1, tcpACK), 1)
	})
	p.tell(t, "nobody", maps.Service{}, func(s *story) {
		s.transition(0, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 0)
		s.goes("an ACK", s.tcp(2, tcpACK), 1)
		s.transition(2, 0)
		s.goes("an ACK not seen before", s.tcp(1, tcpACK), 2)
		s.goes("an ACK of before", s.tcp(2, tcpACK), 1)
	})
	p.tell(t, "tracking always", maps.Service{TrackAlways: true}, func(s *story) {
		s.settled(1)
		s.goes("an ACK", s.tcp(1, tcpACK), 1)
		s.goes("a datagram", s.udp(1), 1)
		s.settled(2)
		s.goes("an ACK after the change", s.tcp(1, tcpACK), 1)
		s.goes("a datagram after the change", s.udp(1), 1)
		s.goes("a new flow's datagram", s.udp(2), 2)
		s.goes("a SYN", s.tcp(3, tcpSYN), 2)
		s.settled(3)
		s.goes("the SYN again, outside of a transition", s.tcp(3, tcpSYN), 2)
		s.goes("its ACK", s.tcp(3, tcpACK), 2)
		s.transition(1, 3)
		s.goes("the SYN again, in a transition", s.tcp(3, tcpSYN), 2)
		s.settled(3)
		s.health(2, true, false)
		s.goes("the SYN again, its backend draining", s.tcp(3, tcpSYN), 3)
		s.health(2, true, true)
		s.settled(1)
		s.goes("the SYN again, which stays there", s.tcp(3, tcpSYN), 3)
		s.health(3, false, false)
		s.goes("its ACK when that backend is gone", s.tcp(3, tcpACK), 1)
		s.settled(0)
		s.goes("an ACK to nobody", s.tcp(1, tcpACK), 0)
	})
	p.tell(t, "affinity by source", maps.Service{BySource: true}, func(s *story) {
		s.transition(2, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 2)
		s.goes("an old connection of the same source", s.tcp(2, tcpACK), 1)
		s.transition(3, 1)
		s.goes("the new connection's ACK", s.tcp(1, tcpACK), 2)
		s.goes("the old one's", s.tcp(2, tcpACK), 1)
		s.goes("a later fragment, which has no record", part{family: s.f, proto: maps.UDP, offset: 64}.packet(s.t), 3)
	})
}

func TestFlowsEndAfterTheIdleTimeThatIsSet(t *testing.T) {
	p := newPathWith(t, maps.Settings{Key: maps.Key{1}, Limits: testLimits, FlowIdle: time.Hour}, maps.AllFeatures())
	p.tell(t, "an hour", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		s.goes("a SYN", s.tcp(1, tcpSYN), 2)
		s.after(3600)
		s.goes("an ACK, an hour later", s.tcp(1, tcpACK), 2)
		s.after(3601)
		s.goes("an ACK, more than an hour later", s.tcp(1, tcpACK), 1)
	})
}

// newFullBucketPath has room for 8 flows, all in one bucket.
func newFullBucketPath(t *testing.T) *path {
	t.Helper()
	limits := testLimits
	limits.Flows = 8
	return newPathWith(t, maps.Settings{Key: maps.Key{1}, Limits: limits}, maps.AllFeatures())
}

func TestFullBucketGivesUpClosingThenNewFlowsTheLongestUnseenFirst(t *testing.T) {
	p := newFullBucketPath(t)
	p.tell(t, "a full bucket", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		open := func(port int, more ...int) {
			s.after(1)
			s.backendOf(s.tcp(port, tcpSYN))
			for _, flags := range more {
				s.backendOf(s.tcp(port, flags))
			}
		}
		kept := func(ports ...int) {
			s.t.Helper()
			for port := range 20 {
				want := maps.BackendID(1)
				for _, p := range ports {
					if p == port {
						want = 2
					}
				}
				s.goes("an error about port "+string(rune('A'+port)), s.unreachable(maps.TCP, port), want)
			}
		}
		open(1)
		open(2, tcpACK)
		open(3, tcpFIN)
		open(4, tcpACK, tcpFIN)
		open(5, tcpACK)
		open(6)
		open(7, tcpFIN, tcpSYN) // reopened
		open(8, tcpACK, tcpFIN, tcpACK)
		kept(1, 2, 3, 4, 5, 6, 7, 8)
		s.after(1)
		s.goes("a FIN again, which is now the last closing flow's", s.tcp(3, tcpFIN), 2)
		open(9)
		kept(1, 2, 3, 5, 6, 7, 8, 9)
		open(10, tcpACK)
		kept(1, 2, 3, 5, 6, 7, 9, 10)
		open(11)
		kept(1, 2, 5, 6, 7, 9, 10, 11)
		s.after(1)
		s.goes("a SYN again, which is now the last new flow's", s.tcp(1, tcpSYN), 2)
		open(12)
		kept(1, 2, 5, 7, 9, 10, 11, 12)
		open(13)
		kept(1, 2, 5, 9, 10, 11, 12, 13)
		s.after(880)
		for _, port := range []int{1, 9, 10, 11, 12, 13} {
			s.goes("an ACK", s.tcp(port, tcpACK), 2)
		}
		s.after(20) // the last packets of 2 and 5 are more than 900 s ago
		kept(1, 9, 10, 11, 12, 13)
	})
}

func TestFirstPacketsNeverTakeAnEstablishedFlowsPlace(t *testing.T) {
	p := newFullBucketPath(t)
	p.tell(t, "a flood", maps.Service{}, func(s *story) {
		s.transition(2, 1)
		for port := range 8 {
			s.goes("a SYN", s.tcp(port, tcpSYN), 2)
			s.goes("its ACK", s.tcp(port, tcpACK), 2)
		}
		for port := 100; port < 400; port++ {
			s.goes("a SYN without a place", s.tcp(port, tcpSYN), 1)
		}
		s.goes("its ACK", s.tcp(100, tcpACK), 1)
		s.learned(3, 1)
		s.goes("a datagram without a place", s.udp(1), 1)
		s.goes("an error about it", s.unreachable(maps.UDP, 1), 1)
		s.health(1, false, false)
		s.goes("a SYN without a place, previous being down", s.tcp(101, tcpSYN), 3)
		for port := range 8 {
			s.goes("an established flow's ACK", s.tcp(port, tcpACK), 2)
		}
	})
}
