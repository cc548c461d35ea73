package model

import (
	"encoding/binary"

	"github.com/xlb-project/xlb/maps"
)

// aimAtQUIC aims again, unless the listener is one that routes QUIC, a few times.
func (g *generator) aimAtQUIC() {
	for range 8 {
		if g.protocol == maps.UDP && len(g.s.ServerIDs[g.service]) > 0 {
			return
		}
		g.aim()
	}
}

// addQUIC adds what a QUIC client sends, mostly with a connection ID that the
// service knows.
func (g *generator) addQUIC() {
	r := g.r
	id := make([]byte, 0, 32)
	if servers := g.s.ServerIDs[g.service]; len(servers) > 0 && g.chance(90) {
		server := pick(r, servers)
		id = append(id, server.Rotation<<5|byte(r.IntN(32)))
		id = append(id, server.ID...)
	} else {
		id = append(id, byte(r.Uint32()))
	}
	at := r.IntN(len(noise) - 8)
	id = append(id, noise[at:at+r.IntN(8)]...)
	if g.chance(10) {
		id = id[:r.IntN(len(id)+1)]
	}
	long := g.chance(50)
	payload := 1 + len(id)
	tail := r.IntN(20)
	if long {
		payload = quicIDAt + len(id)
	}
	g.addIP(uint8(maps.UDP))
	g.addUDP(payload + tail)
	if long {
		kind := pick(r, []byte{0x00, handshakeV1, handshakeV1, handshakeV1, handshakeV2, handshakeV2})
		version := pick(r, []uint32{quicVersion1, quicVersion1, quicVersion2, 0, r.Uint32()})
		g.add(0xc0 | kind)
		g.b = binary.BigEndian.AppendUint32(g.b, version)
		g.add(byte(len(id)))
	} else {
		g.add(0x40)
	}
	g.add(id...)
	g.addNoise(tail)
}

func (g *generator) addEcho() {
	kind := [2]byte{echoRequest4, echoRequest6}[g.v6]
	if g.chance(20) {
		kind = byte(g.r.Uint32())
	}
	code := byte(0)
	if g.chance(10) {
		code = byte(g.r.IntN(3))
	}
	protocol := [2]uint8{icmp4, icmp6}[g.v6]
	if g.chance(5) {
		protocol = [2]uint8{icmp6, icmp4}[g.v6]
	}
	g.addIP(protocol)
	g.add(kind, code)
	g.addNoise(g.r.IntN(64))
}

// addError adds an ICMP error about a flow to the listener.
func (g *generator) addError() {
	r := g.r
	quoted := g.src
	if g.chance(50) { // a router on the way to the client
		g.src = client(clientBase[g.v6], r.Uint32N(hosts), r.Uint32N(4))
	}
	g.addIP([2]uint8{icmp4, icmp6}[g.v6])
	outer, l4, next := g.ip, g.l4, g.nextHeader
	if g.v6 == 1 {
		g.add(pick(r, []byte{1, 2, 3, 4, 5}))
	} else {
		g.add(pick(r, []byte{3, 3, 4, 5, 11, 12}))
	}
	g.add(byte(r.IntN(8)))
	g.addNoise(6)
	src := g.dst
	if g.chance(5) {
		src = g.src
	}
	protocol := uint8(g.protocol)
	if g.chance(15) {
		protocol = pick(r, []uint8{6, 17, icmp4, fragment6})
	}
	g.addIPBetween(src, quoted, protocol)
	if g.v6 == 0 && g.chance(5) {
		g.b[g.ip+7] = byte(r.IntN(2))
	}
	g.add16(g.dstPort)
	g.add16(g.srcPort)
	g.addNoise(4 + r.IntN(20))
	if g.chance(10) {
		g.addPayload()
	}
	if g.chance(10) {
		g.b = g.b[:len(g.b)-r.IntN(len(g.b)-l4)]
	}
	g.ip, g.l4, g.nextHeader = outer, l4, next
}
