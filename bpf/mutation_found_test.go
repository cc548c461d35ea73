package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// The tests in this file are for faults of `make mutate` that neither random
// packets nor the other tables noticed.

// limited is the program with other limits, its clock at an hour.
func limited(t *testing.T, change func(*maps.Limits)) *path {
	t.Helper()
	settings := maps.Settings{Key: maps.Key{1}, Limits: testLimits, FixedTime: true}
	change(&settings.Limits)
	p := newPathWith(t, settings, maps.AllFeatures())
	p.tables.SetTime(uint64(time.Hour))
	return p
}

// verdict is what becomes of a frame, without a look at its bytes.
func (p *path) verdict(frame []byte) uint32 {
	p.Helper()
	verdict, _ := p.run(frame)
	return verdict
}

// fragments are the first and the next fragment of a segment to web.
func fragments(t *testing.T, ident uint16) (first, next []byte) {
	t.Helper()
	first = tcpFrame(t, web, 8, func(ip *layers.IPv4) { ip.Id, ip.Flags = ident, layers.IPv4MoreFragments })
	next = tcpFrame(t, web, 8, func(ip *layers.IPv4) { ip.Id, ip.Flags, ip.FragOffset = ident, 0, 32/8 })
	return first, next
}

func TestFragmentsFollowABackendOfAnyNumber(t *testing.T) {
	const last = 1<<16 + 1
	p := limited(t, func(l *maps.Limits) { l.Backends = last })
	p.serve(viaL2())
	p.must(p.tables.SetBackend(last, viaL2()))
	p.must(p.tables.SetSlotTable(0, maps.Steady([]maps.BackendID{last})))
	first, next := fragments(t, 1)
	p.verdict(first)
	p.verdict(next)
	if n := p.tables.BackendCounter(last).Packets; n != 2 {
		t.Errorf("backend %d got %d fragments of 2", last, n)
	}
}

// 400 packets fall into 256 buckets of four records with next to no loss.
func TestFragmentTableRemembersAsManyPacketsAsItHasRoomFor(t *testing.T) {
	p := limited(t, func(l *maps.Limits) { l.Fragments = 1024 })
	p.serve(viaL2())
	const packets = 400
	for ident := range uint16(packets) {
		first, _ := fragments(t, ident)
		p.verdict(first)
	}
	followed := 0
	for ident := range uint16(packets) {
		if _, next := fragments(t, ident); p.verdict(next) == xdpTX {
			followed++
		}
	}
	if followed < packets*95/100 {
		t.Errorf("of %d packets %d were remembered", packets, followed)
	}
}

// A source that takes the place of another in a full bucket starts anew.
func TestNewSourceDoesNotPayForAnOldOne(t *testing.T) {
	p := limited(t, func(l *maps.Limits) { l.Sources = 4 })
	p.serve(viaL2())
	p.must(p.tables.SetService(0, maps.Service{NewConnections: maps.Rate{Interval: time.Hour}}))
	for i := range byte(6) {
		frame := tcpFrame(t, web, 0, func(ip *layers.IPv4) { ip.SrcIP = []byte{198, 51, 100, i} })
		if verdict := p.verdict(frame); verdict != xdpTX {
			t.Errorf("the first connection of source %d: verdict %d, want TX", i, verdict)
		}
		if verdict := p.verdict(frame); verdict != xdpDrop {
			t.Errorf("the second connection of source %d: verdict %d, want drop", i, verdict)
		}
	}
}

// Rows of both families share a table, so that now and then an IPv4 address is
// sought where an IPv6 VIP is found. Many pairs make sure that some do.
func TestIPv4AddressIsNotTakenForAnIPv6VIPThatEndsInIt(t *testing.T) {
	p := newPath(t)
	p.must(p.tables.SetService(0, maps.Service{IPv6: true}))
	for i := range byte(32) {
		var listeners []maps.Listener
		var frames [][]byte
		for j := range byte(testLimits.Services) {
			addr := netip.AddrFrom4([4]byte{203, 0, i, j})
			addr6 := netip.MustParseAddr("2001:db8::").As16()
			copy(addr6[12:], addr.AsSlice())
			listeners = append(listeners, maps.Listener{VIP: netip.PrefixFrom(netip.AddrFrom16(addr6), 128), First: 80, Last: 80, Protocol: maps.TCP})
			frames = append(frames, tcpFrame(t, netip.AddrPortFrom(addr, 80), 0))
		}
		p.must(p.tables.SetListeners(listeners))
		counted := p.counted(func() {
			for _, frame := range frames {
				p.verdict(frame)
			}
		})
		if n := counted[bpf.ReasonNotOurs].Packets; n != uint64(len(frames)) {
			t.Fatalf("of %d packets to IPv4 addresses %d are not ours: %v", len(frames), n, counted)
		}
	}
}

