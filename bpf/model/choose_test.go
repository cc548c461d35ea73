package model

import (
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

func countingKey() (key maps.Key) {
	for i := range key {
		key[i] = byte(i)
	}
	return key
}

// The expected hashes come from another program, of big integers.
func TestHashVectors(t *testing.T) {
	m := newModel(t, with(func(s *State) { s.Settings.Key = countingKey() }))
	f4 := flow{src: client4, dst: vip4, srcPort: 4242, dstPort: 443, protocol: 6}
	f6 := flow{src: client6, dst: vip6, srcPort: 4242, dstPort: 443, protocol: 17}
	subnet6 := f6
	subnet6.src = client(client6, 7, 2)
	fragment4 := &packet{flow: flow{src: client4, dst: vip4, protocol: 17}, ident: 0x3412}
	fragment6 := &packet{flow: flow{src: client6, dst: vip6, protocol: 17}, ident: 0x78563412}
	tests := map[string]struct{ got, want uint64 }{
		"IPv4 flow":     {m.flowHash(&f4, &byFlow), 0xceba662980794963},
		"IPv6 flow":     {m.flowHash(&f6, &byFlow), 0xfcf4dc89f32a8fba},
		"IPv4 /24":      {m.flowHash(&f4, bySource(24, false)), 0xf4d1d4f7400a9c1c},
		"IPv6 /64":      {m.flowHash(&subnet6, bySource(64, true)), 0xcb186f3a3c9783c7},
		"IPv4 /0":       {m.flowHash(&f4, bySource(0, false)), 0xa0dc3b62a6216a5f},
		"IPv4 fragment": {m.fragmentHash(fragment4), 0x3f25ecd3bd3c52e0},
		"IPv6 fragment": {m.fragmentHash(fragment6), 0xed18879ac200e55b},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.got != test.want {
				t.Errorf("hash %#x, want %#x", test.got, test.want)
			}
		})
	}
}

func TestHighHalfOfTheHashPicksTheSlot(t *testing.T) {
	s := manyBackends(1)
	s.Settings.Key = countingKey()
	const slot = 0xceba6629 * 101 >> 32
	if r := expect(t, newModel(t, s), tcp4(t), "tx forwarded"); r.Backend != 1000+slot {
		t.Errorf("backend %d, want %d", r.Backend, 1000+slot)
	}
}

func TestSourceAffinityHashesThePrefixAlone(t *testing.T) {
	s := manyBackends(1)
	s.Services[1] = maps.Service{BySource: true, SourceBits: 24}
	m := newModel(t, s)
	want := expect(t, m, tcp4(t), "tx forwarded").Backend
	others := 0
	for i := range 20 {
		l4 := udp()
		l4.SrcPort = layers.UDPPort(i)
		near := edited(frame4(t, ipv4(17), l4), 15, byte(i))
		if got := expect(t, m, near, "tx forwarded").Backend; got != want {
			t.Fatalf("source .%d at backend %d, want %d", i, got, want)
		}
		if expect(t, m, edited(near, 14, byte(i)), "tx forwarded").Backend != want {
			others++
		}
	}
	if others == 0 {
		t.Error("other prefixes go to the same backend")
	}
}

const serverIDBackend = 77

// quicModel routes rotation 1 with three bytes and rotation 2 with eight.
func quicModel(t *testing.T, change func(*maps.Backend)) *Model {
	s := manyBackends(1)
	s.Backends[serverIDBackend] = s.Backends[1]
	s.changeBackend(serverIDBackend, change)
	s.Services[1] = maps.Service{QUIC: maps.ServerIDLengths{1: 3, 2: 8}}
	s.ServerIDs = map[maps.ServiceID][]maps.ServerID{1: {
		{Rotation: 1, ID: []byte{1, 2, 3}, Backend: serverIDBackend},
		{Rotation: 2, ID: []byte{1, 2, 3, 4, 5, 6, 7, 8}, Backend: serverIDBackend},
	}}
	return newModel(t, s)
}

func quic(t *testing.T, payload ...byte) []byte {
	return frame4(t, ipv4(17), udp(), gopacket.Payload(payload))
}

func long(first byte, version []byte, id ...byte) []byte {
	return append(append([]byte{first}, version...), append([]byte{byte(len(id))}, id...)...)
}

func TestQUICFollowsTheServerID(t *testing.T) {
	v1, v2 := []byte{0, 0, 0, 1}, []byte{0x6b, 0x33, 0x43, 0xcf}
	known := []byte{0x3f, 1, 2, 3}
	tests := map[string]struct {
		payload []byte
		routed  bool
	}{
		"short header":                   {append([]byte{0x40}, known...), true},
		"short header, more":             {append([]byte{0x40}, append(known[:4:4], 9, 9)...), true},
		"short header, a longer ID":      {[]byte{0x40, 0x40, 1, 2, 3, 4, 5, 6, 7, 8}, true},
		"short header, cut":              {[]byte{0x40, 0x3f, 1, 2}, false},
		"short header alone":             {[]byte{0x40}, false},
		"no payload":                     {nil, false},
		"another server":                 {[]byte{0x40, 0x3f, 1, 2, 4}, false},
		"rotation without configuration": {[]byte{0x40, 0x1f, 1, 2, 3}, false},
		"rotation 7":                     {[]byte{0x40, 0xff, 1, 2, 3}, false},
		"handshake":                      {long(0xe0, v1, known...), true},
		"initial":                        {long(0xc0, v1, known...), false},
		"0-RTT":                          {long(0xd0, v1, known...), false},
		"retry":                          {long(0xf0, v1, known...), false},
		"handshake of version 2":         {long(0xf0, v2, known...), true},
		"0-RTT of version 2":             {long(0xe0, v2, known...), false},
		"another version":                {long(0xe0, []byte{0, 0, 0, 2}, known...), false},
		"handshake, a short ID":          {append(long(0xe0, v1, known[:3]...), 3), false},
		"handshake, ID past the payload": {long(0xe0, v1, known...)[:9], false},
		"handshake cut in its header":    {long(0xe0, v1)[:5], false},
	}
	m := quicModel(t, func(*maps.Backend) {})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			plain := newModel(t, manyBackends(1))
			want := expect(t, plain, quic(t, test.payload...), "tx forwarded").Backend
			if test.routed {
				want = serverIDBackend
			}
			if got := expect(t, m, quic(t, test.payload...), "tx forwarded").Backend; got != want {
				t.Errorf("backend %d, want %d", got, want)
			}
		})
	}
}

func TestQUICFallsBackToTheFlowHash(t *testing.T) {
	short := quic(t, 0x40, 0x3f, 1, 2, 3)
	unfit := map[string]func(*maps.Backend){
		"is down":         func(b *maps.Backend) { b.Up = false },
		"has no next hop": func(b *maps.Backend) { b.Forward = maps.Unresolved },
	}
	for name, change := range unfit {
		if r := expect(t, quicModel(t, change), short, "tx forwarded"); r.Backend == serverIDBackend {
			t.Errorf("a backend that %s is chosen", name)
		}
	}
	m := quicModel(t, func(*maps.Backend) {})
	if r := expect(t, m, edited(short, 6, 0x20, 0), "tx forwarded"); r.Backend == serverIDBackend {
		t.Error("a first fragment is routed by its connection ID")
	}
	if r := expect(t, m, edited(short, 24, 0, 12), "tx forwarded"); r.Backend == serverIDBackend {
		t.Error("bytes past the UDP length are read")
	}
}
