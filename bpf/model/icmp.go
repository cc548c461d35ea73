package model

import (
	"encoding/binary"
	"net/netip"

	"github.com/xlb-project/xlb/maps"
)

const (
	icmpHeader = 8
	quotedL4   = 8 // bytes of the quoted packet that are needed behind its IP header
	ownTTL     = 64

	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
)

// answerICMP is stage 8: it answers echo requests and finds the flow that an
// error is about.
func (m *Model) answerICMP(p *packet) bool {
	protocol, request := uint8(icmp4), byte(echoRequest4)
	if p.v6 {
		protocol, request = icmp6, echoRequest6
	}
	if p.later || p.flow.protocol != protocol {
		return false
	}
	if p.first {
		return p.end(Drop, "fragment")
	}
	l4 := p.ip[p.l4:]
	if len(l4) < icmpHeader {
		return p.end(Drop, "bad_length")
	}
	if l4[0] == request && l4[1] == 0 {
		return m.answerEcho(p)
	}
	if !isICMPError(p.v6, l4[0]) {
		return p.end(Pass, "no_service")
	}
	quoted, ok := p.quotedFlow(l4[icmpHeader:])
	if !ok {
		return p.end(Drop, "icmp_unmatched")
	}
	p.flow, p.isError = quoted, true
	return false
}

func isICMPError(v6 bool, kind byte) bool {
	if v6 {
		return 1 <= kind && kind <= 4
	}
	return kind == 3 || kind == 4 || kind == 11 || kind == 12
}

// quotedFlow is the flow of the client's packets that the error answers an
// answer to.
func (p *packet) quotedFlow(quote []byte) (flow, bool) {
	header, version := ipv4Header, byte(4)
	if p.v6 {
		header, version = ipv6Header, 6
	}
	if len(quote) < header || quote[0]>>4 != version {
		return flow{}, false
	}
	var f flow
	if p.v6 {
		f = flow{src: netip.AddrFrom16([16]byte(quote[24:])), dst: netip.AddrFrom16([16]byte(quote[8:])), protocol: quote[6]}
	} else {
		header = headerLength(quote)
		if header < ipv4Header || binary.BigEndian.Uint16(quote[6:])&0x1fff != 0 {
			return flow{}, false
		}
		f = flow{src: netip.AddrFrom4([4]byte(quote[16:])), dst: netip.AddrFrom4([4]byte(quote[12:])), protocol: quote[9]}
	}
	known := maps.Protocol(f.protocol) == maps.TCP || maps.Protocol(f.protocol) == maps.UDP
	if !known || len(quote) < header+quotedL4 || f.dst != p.flow.dst {
		return flow{}, false
	}
	f.srcPort = binary.BigEndian.Uint16(quote[header+2:])
	f.dstPort = binary.BigEndian.Uint16(quote[header:])
	return f, true
}

func (m *Model) answerEcho(p *packet) bool {
	switch m.settings.Echo {
	case maps.EchoPass:
		return p.end(Pass, "no_service")
	case maps.EchoDrop:
		return p.end(Drop, "echo_dropped")
	}
	m.out = append(m.out[:0], p.frame...)
	ip := m.out[p.link : p.link+len(p.ip)]
	l4 := ip[p.l4:]
	swap(m.out[:6], m.out[6:12])
	reply := uint16(echoReply4) << 8
	if p.v6 {
		reply = echoReply6 << 8
		swap(ip[8:24], ip[24:40])
		ip[ttlAt(true)] = ownTTL
	} else {
		swap(ip[12:16], ip[16:20])
		setWord(ip[:p.l4], ttlAt(false), ownTTL<<8|uint16(ip[9]), ip[10:])
	}
	setWord(l4, 0, reply, l4[2:])
	p.result = Result{Verdict: TX, Reason: "echo_replied", Frame: m.out}
	return true
}

func swap(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}

const (
	unreachable4, fragmentationNeeded4 = 3, 4
	tooBig6                            = 2
	quote4                             = 520
	quote6                             = 1232
	minMTU6                            = 1280
	dontFragment                       = 0x4000
)

// answerTooBig ends a packet that is longer than mtu, what the way to the
// backend leaves for it.
func (m *Model) answerTooBig(p *packet, mtu int) bool {
	mayFragment := !p.v6 && binary.BigEndian.Uint16(p.ip[6:])&dontFragment == 0
	if p.isError || p.later || mayFragment || !conforms(&m.tooBigTAT, m.settings.TooBig, p.now) {
		return p.end(Drop, "too_big")
	}
	m.out = append(m.out[:0], p.frame[6:12]...)
	m.out = append(m.out, p.frame[:6]...)
	m.out = append(m.out, p.frame[12:p.link]...)
	if p.v6 {
		m.appendTooBig6(p, max(minMTU6, mtu))
	} else {
		m.appendTooBig4(p, mtu)
	}
	p.result = Result{Verdict: TX, Reason: "too_big_answered", Frame: m.out}
	return true
}

func (m *Model) appendTooBig4(p *packet, mtu int) {
	quote := p.ip[:min(len(p.ip), quote4)]
	m.out = appendIPv4(m.out, 0, icmpHeader+len(quote), icmp4, [4]byte(p.ip[16:20]), [4]byte(p.ip[12:16]))
	at := len(m.out)
	m.out = append(m.out, unreachable4, fragmentationNeeded4, 0, 0, 0, 0, byte(mtu>>8), byte(mtu))
	m.out = append(m.out, quote...)
	binary.BigEndian.PutUint16(m.out[at+2:], checksum(m.out[at:], 0))
}

func (m *Model) appendTooBig6(p *packet, mtu int) {
	quote := p.ip[:min(len(p.ip), quote6)]
	header := len(m.out)
	m.out = appendIPv6(m.out, 0, 0, icmpHeader+len(quote), icmp6, [16]byte(p.ip[24:40]), [16]byte(p.ip[8:24]))
	at := len(m.out)
	m.out = append(m.out, tooBig6, 0, 0, 0)
	m.out = binary.BigEndian.AppendUint32(m.out, uint32(mtu))
	m.out = append(m.out, quote...)
	pseudo := pseudoHeader(m.out[header:], len(m.out)-at, icmp6)
	binary.BigEndian.PutUint16(m.out[at+2:], checksum(m.out[at:], pseudo))
}
