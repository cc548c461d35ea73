package model

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

// flowModel has service 1 with one slot and backends 1 to 3.
func flowModel(t *testing.T, slot maps.Slot, change func(*maps.Service)) *Model {
	return newModel(t, with(func(s *State) {
		b := s.Backends[1]
		b.Accepts = true
		s.Backends[1], s.Backends[2], s.Backends[3] = b, b, b
		s.Transitions = map[maps.ServiceID][]maps.Slot{1: {slot}}
		s.changeService(1, change)
	}))
}

func plain(*maps.Service) {}

func moving(current, previous maps.BackendID) maps.Slot {
	return maps.Slot{Current: current, Previous: previous, Transition: true}
}

func learned(current, previous maps.BackendID) maps.Slot {
	return maps.Slot{Current: current, Previous: previous, Transition: true, Learned: true}
}

// segment is from a port of the client, with flags such as "SA".
func segment(t *testing.T, port int, flags string) []byte {
	l4 := &layers.TCP{SrcPort: layers.TCPPort(port), DstPort: 443}
	for _, flag := range flags {
		switch flag {
		case 'F':
			l4.FIN = true
		case 'S':
			l4.SYN = true
		case 'R':
			l4.RST = true
		case 'A':
			l4.ACK = true
		}
	}
	return frame4(t, ipv4(6), l4)
}

func datagram(t *testing.T, port int) []byte {
	return frame4(t, ipv4(17), &layers.UDP{SrcPort: layers.UDPPort(port), DstPort: 443}, gopacket.Payload("hello"))
}

// unreachable is an error about an answer to a port of the client.
func unreachable(t *testing.T, protocol layers.IPProtocol, port int) []byte {
	answer := ipv4(protocol)
	answer.SrcIP, answer.DstIP = answer.DstIP, answer.SrcIP
	quoted := build(t, answer, &layers.UDP{SrcPort: 443, DstPort: layers.UDPPort(port)}, gopacket.Payload("hello, client")) // TCP's ports lie alike
	return frame4(t, ipv4(1), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 1)}, gopacket.Payload(quoted))
}

// event is a packet, before which the slot, backend 2 or the clock may change.
type event struct {
	slot   maps.Slot     // if it has any owner
	second *maps.Backend // backend 2's health
	age    uint64        // seconds
	frame  []byte
	want   maps.BackendID // 0: no_backend
}

