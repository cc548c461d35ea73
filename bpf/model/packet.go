package model

import (
	"encoding/binary"
	"net/netip"

	"github.com/xlb-project/xlb/maps"
)

const (
	ethernetHeader = 14
	vlanTag        = 4
	maxTags        = 2
	ipv4Header     = 20
	ipv6Header     = 40
	tcpHeader      = 20
	udpHeader      = 8
	maxExtensions  = 6
	maxPacket      = 65535

	typeIPv4  = 0x0800
	typeIPv6  = 0x86dd
	typeCTag  = 0x8100
	typeSTag  = 0x88a8
	hopByHop  = 0
	icmp4     = 1
	inIPv4    = 4
	inIPv6    = 41
	routing   = 43
	fragment6 = 44
	gre       = 47
	icmp6     = 58
	destOpts  = 60
)

// packet is what the stages know of one packet.
type packet struct {
	frame   []byte // as it came
	ifindex int
	now     int64 // ns

	link int // bytes of the Ethernet header and its tags
	kind uint16
	v6   bool
	ip   []byte // from the IP header to the packet's end, without the frame's padding
	l4   int    // offset of what follows the IP headers
	tos  uint8  // IPv6: traffic class
	vip  *vip

	later, first bool   // fragments; neither is a whole packet
	ident        uint32 // of the fragment: as it lies, read little-endian

	flow      flow
	isError   bool // an ICMP error, and flow is that of the packet it quotes
	service   *service
	recorded  bool // the backend comes from a fragment record
	backendID maps.BackendID
	hash      uint64

	result Result
}

// flow is whom the packet is from and to.
type flow struct {
	src, dst         netip.Addr
	srcPort, dstPort uint16
	protocol         uint8
}

// end decides the packet, whose frame is left as it came.
func (p *packet) end(verdict Verdict, reason string) bool {
	p.result = Result{Verdict: verdict, Reason: reason, Frame: p.frame}
	return true
}

// readLink is stage 1.
func (p *packet) readLink() bool {
	p.link = ethernetHeader
	for range maxTags {
		if len(p.frame) < p.link {
			return p.end(Pass, "not_ip")
		}
		if kind := p.typeField(); kind != typeCTag && kind != typeSTag {
			break
		}
		p.link += vlanTag
	}
	if len(p.frame) < p.link {
		return p.end(Pass, "not_ip")
	}
	p.kind = p.typeField()
	if p.kind != typeIPv4 && p.kind != typeIPv6 {
		return p.end(Pass, "not_ip")
	}
	p.v6 = p.kind == typeIPv6
	return false
}

// typeField is the last two bytes of the link header.
func (p *packet) typeField() uint16 {
	return binary.BigEndian.Uint16(p.frame[p.link-2:])
}

// readIP is stage 2.
func (p *packet) readIP() bool {
	header, version := ipv4Header, byte(4)
	if p.v6 {
		header, version = ipv6Header, 6
	}
	ip := p.frame[p.link:]
	if len(ip) < header || ip[0]>>4 != version {
		return p.end(Pass, "malformed")
	}
	p.ip = ip
	if p.v6 {
		p.tos = ip[0]<<4 | ip[1]>>4
		p.flow = flow{src: netip.AddrFrom16([16]byte(ip[8:])), dst: netip.AddrFrom16([16]byte(ip[24:])), protocol: ip[6]}
		return false
	}
	p.tos = ip[1]
	p.flow = flow{src: netip.AddrFrom4([4]byte(ip[12:])), dst: netip.AddrFrom4([4]byte(ip[16:])), protocol: ip[9]}
	return false
}

// readLength is the first check of stage 4. It cuts the padding off.
func (p *packet) readLength() bool {
	length := ipv6Header + int(binary.BigEndian.Uint16(p.ip[4:]))
	p.l4 = ipv6Header
	if !p.v6 {
		length = int(binary.BigEndian.Uint16(p.ip[2:]))
		p.l4 = headerLength(p.ip)
		if p.l4 < ipv4Header || length < p.l4 {
			return p.end(Drop, "bad_length")
		}
	}
	if len(p.ip) < length {
		return p.end(Drop, "bad_length")
	}
	p.ip = p.ip[:length]
	return false
}

// headerLength is IPv4's, in bytes.
func headerLength(ip4 []byte) int { return int(ip4[0]&0xf) * 4 }

// readExtensions is stage 5, IPv4's fragment fields included.
func (p *packet) readExtensions() bool {
	offset, more := 0, false
	if !p.v6 {
		field := binary.BigEndian.Uint16(p.ip[6:])
		offset, more = int(field&0x1fff)*8, field&0x2000 != 0
		p.ident = uint32(binary.LittleEndian.Uint16(p.ip[4:]))
	}
	fragmented := false
walk:
	for walked := 0; p.v6; walked++ {
		rest := p.ip[p.l4:]
		switch p.flow.protocol {
		case routing:
			return p.end(Pass, "extension_headers")
		case hopByHop, destOpts, fragment6:
		default:
			break walk
		}
		if walked == maxExtensions || fragmented && p.flow.protocol == fragment6 {
			return p.end(Pass, "extension_headers")
		}
		length := 8
		if len(rest) >= length && p.flow.protocol != fragment6 {
			length = (int(rest[1]) + 1) * 8
		}
		if len(rest) < length {
			return p.end(Drop, "bad_length")
		}
		if p.flow.protocol == fragment6 {
			fragmented = true
			field := binary.BigEndian.Uint16(rest[2:])
			offset, more = int(field&^7), field&1 != 0
			p.ident = binary.LittleEndian.Uint32(rest[4:])
		}
		p.flow.protocol = rest[0]
		p.l4 += length
		if offset != 0 {
			break
		}
	}
	p.later, p.first = offset != 0, offset == 0 && more
	if p.later && offset+len(p.ip)-p.l4 > maxPacket {
		return p.end(Drop, "bad_length")
	}
	return false
}
