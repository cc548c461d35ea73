package bpf_test

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

// tells checks what a packet adds to the signals of backends 1 and 2.
func (s *story) tells(what string, ip []byte, first, second maps.SignalCounter) {
	s.t.Helper()
	before := [2]maps.SignalCounter{s.tables.SignalCounter(1), s.tables.SignalCounter(2)}
	s.run(arriving(ip))
	for i, want := range []maps.SignalCounter{first, second} {
		now := s.tables.SignalCounter(maps.BackendID(i + 1))
		got := maps.SignalCounter{
			SYNs: now.SYNs - before[i].SYNs, Completed: now.Completed - before[i].Completed,
			Retransmitted: now.Retransmitted - before[i].Retransmitted, Missed: now.Missed - before[i].Missed,
		}
		if got != want {
			s.t.Errorf("%s adds %+v to backend %d, want %+v", what, got, i+1, want)
		}
	}
}

var (
	nothing   = maps.SignalCounter{}
	begun     = maps.SignalCounter{SYNs: 1}
	completed = maps.SignalCounter{Completed: 1}
	again     = maps.SignalCounter{Retransmitted: 1}
	missed    = maps.SignalCounter{Missed: 1}
)

func TestHandshakesTellAboutTheirBackends(t *testing.T) {
	p := newPath(t)
	watched := maps.Service{Signals: true}
	p.tell(t, "a handshake", watched, func(s *story) {
		s.settled(1)
		s.tells("a SYN", s.tcp(1, tcpSYN), begun, nothing)
		s.tells("the ACK", s.tcp(1, tcpACK), completed, nothing)
		s.tells("the next ACK", s.tcp(1, tcpACK), nothing, nothing)
		s.tells("the FIN", s.tcp(1, tcpFIN|tcpACK), nothing, nothing)
		s.tells("another SYN of the same ports", s.tcp(1, tcpSYN), begun, nothing)
		s.tells("an ACK with data in the FIN", s.tcp(1, tcpFIN|tcpACK), completed, nothing)
	})
	p.tell(t, "what is no handshake", watched, func(s *story) {
		s.settled(1)
		s.tells("an ACK out of nowhere", s.tcp(1, tcpACK), nothing, nothing)
		s.tells("a SYN+ACK", s.tcp(1, tcpSYN|tcpACK), nothing, nothing)
		s.tells("a RST", s.tcp(1, tcpRST), nothing, nothing)
		s.tells("a datagram", s.udp(1), nothing, nothing)
		s.tells("a segment without flags", s.tcp(1, 0), nothing, nothing)
		s.tells("a SYN", s.tcp(1, tcpSYN), begun, nothing)
		s.tells("a FIN alone", s.tcp(1, tcpFIN), nothing, nothing)
		s.tells("a SYN+ACK to the client's port", s.tcp(1, tcpSYN|tcpACK), nothing, nothing)
		s.tells("an ICMP error about it", s.unreachable(maps.TCP, 1), nothing, nothing)
		s.tells("the ACK", s.tcp(1, tcpACK), completed, nothing)
	})
	p.tell(t, "a backend that does not answer", watched, func(s *story) {
		s.settled(1)
		s.tells("a SYN", s.tcp(1, tcpSYN), begun, nothing)
		s.after(1)
		s.tells("the SYN after 1 s", s.tcp(1, tcpSYN), again, nothing)
		s.after(2)
		s.tells("the SYN after 3 s", s.tcp(1, tcpSYN), again, nothing)
		s.tells("another client's", s.tcp(2, tcpSYN), begun, nothing)
		s.after(4)
		s.tells("the SYN after 7 s", s.tcp(1, tcpSYN), begun, nothing)
		s.tells("the other client's late ACK", s.tcp(2, tcpACK), completed, nothing)
		s.tells("a third client's", s.tcp(3, tcpSYN), begun, nothing)
		s.after(5)
		s.tells("its ACK after 5 s", s.tcp(3, tcpACK), nothing, nothing)
	})
	p.tell(t, "a client that gives up", watched, func(s *story) {
		s.settled(1)
		s.tells("a SYN", s.tcp(1, tcpSYN), begun, nothing)
		s.tells("its RST", s.tcp(1, tcpRST), nothing, nothing)
		s.tells("an ACK after it", s.tcp(1, tcpACK), nothing, nothing)
		s.tells("the SYN again", s.tcp(1, tcpSYN), begun, nothing)
		s.tells("a RST+ACK", s.tcp(1, tcpRST|tcpACK), nothing, nothing)
		s.tells("an ACK after that", s.tcp(1, tcpACK), nothing, nothing)
	})
	p.tell(t, "a slot that moves", watched, func(s *story) {
		s.settled(1)
		s.tells("a SYN", s.tcp(1, tcpSYN), begun, nothing)
		s.tells("another's", s.tcp(2, tcpSYN), begun, nothing)
		s.settled(2)
		s.tells("the SYN again, to another backend", s.tcp(1, tcpSYN), nothing, begun)
		s.tells("and again", s.tcp(1, tcpSYN), nothing, again)
		s.tells("its ACK", s.tcp(1, tcpACK), nothing, completed)
		s.tells("the ACK of whom the first backend answered", s.tcp(2, tcpACK), completed, nothing)
	})
	p.tell(t, "a service that does not ask", maps.Service{}, func(s *story) {
		s.settled(1)
		s.tells("a SYN", s.tcp(1, tcpSYN), nothing, nothing)
		s.tells("the ACK", s.tcp(1, tcpACK), nothing, nothing)
	})
	p.tell(t, "affinity by source", maps.Service{Signals: true, BySource: true}, func(s *story) {
		s.settled(1)
		s.tells("a SYN", s.tcp(1, tcpSYN), begun, nothing)
		s.tells("another connection's ACK", s.tcp(2, tcpACK), nothing, nothing)
		s.tells("a fragment that is not the first", part{family: s.f, proto: maps.TCP, offset: 64}.packet(s.t), nothing, nothing)
		s.tells("the ACK", s.tcp(1, tcpACK), completed, nothing)
	})
	p.tell(t, "a packet that does not leave", watched, func(s *story) {
		s.settled(1)
		s.must(s.tables.SetBackend(1, maps.Backend{Up: true, Accepts: true}))
		s.tells("a SYN without a next hop", s.tcp(1, tcpSYN), nothing, nothing)
		s.health(1, true, true)
		s.tells("the SYN when there is one", s.tcp(1, tcpSYN), begun, nothing)
	})
}

