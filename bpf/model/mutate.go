package model

import "encoding/binary"

// finish fills in the lengths, adds padding, and makes mistakes.
func (g *generator) finish() {
	length := len(g.b) - g.ip
	if g.v6 == 1 {
		binary.BigEndian.PutUint16(g.b[g.ip+4:], uint16(length-ipv6Header))
	} else {
		binary.BigEndian.PutUint16(g.b[g.ip+2:], uint16(length))
	}
	if udp := g.b[g.l4:]; g.carried() == 17 && len(udp) >= udpHeader && udpLength(udp) == udpHeader && g.chance(90) {
		binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	}
	if g.chance(15) {
		g.addNoise(min(g.r.IntN(50), g.start+maxFrame-len(g.b)))
	}
	wrong := g.chance(25)
	if !wrong {
		g.fixChecksum()
		return
	}
	for range 1 + g.r.IntN(3) {
		g.mutate()
	}
	if g.chance(60) {
		g.fixChecksum()
	}
}

// carried is the protocol that the last header before L4 names.
func (g *generator) carried() byte {
	if g.v6 == 1 {
		return g.b[g.nextHeader]
	}
	return g.b[g.ip+9]
}

// fixChecksum makes IPv4's header checksum right, where there is a header.
func (g *generator) fixChecksum() {
	if g.v6 == 1 || len(g.b) < g.ip+ipv4Header {
		return
	}
	header := g.b[g.ip:]
	header = header[:min(len(header), max(ipv4Header, headerLength(header)))]
	header[10], header[11] = 0, 0
	binary.BigEndian.PutUint16(header[10:], checksum(header, 0))
}

// mutate makes one mistake. Earlier ones may have cut the frame short.
func (g *generator) mutate() {
	r := g.r
	frame := g.b[g.start:]
	switch r.IntN(12) {
	case 0:
		frame[r.IntN(len(frame))] ^= 1 << r.IntN(8)
	case 1:
		frame[r.IntN(min(len(frame), 100))] = byte(r.Uint32())
	case 2:
		g.b = g.b[:g.start+minFrame+r.IntN(len(frame)-minFrame+1)]
	case 3:
		g.b = g.b[:max(g.start+minFrame, len(g.b)-r.IntN(20))]
	case 4:
		g.addNoise(min(r.IntN(80), g.start+maxFrame-len(g.b)))
	case 5:
		g.mutateLength()
	case 6:
		g.mutateAddresses()
	case 7:
		g.set(g.ip+ttlAt(g.v6 == 1), byte(r.IntN(3)))
	case 8:
		g.set(g.ip, byte(r.Uint32()))
	case 9: // IPv4's fragment fields, IPv6's next header
		g.set(g.ip+6, byte(pick(r, []int{hopByHop, 6, 17, routing, fragment6, icmp6, 0x20, 0x40, 0x60, r.IntN(256)})))
	case 10: // TCP's data offset, UDP's length, an error's quoted header
		g.set(g.l4+pick(r, []int{0, 1, 4, 5, 8, 12, 13, 14, 17, 20}), byte(r.Uint32()))
	case 11:
		g.set(g.l4+r.IntN(60), byte(r.Uint32()))
	}
}

// set changes a byte, if it is there.
func (g *generator) set(at int, value byte) {
	if at < len(g.b) {
		g.b[at] = value
	}
}

func (g *generator) mutateLength() {
	at := g.ip + 2
	if g.v6 == 1 {
		at = g.ip + 4
	}
	if at+2 > len(g.b) {
		return
	}
	length := binary.BigEndian.Uint16(g.b[at:])
	switch g.r.IntN(4) {
	case 0:
		length += uint16(1 + g.r.IntN(8))
	case 1:
		length -= uint16(1 + g.r.IntN(40))
	case 2:
		length = uint16(g.r.IntN(64))
	default:
		length = uint16(g.r.Uint32())
	}
	binary.BigEndian.PutUint16(g.b[at:], length)
}

// mutateAddresses makes packets that no honest client sends.
func (g *generator) mutateAddresses() {
	at, size := g.ip+12, 4
	if g.v6 == 1 {
		at, size = g.ip+8, 16
	}
	if at+2*size > len(g.b) {
		return
	}
	src, dst := g.b[at:at+size], g.b[at+size:at+2*size]
	switch g.r.IntN(4) {
	case 0:
		swap(src, dst)
	case 1:
		copy(src, dst)
	case 2:
		copy(src, dst)
		src[size-1] ^= byte(g.r.IntN(4))
	default:
		src[0] = pick(g.r, []byte{0, 127, 223, 224, 255, byte(g.r.Uint32())})
	}
}