func TestRecordsDecideInATransition(t *testing.T) {
	down, draining := &maps.Backend{}, &maps.Backend{Up: true}
	tcp := func(port int, flags string) []byte { return segment(t, port, flags) }
	udp := func(port int) []byte { return datagram(t, port) }
	tests := map[string]struct {
		slot   maps.Slot
		change func(*maps.Service)
		events []event
	}{
		"a SYN goes to current and its flow stays": {moving(2, 1), plain, []event{
			{frame: tcp(1, "S"), want: 2},
			{frame: tcp(1, "A"), want: 2, slot: moving(3, 1)},
			{frame: tcp(1, "S"), want: 2},
			{frame: tcp(1, "FA"), want: 2},
			{frame: tcp(1, "A"), want: 2},
			{frame: tcp(2, "S"), want: 3},
			{frame: tcp(1, "A"), want: 3, slot: maps.Slot{Current: 3}},
		}},
		"what is not known goes to previous and stays": {moving(2, 1), plain, []event{
			{frame: tcp(1, "A"), want: 1},
			{frame: tcp(2, "SA"), want: 1},
			{frame: tcp(1, "A"), want: 1, slot: moving(3, 2)},
			{frame: tcp(2, "A"), want: 1},
			{frame: tcp(3, "A"), want: 2},
		}},
		"an end is not recorded": {moving(2, 1), plain, []event{
			{frame: tcp(1, "R"), want: 1},
			{frame: tcp(2, "FA"), want: 1},
			{frame: tcp(3, "SF"), want: 2},
			{frame: tcp(1, "A"), want: 3, slot: moving(2, 3)},
			{frame: tcp(2, "A"), want: 3},
			{frame: tcp(3, "A"), want: 3},
		}},
		"a SYN leaves a backend that does not accept": {moving(2, 1), plain, []event{
			{frame: tcp(1, "S"), want: 2},
			{frame: tcp(2, "S"), want: 2},
			{frame: tcp(1, "S"), want: 3, slot: moving(3, 1), second: draining},
			{frame: tcp(1, "A"), want: 3},
			{frame: tcp(2, "A"), want: 2},
		}},
		"a backend that is down keeps nothing": {moving(3, 2), plain, []event{
			{frame: tcp(1, "A"), want: 2},
			{frame: tcp(1, "A"), want: 3, second: down},
			{frame: tcp(2, "A"), want: 3},
			{frame: tcp(1, "A"), want: 3, second: draining},
			{frame: tcp(3, "A"), want: 2},
		}},
		"a datagram is new once the old ones are learned": {moving(2, 1), plain, []event{
			{frame: udp(1), want: 1},
			{frame: udp(1), want: 1, slot: learned(2, 1)},
			{frame: udp(2), want: 2},
			{frame: udp(2), want: 2, slot: learned(3, 1)},
			{frame: udp(2), want: 2, second: draining},
			{frame: tcp(2, "A"), want: 1},
		}},
		"an error follows and leaves no record": {moving(2, 1), plain, []event{
			{frame: tcp(1, "S"), want: 2},
			{frame: unreachable(t, 6, 1), want: 2, slot: moving(3, 1)},
			{frame: unreachable(t, 6, 2), want: 1},
			{frame: unreachable(t, 17, 2), want: 1},
			{frame: unreachable(t, 17, 2), want: 3, slot: learned(3, 1)},
			{frame: tcp(2, "A"), want: 2, slot: learned(3, 2)},
			{frame: udp(2), want: 3},
		}},
		"an error does not make a record younger": {moving(2, 1), plain, []event{
			{frame: tcp(1, "S"), want: 2},
			{frame: unreachable(t, 6, 1), want: 2, age: 900},
			{frame: unreachable(t, 6, 1), want: 1, age: 1},
		}},
		"a record ends after 900 s of silence": {moving(2, 1), plain, []event{
			{frame: tcp(1, "S"), want: 2},
			{frame: tcp(1, "A"), want: 2, age: 900},
			{frame: tcp(1, "S"), want: 2, age: 900, slot: moving(3, 1)},
			{frame: tcp(1, "A"), want: 1, age: 901},
		}},
		"nobody takes new flows": {moving(0, 1), plain, []event{
			{frame: tcp(1, "S"), want: 0},
			{frame: tcp(1, "A"), want: 1},
			{frame: tcp(2, "A"), want: 2, slot: moving(2, 0)},
		}},
		"tracking always": {maps.Slot{Current: 1}, func(s *maps.Service) { s.TrackAlways = true }, []event{
			{frame: tcp(1, "A"), want: 1},
			{frame: udp(1), want: 1},
			{frame: tcp(1, "A"), want: 1, slot: maps.Slot{Current: 2}},
			{frame: udp(1), want: 1},
			{frame: udp(2), want: 2},
			{frame: tcp(1, "A"), want: 0, slot: maps.Slot{Previous: 2}},
		}},
		"the flows of a source are recorded one by one": {moving(2, 1), func(s *maps.Service) { s.BySource = true }, []event{
			{frame: tcp(1, "S"), want: 2},
			{frame: tcp(2, "A"), want: 1},
			{frame: tcp(1, "A"), want: 2, slot: moving(3, 1)},
			{frame: tcp(2, "A"), want: 1},
			{frame: edited(udp(1), 6, 0, 8), want: 3}, // a later fragment
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := flowModel(t, test.slot, test.change)
			tick := uint64(5000)
			for i, e := range test.events {
				if e.slot != (maps.Slot{}) {
					m.SetTransition(1, []maps.Slot{e.slot})
				}
				if e.second != nil {
					b := *m.backends[2]
					b.Up, b.Accepts = e.second.Up, e.second.Accepts
					m.SetBackend(2, b)
				}
				tick += e.age
				m.SetTick(tick)
				want := "tx forwarded"
				if e.want == 0 {
					want = "drop no_backend"
				}
				if got := expect(t, m, e.frame, want).Backend; got != e.want {
					t.Errorf("packet %d went to backend %d, want %d", i+1, got, e.want)
				}
			}
		})
	}
}

