package model

import (
	"encoding/binary"

	"github.com/xlb-project/xlb/maps"
)

const (
	greHeader    = 4
	gueHeader    = udpHeader + 4
	gueFirstPort = 0xc000
	gueHashBits  = 0x3fff

	optionEnd  = 0
	optionNop  = 1
	optionMSS  = 2
	mssLength  = 4
	maxOptions = 10
)

// rewrite is stages 13 and 14.
func (m *Model) rewrite(p *packet) bool {
	b := m.backends[p.backendID]
	if b == nil || b.Forward == maps.Unresolved {
		return p.end(Drop, "no_next_hop")
	}
	if mtu := b.MTU - overhead(b); len(p.ip) > mtu {
		return m.answerTooBig(p, mtu)
	}
	m.watch(p)
	m.appendLink(p, b)
	tunnel := len(m.out)
	if b.Forward != maps.L2 {
		m.appendOuter(p, b)
	}
	at := len(m.out)
	m.out = append(m.out, p.frame[p.link:]...)
	inner := m.out[at : at+len(p.ip)]
	clampMSS(p, inner)
	decrementTTL(p, inner)
	if b.Forward == maps.GUE && b.Checksum && !b.Source.Is4() {
		udp := tunnel + ipv6Header
		fillUDPChecksum(m.out[tunnel:udp], m.out[udp:at+len(p.ip)])
	}
	return m.emit(p, b)
}

// emit is stage 14.
func (m *Model) emit(p *packet, b *maps.Backend) bool {
	p.result = Result{Verdict: TX, Reason: "forwarded", Backend: p.backendID, Frame: m.out}
	if b.Ifindex == p.ifindex {
		return true
	}
	if _, ok := m.egress[b.Egress]; !ok {
		p.result = Result{Verdict: Drop, Reason: "no_egress", Frame: m.out}
		return true
	}
	p.result.Verdict = Redirect
	return true
}

// overhead is what a tunnel adds to a packet, in bytes.
func overhead(b *maps.Backend) int {
	if b.Forward == maps.L2 {
		return 0
	}
	length := ipv6Header
	if b.Source.Is4() {
		length = ipv4Header
	}
	switch b.Forward {
	case maps.GRE:
		length += greHeader
	case maps.GUE:
		length += gueHeader
	}
	return length
}

func (m *Model) appendLink(p *packet, b *maps.Backend) {
	m.out = append(m.out[:0], b.DestMAC[:]...)
	m.out = append(m.out, b.SourceMAC[:]...)
	for _, tag := range b.Tags {
		if tag.Type != 0 {
			m.out = binary.BigEndian.AppendUint16(m.out, tag.Type)
			m.out = binary.BigEndian.AppendUint16(m.out, tag.ID)
		}
	}
	kind := p.kind
	if b.Forward != maps.L2 {
		kind = typeIPv6
		if b.Source.Is4() {
			kind = typeIPv4
		}
	}
	m.out = binary.BigEndian.AppendUint16(m.out, kind)
}

// appendOuter puts the outer IP header and the tunnel's own, a UDP checksum still
// 0.
func (m *Model) appendOuter(p *packet, b *maps.Backend) {
	inner := byte(inIPv4)
	if p.v6 {
		inner = inIPv6
	}
	protocol := inner
	var header []byte
	length := len(p.ip)
	switch b.Forward {
	case maps.GRE:
		protocol = gre
		length += greHeader
		header = []byte{0, 0, byte(p.kind >> 8), byte(p.kind)}
	case maps.GUE:
		protocol = uint8(maps.UDP)
		length += gueHeader
		port := gueFirstPort | uint16(p.hash&gueHashBits)
		header = []byte{byte(port >> 8), byte(port), byte(b.Port >> 8), byte(b.Port), byte(length >> 8), byte(length), 0, 0, 0, inner, 0, 0}
	}
	if b.Source.Is4() {
		source := b.Source.As4()
		varySource(source[:], p.hash, b.SourceBits)
		m.out = appendIPv4(m.out, p.tos, length, protocol, source, b.Dest.As4())
	} else {
		source := b.Source.As16()
		varySource(source[12:], p.hash, b.SourceBits)
		m.out = appendIPv6(m.out, p.tos, uint32(p.hash>>12)&0xfffff, length, protocol, source, b.Dest.As16())
	}
	m.out = append(m.out, header...)
}

// varySource sets the low bits of an address's last four bytes from the hash.
func varySource(last []byte, hash uint64, bits int) {
	mask := uint32(uint64(1)<<bits - 1)
	var low, kept [4]byte
	binary.LittleEndian.PutUint32(low[:], uint32(hash))
	binary.BigEndian.PutUint32(kept[:], mask)
	for i := range last {
		last[i] |= low[i] & kept[i]
	}
}

// appendIPv4 puts a header without options before a payload of that length.
func appendIPv4(b []byte, tos uint8, payload int, protocol uint8, src, dst [4]byte) []byte {
	at := len(b)
	b = append(b, 0x45, tos)
	b = binary.BigEndian.AppendUint16(b, uint16(ipv4Header+payload))
	b = append(b, 0, 0, dontFragment>>8, 0, ownTTL, protocol, 0, 0)
	b = append(b, src[:]...)
	b = append(b, dst[:]...)
	binary.BigEndian.PutUint16(b[at+10:], checksum(b[at:], 0))
	return b
}

// appendIPv6 puts a header before a payload of that length.
func appendIPv6(b []byte, class uint8, label uint32, payload int, protocol uint8, src, dst [16]byte) []byte {
	b = binary.BigEndian.AppendUint32(b, 6<<28|uint32(class)<<20|label)
	b = binary.BigEndian.AppendUint16(b, uint16(payload))
	b = append(b, protocol, ownTTL)
	b = append(b, src[:]...)
	return append(b, dst[:]...)
}

// fillUDPChecksum is RFC 768's over IPv6: 0 would say that there is none.
func fillUDPChecksum(ip6, udp []byte) {
	value := checksum(udp, pseudoHeader(ip6, len(udp), uint8(maps.UDP)))
	if value == 0 {
		value = 0xffff
	}
	binary.BigEndian.PutUint16(udp[6:], value)
}

func decrementTTL(p *packet, ip []byte) {
	if p.v6 {
		ip[ttlAt(true)]--
		return
	}
	at := ttlAt(false)
	setWord(ip[:ipv4Header], at, binary.BigEndian.Uint16(ip[at:])-1<<8, ip[10:])
}

// clampMSS lowers the MSS of a SYN.
func clampMSS(p *packet, ip []byte) {
	if p.isError || p.later || p.service.settings.MSS == 0 || maps.Protocol(p.flow.protocol) != maps.TCP {
		return
	}
	tcp := ip[p.l4:]
	if tcp[tcpFlags]&flagSYN == 0 {
		return
	}
	end := min(dataOffset(tcp), len(tcp)) // in a first fragment the header may be cut
	at := tcpHeader
	for range maxOptions {
		if at >= end || tcp[at] == optionEnd {
			return
		}
		if tcp[at] == optionNop {
			at++
			continue
		}
		if at+2 > end || tcp[at+1] < 2 || at+int(tcp[at+1]) > end {
			return
		}
		length := int(tcp[at+1])
		if tcp[at] == optionMSS && length == mssLength {
			if binary.BigEndian.Uint16(tcp[at+2:]) > p.service.settings.MSS {
				setWord(tcp, at+2, p.service.settings.MSS, tcp[16:])
			}
			return
		}
		at += length
	}
}
