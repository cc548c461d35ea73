package model

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/xlb-project/xlb/maps"
)

// Which multiplier of the hash is for what.
const (
	keyStart     = 0
	keySource4   = 1
	keyDest4     = 2
	keyPorts     = 3
	keyProtocol  = 4
	keySource6   = 5
	keyDest6     = 9
	hashKeys     = 13
	fragmentBase = keyProtocol // what the fragment hash begins with
)

func expandKey(key maps.Key) (keys [hashKeys]uint64) {
	for i := range keys {
		text := append([]byte("xlb flow hash v1"), key[:]...)
		digest := sha256.Sum256(append(text, byte(i)))
		keys[i] = binary.LittleEndian.Uint64(digest[:8]) | 1
	}
	return keys
}

// choose is stage 12.
func (m *Model) choose(p *packet) bool {
	ttl := p.ip[ttlAt(p.v6)]
	if ttl <= 1 {
		return p.end(Drop, "ttl_expired")
	}
	if p.recorded {
		return false
	}
	p.hash = m.flowHash(&p.flow, p.service.masks)
	if p.backendID = m.routeQUIC(p); p.backendID == 0 {
		p.backendID = m.owner(p)
	}
	if p.backendID == 0 {
		return p.end(Drop, "no_backend")
	}
	m.recordFragment(p)
	return false
}

// ttlAt is where the TTL or hop limit lies in the IP header.
func ttlAt(v6 bool) int {
	if v6 {
		return 7
	}
	return 8
}

// flowHash hashes what the masks leave of a flow. Its high half picks the slot.
func (m *Model) flowHash(f *flow, mask *masks) uint64 {
	ports := uint32(bits.ReverseBytes16(f.dstPort))<<16 | uint32(bits.ReverseBytes16(f.srcPort))
	return m.hashWords(m.keys[keyStart], f, ports, mask)
}

// fragmentHash hashes what all later fragments of a packet have in common.
func (m *Model) fragmentHash(p *packet) uint64 {
	return m.hashWords(m.keys[fragmentBase], &p.flow, p.ident, &byFlow)
}

func (m *Model) hashWords(h uint64, f *flow, ports uint32, mask *masks) uint64 {
	h += m.keys[keyPorts] * uint64(ports&mask.ports)
	h += m.keys[keyProtocol] * uint64(uint32(f.protocol)&mask.protocol)
	source, dest := addressWords(f.src), addressWords(f.dst)
	if f.src.Is4() {
		h += m.keys[keySource4] * uint64(source[0]&mask.source[0])
		h += m.keys[keyDest4] * uint64(dest[0]&mask.dest)
		return mix64(h)
	}
	for i := range source {
		h += m.keys[keySource6+i] * uint64(source[i]&mask.source[i])
		h += m.keys[keyDest6+i] * uint64(dest[i]&mask.dest)
	}
	return mix64(h)
}

// addressWords are an address's words as they lie, read little-endian. IPv4 has
// one.
func addressWords(addr netip.Addr) (words [4]uint32) {
	if addr.Is4() {
		b := addr.As4()
		words[0] = binary.LittleEndian.Uint32(b[:])
		return words
	}
	b := addr.As16()
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return words
}

// mix64 is MurmurHash3's 64-bit finaliser.
func mix64(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}

const (
	quicVersion1 = 1
	quicVersion2 = 0x6b3343cf
	quicLong     = 0x80
	quicTypeBits = 0x30
	handshakeV1  = 0x20
	handshakeV2  = 0x30
	quicIDAt     = 6 // the ID's offset in a long header
)

// routeQUIC finds the backend that a connection ID names, 0 if none.
func (m *Model) routeQUIC(p *packet) maps.BackendID {
	lengths := &p.service.settings.QUIC
	if *lengths == (maps.ServerIDLengths{}) || maps.Protocol(p.flow.protocol) != maps.UDP || p.later || p.first || p.isError {
		return 0
	}
	udp := p.ip[p.l4:]
	id := connectionID(udp[udpHeader:udpLength(udp)])
	if len(id) == 0 {
		return 0
	}
	rotation := id[0] >> 5
	if int(rotation) >= len(lengths) {
		return 0
	}
	n := int(lengths[rotation])
	if n == 0 || len(id) < 1+n {
		return 0
	}
	chosen := p.service.serverIDs[newServerID(rotation, id[1:1+n])]
	if b := m.backends[chosen]; b == nil || !b.Up || b.Forward == maps.Unresolved {
		return 0
	}
	return chosen
}

// connectionID finds the destination connection ID in a QUIC packet (RFC 9000
// section 17, RFC 9369) that the server chose; nil if there is none. In a short
// header its length is not told.
func connectionID(quic []byte) []byte {
	if len(quic) == 0 {
		return nil
	}
	if quic[0]&quicLong == 0 {
		return quic[1:]
	}
	if len(quic) < quicIDAt {
		return nil
	}
	kind := quic[0] & quicTypeBits
	version := binary.BigEndian.Uint32(quic[1:])
	if !(version == quicVersion1 && kind == handshakeV1 || version == quicVersion2 && kind == handshakeV2) {
		return nil
	}
	length := int(quic[quicIDAt-1])
	if len(quic) < quicIDAt+length {
		return nil
	}
	return quic[quicIDAt : quicIDAt+length]
}