// A next hop that is lost for a moment, as on an interface that flaps, is no
// reason to give a flow to another backend.
func TestFlowWaitsForTheNextHopOfABackendThatIsUp(t *testing.T) {
	m := flowModel(t, moving(2, 1), plain)
	expect(t, m, segment(t, 1, "S"), "tx forwarded")
	b := *m.backends[2]
	m.SetBackend(2, maps.Backend{Up: true, Accepts: true})
	expect(t, m, segment(t, 1, "A"), "drop no_next_hop")
	m.SetBackend(2, b)
	if got := expect(t, m, segment(t, 1, "A"), "tx forwarded").Backend; got != 2 {
		t.Errorf("the flow went to backend %d, want 2", got)
	}
}

func TestFullBucketLeavesNewFlowsToPrevious(t *testing.T) {
	m := flowModel(t, learned(2, 1), plain)
	for port := range bucketFlows {
		for _, flags := range []string{"S", "A"} {
			expect(t, m, segment(t, port, flags), "tx forwarded")
		}
	}
	tests := map[string][]byte{
		"a SYN": segment(t, 100, "S"), "its ACK": segment(t, 100, "A"), "a SYN with a FIN": segment(t, 101, "SF"),
		"a datagram": datagram(t, 1), "an error about it": unreachable(t, 17, 1),
	}
	for name, frame := range tests {
		if got := expect(t, m, frame, "tx forwarded").Backend; got != 1 {
			t.Errorf("%s went to backend %d, want previous, which has all flows without a record", name, got)
		}
	}
}

func TestPlacesAreGivenUpInTheirOrder(t *testing.T) {
	table := newFlowTable(bucketFlows)
	table.tick = 2000
	bucket := table.bucket(0)
	for i := range bucket {
		bucket[i] = flowRecord{tag: uint64(i), backend: 1, state: flowKnown, second: 1500 - uint64(i)}
	}
	order := []int{6, 2, 4, 1, 3}
	bucket[6].second = 2000 - flowAge - 1 // exists no more
	bucket[2].state, bucket[2].second = flowClosing, 1200
	bucket[4].state, bucket[4].second = flowClosing, 1900
	bucket[1].state, bucket[1].second = flowNew, 1100
	bucket[3].state, bucket[3].second = flowNew, 1950
	for i, want := range order {
		tuple := uint64(100+i) << (64 - tagBits)
		place := table.place(tuple)
		if place != &bucket[want] {
			t.Fatalf("record %d goes not to place %d", i+1, want)
		}
		*place = flowRecord{tag: tagOf(tuple), backend: 1, state: flowKnown, second: 2000}
	}
	if table.place(200<<(64-tagBits)) != nil {
		t.Error("a known flow gives up its place")
	}
	if table.place(5<<(64-tagBits)) != &bucket[5] {
		t.Error("a flow's new record is not in place of its former one")
	}
}

func TestBucketsHoldTheLimitAndTagsAre28Bits(t *testing.T) {
	for limit, buckets := range map[int]uint64{0: 1, 1: 1, 8: 1, 9: 2, 16: 2, 17: 4, 1 << 16: 8192} {
		if got := newFlowTable(limit).mask + 1; got != buckets {
			t.Errorf("%d buckets for %d flows, want %d", got, limit, buckets)
		}
	}
	table := newFlowTable(16)
	const tuple = 0x123456789abcdef1
	*table.place(tuple) = flowRecord{tag: tagOf(tuple), backend: 1, state: flowNew}
	for other, found := range map[uint64]bool{tuple: true, tuple ^ 1<<35: true, tuple ^ 2: true, tuple ^ 1<<36: false, tuple ^ 1: false} {
		if got := table.find(other) != nil; got != found {
			t.Errorf("the record of %#x is found for %#x: %t, want %t", uint64(tuple), other, got, found)
		}
	}
}

func TestStateAfterAPacket(t *testing.T) {
	const syn, end, more = 0, 1, 2
	want := map[flowState][3]flowState{
		flowNew:     {syn: flowNew, end: flowClosing, more: flowKnown},
		flowKnown:   {syn: flowKnown, end: flowClosing, more: flowKnown},
		flowClosing: {syn: flowNew, end: flowClosing, more: flowClosing},
	}
	for state, after := range want {
		for kind, next := range after {
			if got := state.after(kind == syn, kind == end); got != next {
				t.Errorf("state %d and packet of kind %d make %d, want %d", state, kind, got, next)
			}
		}
	}
}
