package model

import "encoding/binary"

// sum adds b to a ones' complement sum of 16-bit words (RFC 1071), a last odd
// byte as the high half of a word. 64 bits hold the carries of any packet.
func sum(b []byte, start uint64) uint64 {
	for len(b) >= 2 {
		start += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		start += uint64(b[0]) << 8
	}
	return start
}

func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// checksum is the Internet checksum of b, whose checksum field is 0, on top of
// the sum of a pseudo header.
func checksum(b []byte, pseudo uint64) uint16 {
	return ^fold(sum(b, pseudo))
}

// pseudoHeader is the sum of IPv6's pseudo header (RFC 8200, section 8.1), of a
// header whose addresses are in place.
func pseudoHeader(ip6 []byte, length int, protocol uint8) uint64 {
	return sum(ip6[8:ipv6Header], uint64(length)+uint64(protocol))
}

// setWord stores a 16-bit word, which may begin at an odd offset of what the
// checksum covers, and adjusts the checksum (RFC 1624, equation 3).
func setWord(b []byte, at int, value uint16, check []byte) {
	first, last := at&^1, min((at+3)&^1, len(b))
	s := uint64(^binary.BigEndian.Uint16(check)) + uint64(^fold(sum(b[first:last], 0)))
	binary.BigEndian.PutUint16(b[at:], value)
	s += sum(b[first:last], 0)
	binary.BigEndian.PutUint16(check, ^fold(s))
}