func TestEveryOneOfTheMostRangesOfAVIPIsFound(t *testing.T) {
	p := newPath(t)
	p.serve(viaL2())
	const ranges, step = 4096, 16
	var listeners []maps.Listener
	for i := range ranges {
		listeners = append(listeners, maps.Listener{VIP: netip.PrefixFrom(vip, 32), First: uint16(step*i + 2), Last: uint16(step*i + 9), Protocol: maps.UDP})
	}
	p.must(p.tables.SetListeners(listeners))
	frame := udpFrame(t, dns, 0)
	for i := range ranges {
		for offset, want := range map[int]uint32{1: xdpPass, 2: xdpTX, 9: xdpTX, 10: xdpPass} {
			binary.BigEndian.PutUint16(frame[14+20+2:], uint16(step*i+offset))
			if got := p.verdict(frame); got != want {
				t.Fatalf("port %d: verdict %d, want %d", step*i+offset, got, want)
			}
		}
	}
}

// onEveryCPU runs f on one CPU after another.
func (p *path) onEveryCPU(f func(cpu int)) {
	p.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	p.must(unix.SchedGetaffinity(0, &all))
	defer func() { p.must(unix.SchedSetaffinity(0, &all)) }()
	for cpu, tried := 0, 0; tried < all.Count(); cpu++ {
		if !all.IsSet(cpu) {
			continue
		}
		tried++
		var one unix.CPUSet
		one.Set(cpu)
		p.must(unix.SchedSetaffinity(0, &one))
		f(cpu)
	}
}

func TestEveryCPUCountsInRowsOfItsOwn(t *testing.T) {
	p := newPath(t)
	p.serve(viaL2())
	frame := tcpFrame(t, web, 10)
	p.onEveryCPU(func(cpu int) {
		counted := p.counted(func() { p.verdict(frame) })
		want := map[bpf.Reason]maps.Counter{bpf.ReasonForwarded: {Packets: 1, Bytes: uint64(len(frame))}}
		if diff := cmp.Diff(want, counted); diff != "" {
			t.Errorf("counted on CPU %d (-want +got):\n%s", cpu, diff)
		}
	})
}

func TestEveryCPUCountsHandshakesInRowsOfItsOwn(t *testing.T) {
	p := newPath(t)
	p.serve(viaL2())
	p.must(p.tables.SetService(0, maps.Service{Signals: true}))
	p.onEveryCPU(func(cpu int) {
		p.tables.Forget()
		p.verdict(tcpFrame(t, web, 10))
		var row bpf.XlbSignalCounter
		p.must(p.maps[bpf.XlbMapSignals].Lookup(uint32(cpu*(testLimits.Backends+1)+1), &row))
		if row.Syns != 1 {
			t.Errorf("CPU %d has counted %d SYNs in its row, want 1", cpu, row.Syns)
		}
	})
}

// In a small table one ID of all rotations lies side by side.
func TestServerIDOfOneRotationIsNotAnothers(t *testing.T) {
	p := newPath(t)
	p.serve(viaL2())
	lengths := maps.ServerIDLengths{1, 1, 1, 1, 1, 1, 1}
	for rotation := range maps.BackendID(7) {
		b := viaL2()
		b.Up = true
		p.must(p.tables.SetBackend(10+rotation, b))
	}
	for id := range byte(28) {
		unknown := id % 7
		var ids []maps.ServerID
		for rotation := range uint8(7) {
			if rotation != unknown {
				ids = append(ids, maps.ServerID{Rotation: rotation, ID: []byte{id}, Backend: 10 + maps.BackendID(rotation)})
			}
		}
		p.must(p.tables.SetServerIDs(0, lengths, ids))
		p.must(p.tables.SetService(0, maps.Service{QUIC: lengths}))
		for rotation := range uint8(7) {
			want := 10 + maps.BackendID(rotation)
			if rotation == unknown {
				want = 1 // by the flow hash
			}
			before := p.tables.BackendCounter(want).Packets
			p.verdict(quicFrame(t, 0x40, rotation<<5, id))
			if p.tables.BackendCounter(want).Packets != before+1 {
				t.Errorf("server ID %d of rotation %d does not lead to backend %d", id, rotation, want)
			}
		}
	}
}

// What follows a connection ID may look like the rest of a server ID.
func TestServerIDEndsWithTheConnectionID(t *testing.T) {
	p := newPath(t)
	p.serve(viaL2())
	lengths := maps.ServerIDLengths{2}
	b := viaL2()
	b.Up = true
	p.must(p.tables.SetBackend(2, b))
	p.must(p.tables.SetServerIDs(0, lengths, []maps.ServerID{{ID: []byte{5, 6}, Backend: 2}}))
	p.must(p.tables.SetService(0, maps.Service{QUIC: lengths}))
	for length, want := range map[byte]maps.BackendID{2: 1, 3: 2} {
		before := p.tables.BackendCounter(want).Packets
		p.verdict(quicFrame(t, 0xe0, 0, 0, 0, 1, length, 0, 5, 6)) // Handshake of version 1
		if p.tables.BackendCounter(want).Packets != before+1 {
			t.Errorf("a connection ID of %d bytes does not lead to backend %d", length, want)
		}
	}
}

// quicFrame is a datagram to dns with a payload.
func quicFrame(t *testing.T, payload ...byte) []byte {
	t.Helper()
	frame := udpFrame(t, dns, len(payload))
	copy(frame[14+20+8:], payload)
	return frame
}