// Twelve bits of a second are kept: a handshake that was left open is as young as
// new 4096 s later.
func TestHandshakesAreForgottenByTheClockOfFlowRecords(t *testing.T) {
	p := newPath(t)
	p.tell(t, "a handshake", maps.Service{Signals: true}, func(s *story) {
		s.settled(1)
		s.after(4095 - s.tick%4096)
		s.tells("a SYN before the clock wraps", s.tcp(1, tcpSYN), begun, nothing)
		s.after(4)
		s.tells("the ACK behind", s.tcp(1, tcpACK), completed, nothing)
	})
}

func TestOneOfAFewHandshakesIsWatched(t *testing.T) {
	p := newPath(t)
	for bits, want := range map[int][2]uint64{0: {1000, 1000}, 1: {440, 560}, 4: {40, 90}, 16: {0, 2}} {
		p.tell(t, "one of some", maps.Service{Signals: true, SampleBits: bits}, func(s *story) {
			s.settled(1)
			before := s.tables.SignalCounter(1)
			for port := range 1000 {
				src := netip.AddrPortFrom(s.f.client, uint16(port+1))
				hash := maps.FlowHash(maps.Key{1}, src, netip.AddrPortFrom(s.f.vip, 443), maps.TCP)
				first, last := nothing, nothing
				if hash>>20&(1<<bits-1) == 0 {
					first, last = begun, completed
				}
				s.tells("a SYN", s.tcp(port+1, tcpSYN), first, nothing)
				s.tells("its ACK", s.tcp(port+1, tcpACK), last, nothing)
			}
			if n := s.tables.SignalCounter(1).Completed - before.Completed; n < want[0] || n > want[1] {
				s.t.Errorf("of 1000 handshakes %d are watched with %d sample bits, want %d to %d", n, bits, want[0], want[1])
			}
		})
	}
}

// A flood makes the sample smaller, and the backends of those in it look no worse.
func TestFloodOfSYNsTakesNoHandshakesPlace(t *testing.T) {
	limits := testLimits
	limits.Handshakes = 8
	p := newPathWith(t, maps.Settings{Key: maps.Key{1}, Limits: limits}, maps.AllFeatures())
	p.tell(t, "a flood", maps.Service{Signals: true}, func(s *story) {
		s.settled(1)
		for port := range 8 {
			s.tells("a SYN", s.tcp(port, tcpSYN), begun, nothing)
		}
		for port := 100; port < 400; port++ {
			s.tells("a SYN of the flood", s.tcp(port, tcpSYN), missed, nothing)
		}
		s.tells("a client's SYN sent again", s.tcp(3, tcpSYN), again, nothing)
		s.tells("an ACK of the flood", s.tcp(100, tcpACK), nothing, nothing)
		for port := range 7 {
			s.tells("a client's ACK", s.tcp(port, tcpACK), completed, nothing)
		}
		s.settled(2)
		s.tells("a SYN again, to another backend", s.tcp(7, tcpSYN), nothing, begun)
		for port := 100; port < 107; port++ {
			s.tells("a SYN where there is room", s.tcp(port, tcpSYN), nothing, begun)
		}
		s.after(4)
		s.tells("a SYN in the last second", s.tcp(300, tcpSYN), nothing, missed)
		s.after(1)
		for port := 300; port < 308; port++ {
			s.tells("a SYN when the flood's have ended", s.tcp(port, tcpSYN), nothing, begun)
		}
	})
}

func TestSignalsAreNotInAProgramWithoutThem(t *testing.T) {
	features := maps.AllFeatures()
	features.Signals = false
	p := newPathWith(t, maps.Settings{Key: maps.Key{1}, Limits: testLimits}, features)
	p.tell(t, "a handshake", maps.Service{Signals: true}, func(s *story) {
		s.settled(1)
		s.tells("a SYN", s.tcp(1, tcpSYN), nothing, nothing)
		s.goes("the ACK", s.tcp(1, tcpACK), 1)
	})
}

func TestHandshakeOfAFirstFragmentIsWatched(t *testing.T) {
	p := newPath(t)
	p.tell(t, "fragments", maps.Service{Signals: true}, func(s *story) {
		s.settled(1)
		syn := packet(s.t, s.f.ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: 4242, DstPort: 443, SYN: true}, filler(44))
		first := part{family: s.f, proto: maps.TCP}.packet(s.t)
		header := len(first) - 64
		copy(first[header:], syn[len(syn)-64:])
		s.tells("a SYN in a first fragment", first, begun, nothing)
		s.tells("the ACK", s.f.tcp(s.t, 443, 0), completed, nothing)
	})
}
