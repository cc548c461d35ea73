package bpf_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/xlb-project/xlb/maps"
)

const (
	quicV1 = 1
	quicV2 = 0x6b3343cf
)

// Types of long headers.
const (
	initial = iota
	zeroRTT
	handshake
	retry
)

// quicLong is the start of a QUIC packet with a long header.
func quicLong(version uint32, kind uint8, cid ...byte) []byte {
	if version == quicV2 {
		kind = (kind + 1) & 3 // RFC 9369, 3.2
	}
	b := binary.BigEndian.AppendUint32([]byte{0xc0 | kind<<4}, version)
	return append(append(append(b, byte(len(cid))), cid...), 0, 1, 2, 3)
}

// quicShort is one with a short header, with bytes behind the connection ID.
func quicShort(cid ...byte) []byte {
	return append(append([]byte{0x43}, cid...), 9, 9, 9, 9)
}

// Rotation 0 has server IDs of 2 bytes, 2 of 8, 5 of 1. Backends 1 and 9 are what
// the flow hash chooses, of the rest server ID n is backend 100 + n.
func TestQUICConnectionIDsNameTheirBackend(t *testing.T) {
	p := newPath(t)
	lengths := maps.ServerIDLengths{0: 2, 2: 8, 5: 1}
	long := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for i, f := range families {
		id := maps.ServiceID(i)
		p.must(p.tables.SetServerIDs(id, lengths, []maps.ServerID{
			{Rotation: 0, ID: []byte{0, 1}, Backend: 101},
			{Rotation: 0, ID: []byte{1, 0}, Backend: 102},
			{Rotation: 2, ID: long, Backend: 103},
			{Rotation: 5, ID: []byte{1}, Backend: 104},
			{Rotation: 0, ID: []byte{0, 5}, Backend: 105},
			{Rotation: 0, ID: []byte{0, 6}, Backend: 106},
		}))
		p.offer(id, maps.Service{QUIC: lengths}, via(maps.L2, f, f))
	}
	for number := range maps.BackendID(4) {
		p.must(p.tables.SetBackend(101+number, via(maps.L2, family4, family4)))
	}
	down := via(maps.L2, family4, family4)
	down.Up = false
	p.must(p.tables.SetBackend(105, down))
	p.must(p.tables.SetBackend(106, maps.Backend{}))
	p.must(p.tables.SetListeners(web443()))

	const hash = 0
	for _, c := range []struct {
		name    string
		payload []byte
		want    int // backend, or hash
	}{
		{"short header", quicShort(0x00, 0, 1), 101},
		{"short header, ID to the end", quicShort(0x00, 0, 1)[:4], 101},
		{"short header, all bits of the first byte but the rotation", quicShort(0x1f, 1, 0), 102},
		{"short header, an ID of 8 bytes", quicShort(append([]byte{0x40}, long...)...), 103},
		{"short header, an ID of 8 bytes, to the end", quicShort(append([]byte{0x40}, long...)...)[:10], 103},
		{"short header, an ID of one byte", quicShort(0xa0, 1), 104},
		{"short header that is a byte short", quicShort(0x00, 0, 1)[:3], hash},
		{"short header, an ID of 8 bytes that is a byte short", quicShort(append([]byte{0x40}, long...)...)[:9], hash},
		{"a first byte alone", []byte{0x43}, hash},
		{"no payload", nil, hash},
		{"a server ID that nobody has", quicShort(0x00, 0, 9), hash},
		{"a server ID of another rotation", quicShort(0xa0, 0), hash},
		{"a rotation without configuration", quicShort(0x20, 0, 1), hash},
		{"the rotation that is never routable", quicShort(0xe0, 0, 1), hash},
		{"a backend that is down", quicShort(0x00, 0, 5), hash},
		{"a backend without next hop", quicShort(0x00, 0, 6), hash},
		{"Handshake of version 1", quicLong(quicV1, handshake, 0, 0, 1), 101},
		{"Handshake of version 1, a longer ID", quicLong(quicV1, handshake, 0, 0, 1, 9, 9, 9, 9, 9), 101},
		{"Handshake of version 1, ID too short", quicLong(quicV1, handshake, 0, 0), hash},
		{"Handshake of version 1 without ID", quicLong(quicV1, handshake), hash},
		{"Handshake of version 1, ID to the end", quicLong(quicV1, handshake, 0, 1, 0)[:9], 102},
		{"Handshake of version 1, ID past the end", quicLong(quicV1, handshake, 0, 1, 0)[:8], hash},
		{"Handshake of version 2", quicLong(quicV2, handshake, 0, 1, 0), 102},
		{"Handshake of an unknown version", quicLong(7, handshake, 0, 1, 0), hash},
		{"Handshake type of version 1 in version 2", with(quicLong(quicV2, handshake, 0, 1, 0), func(b []byte) { b[0] = 0xe0 }), hash},
		{"Handshake type of version 2 in version 1", with(quicLong(quicV1, handshake, 0, 1, 0), func(b []byte) { b[0] = 0xf0 }), hash},
		{"Initial of version 1", quicLong(quicV1, initial, 0, 0, 1), hash},
		{"0-RTT of version 1", quicLong(quicV1, zeroRTT, 0, 0, 1), hash},
		{"Initial of version 2", quicLong(quicV2, initial, 0, 0, 1), hash},
		{"Retry of version 2", quicLong(quicV2, retry, 0, 0, 1), hash},
		{"Version Negotiation", quicLong(0, handshake, 0, 0, 1), hash},
		{"a long header of five bytes", quicLong(quicV1, handshake, 0, 0, 1)[:5], hash},
	} {
		for i, f := range families {
			want := fmt.Sprintf("tx backend %d", c.want)
			if c.want == hash {
				want = fmt.Sprintf("tx backend %d", firstBackend(maps.ServiceID(i)))
			}
			ip := packet(t, f.ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 4242, DstPort: 443}, gopacket.Payload(c.payload))
			if got := p.outcome(append(arriving(ip), 0, 0, 1, 0, 0, 1, 0, 0)); got != want { // padding is no payload
				t.Errorf("%s over %s: %s, want %s", c.name, f.name, got, want)
			}
			tcp := packet(t, f.ip(layers.IPProtocolTCP), &layers.TCP{SrcPort: 4242, DstPort: 443}, gopacket.Payload(c.payload))
			if got, want := p.outcome(arriving(tcp)), fmt.Sprintf("tx backend %d", firstBackend(maps.ServiceID(i))); got != want {
				t.Errorf("%s in TCP over %s: %s, want %s", c.name, f.name, got, want)
			}
		}
	}
}

// The hash that outer headers show is that of the flow, whoever chose the backend.
func TestQUICPacketLeavesLikeAnyOther(t *testing.T) {
	p := newPath(t)
	lengths := maps.ServerIDLengths{0: 1}
	b := via(maps.GUE, family6, family4)
	p.must(p.tables.SetServerIDs(0, lengths, []maps.ServerID{{Rotation: 0, ID: []byte{7}, Backend: 101}}))
	p.must(p.tables.SetBackend(101, b))
	p.offer(0, maps.Service{QUIC: lengths})
	p.must(p.tables.SetListeners(web443()[:2]))
	ip := packet(t, family4.ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: 4242, DstPort: 443}, gopacket.Payload(quicShort(0, 7)))
	_, out := p.run(arriving(ip))
	if got, want := fmt.Sprintf("%x", out), fmt.Sprintf("%x", leaving(t, b, family4.hash(443, maps.UDP), ip)); got != want {
		t.Errorf("frame %s, want %s", got, want)
	}
	outcomes{
		{"routable", ip, "tx backend 101"},
		{"a first fragment has the ports, but is not read as QUIC", rightChecksum(with(ip, func(b []byte) { b[6] = 0x20 })), "drop no_backend"},
	}.check(t, p)
}
