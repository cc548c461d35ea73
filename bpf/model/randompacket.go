package model

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/xlb-project/xlb/maps"
)

const (
	maxFrame = 2000 // bytes of a random packet
	minFrame = ethernetHeader
)

// noise is what payloads are cut from.
var noise = func() (b [2 * maxFrame]byte) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}()

// RandomPacket makes a frame of 14 to 2000 bytes, mostly one that the state's
// services might get, sometimes with mistakes.
func RandomPacket(r *rand.Rand, s *State) []byte {
	return AppendPacket(nil, r, s)
}

// AppendPacket is RandomPacket into a buffer, which should be empty and have room
// for 2000 bytes.
func AppendPacket(buf []byte, r *rand.Rand, s *State) []byte {
	g := generator{r: r, s: s, b: buf, start: len(buf)}
	n := r.IntN(100)
	g.aim()
	if n < 12 {
		g.aimAtQUIC()
	}
	g.addLink()
	switch {
	case n < 12:
		g.addQUIC()
	case n < 52:
		g.addWhole()
	case n < 74:
		g.addFragment()
	case n < 82:
		g.addEcho()
	case n < 95:
		g.addError()
	default:
		g.addIP(uint8(pick(r, others)))
		g.addNoise(r.IntN(60))
	}
	g.finish()
	return g.b
}

var others = []int{0, 1, 4, 41, 43, 44, 47, 50, 51, 58, 59, 60, 132, 255}

// generator builds one frame.
type generator struct {
	r     *rand.Rand
	s     *State
	b     []byte
	start int // of the frame in b
	ip    int // of the IP header in b
	l4    int // of what follows the IP headers in b

	v6         int
	src, dst   netip.Addr
	srcPort    uint16
	dstPort    uint16
	service    maps.ServiceID
	protocol   maps.Protocol
	nextHeader int // where in b the number of the next header goes
}

func (g *generator) chance(percent int) bool { return g.r.IntN(100) < percent }

// aim picks a listener and a client.
func (g *generator) aim() {
	r := g.r
	g.v6 = r.IntN(2)
	g.dst = client(vipBase[g.v6], r.Uint32N(hosts), r.Uint32N(4))
	g.dstPort = uint16(r.Uint32())
	g.protocol = pick(r, []maps.Protocol{maps.TCP, maps.UDP})
	if len(g.s.Listeners) > 0 && g.chance(95) {
		l := pick(r, g.s.Listeners)
		g.dst, g.service, g.protocol = l.VIP.Addr(), l.Service, l.Protocol
		if g.v6 = family(g.dst); !l.VIP.IsSingleIP() {
			g.dst = addLow(g.dst, min(l.VIP.Addr().BitLen()-l.VIP.Bits(), 3), r.Uint32())
		}
		switch r.IntN(20) {
		case 0:
		case 1:
			g.dstPort = l.Last + 1
		case 2:
			g.dstPort = l.First - 1
		case 3:
			g.dstPort = l.Last
		default:
			g.dstPort = l.First + uint16(r.Uint32N(min(uint32(l.Last-l.First), pick(r, []uint32{0, 1, 65535}))+1))
		}
	}
	g.src = client(clientBase[g.v6], 1, 0) // a busy one
	if g.chance(60) {
		g.src = client(clientBase[g.v6], r.Uint32N(hosts), r.Uint32N(4))
	}
	g.srcPort = uint16(r.Uint32())
	if g.chance(30) {
		g.srcPort = busyPort
	}
	if len(g.s.Listeners) > 0 && g.chance(60) {
		g.aimAgain()
	}
}

const busyPort = 4242

// aimAgain picks one of few flows, mostly to the first listeners, so that they
// come again and again.
func (g *generator) aimAgain() {
	l := pick(g.r, g.s.Listeners)
	if g.chance(50) {
		l = g.s.Listeners[g.r.IntN(min(len(g.s.Listeners), 3))]
	}
	g.dst, g.dstPort, g.service, g.protocol = l.VIP.Addr(), l.First, l.Service, l.Protocol
	g.v6 = family(g.dst)
	g.src, g.srcPort = client(clientBase[g.v6], 1, 0), busyPort+uint16(g.r.Uint32N(3))
}

// addLow adds to the lowest bits, which are 0.
func addLow(addr netip.Addr, bits int, n uint32) netip.Addr {
	b := addr.As16()
	b[15] |= byte(n & (1<<bits - 1))
	if addr.Is4() {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return netip.AddrFrom16(b)
}

func (g *generator) addLink() {
	g.addNoise(12)
	for range pick(g.r, []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3}) {
		g.add16(pick(g.r, []uint16{typeCTag, typeSTag}))
		g.add16(uint16(g.r.Uint32()))
	}
	if g.chance(1) {
		g.add16(uint16(g.r.Uint32()))
		return
	}
	g.add16([2]uint16{typeIPv4, typeIPv6}[g.v6])
}

func (g *generator) add16(v uint16)    { g.b = binary.BigEndian.AppendUint16(g.b, v) }
func (g *generator) add(bytes ...byte) { g.b = append(g.b, bytes...) }
func (g *generator) addAddr(a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		g.b = append(g.b, b[:]...)
		return
	}
	b := a.As16()
	g.b = append(g.b, b[:]...)
}

func (g *generator) addNoise(n int) {
	at := g.r.IntN(len(noise) - n)
	g.b = append(g.b, noise[at:at+n]...)
}

// addIP adds the IP header and what may come between it and L4.
func (g *generator) addIP(protocol uint8) {
	g.addIPBetween(g.src, g.dst, protocol)
	if g.v6 == 1 && g.chance(20) {
		g.addExtensions(pick(g.r, []int{1, 1, 1, 2, 3, 5, 6, 7}))
	}
	g.l4 = len(g.b)
}

// addIPBetween adds an IP header alone; IPv4's may have options.
func (g *generator) addIPBetween(src, dst netip.Addr, protocol uint8) {
	r := g.r
	g.ip = len(g.b)
	ttl := byte(2 + r.IntN(254))
	if g.chance(2) {
		ttl = byte(r.IntN(3))
	}
	if g.v6 == 1 {
		g.b = binary.BigEndian.AppendUint32(g.b, 6<<28|r.Uint32()&0xfffffff)
		g.add(0, 0, protocol, ttl)
		g.nextHeader = g.ip + 6
	} else {
		options := 0
		if g.chance(10) {
			options = 1 + r.IntN(10)
		}
		flags := uint16(dontFragment)
		if g.chance(30) {
			flags = 0
		}
		g.add(byte(0x45+options), byte(r.Uint32()), 0, 0, 0, byte(r.IntN(2)), byte(flags>>8), 0, ttl, protocol, 0, 0)
		g.addAddr(src)
		g.addAddr(dst)
		g.addNoise(4 * options)
		return
	}
	g.addAddr(src)
	g.addAddr(dst)
}

// addExtensions puts extension headers between IPv6's and its protocol.
func (g *generator) addExtensions(n int) {
	for range n {
		kind := byte(pick(g.r, []int{hopByHop, destOpts, destOpts, destOpts}))
		switch g.r.IntN(40) {
		case 0:
			kind = routing
		case 1:
			kind = fragment6
		}
		length := g.r.IntN(3)
		if kind == fragment6 {
			length = 0
		}
		next := g.b[g.nextHeader]
		g.b[g.nextHeader] = kind
		g.nextHeader = len(g.b)
		g.add(next, byte(length), 0, 0, 0, 0, 0, byte(g.r.IntN(2)))
		g.addNoise(8 * length)
	}
}

func (g *generator) addWhole() {
	protocol := g.protocol
	if g.chance(15) {
		protocol = pick(g.r, []maps.Protocol{maps.TCP, maps.UDP})
	}
	g.addIP(uint8(protocol))
	if protocol == maps.TCP {
		g.addTCP()
	} else {
		g.addUDP(0)
	}
	g.addPayload()
}

// addTCP adds a header, mostly with options, on a SYN mostly an MSS among them.
func (g *generator) addTCP() {
	r := g.r
	at := len(g.b)
	flags := pick(r, []byte{
		flagSYN, flagSYN, flagSYN, flagACK, flagACK, flagACK, flagSYN | flagACK, flagSYN | 0xc0,
		flagFIN | flagACK, flagRST, flagSYN | flagFIN, byte(r.Uint32()),
	})
	g.add16(g.srcPort)
	g.add16(g.dstPort)
	g.addNoise(8)
	g.add(0x50, flags)
	g.addNoise(6)
	if g.chance(20) {
		return
	}
	for range r.IntN(12) {
		if len(g.b)-at > 56 {
			break
		}
		switch r.IntN(8) {
		case 0, 1, 2, 3:
			g.add(optionNop)
		case 4, 5:
			g.add(optionMSS, mssLength)
			g.add16(uint16(pick(r, []int{536, 1220, 1221, 1400, 1460, 8960, r.IntN(1 << 16)})))
		case 6:
			g.add(3, 3, 7)
		default:
			g.add(byte(r.IntN(9)), byte(r.IntN(5)))
		}
	}
	for (len(g.b)-at)%4 != 0 {
		g.add(pick(r, []byte{optionEnd, optionNop}))
	}
	g.b = g.b[:min(len(g.b), at+60)]
	g.b[at+12] = byte((len(g.b)-at)/4)<<4 | g.b[at+12]&0xf
}

// addUDP adds a header for a payload of that length.
func (g *generator) addUDP(payload int) {
	g.add16(g.srcPort)
	g.add16(g.dstPort)
	g.add16(uint16(udpHeader + payload))
	g.addNoise(2)
}

// addPayload fills the packet up, often to about what just fits a backend.
func (g *generator) addPayload() {
	n := g.r.IntN(64)
	if g.chance(25) {
		n = 1300
		if len(g.s.Backends) > 0 {
			n = g.s.Backends[maps.BackendID(1+g.r.IntN(len(g.s.Backends)))].MTU
		}
		n -= pick(g.r, []int{0, 20, 24, 32, 40, 44, 52}) + g.r.IntN(5) - 2 + len(g.b) - g.ip
	}
	g.addNoise(min(max(n, 0), g.start+maxFrame-len(g.b)))
}

// addFragment adds a fragment of one of few packets, so that those of a packet
// come along, in any order.
func (g *generator) addFragment() {
	r := g.r
	protocol := uint8(g.protocol)
	if g.chance(15) {
		protocol = pick(r, []uint8{6, 17, icmp4, icmp6, 47})
	}
	g.src = client(clientBase[g.v6], r.Uint32N(2), 0)
	offset, more := uint16(0), g.chance(50)
	if g.chance(55) {
		offset = uint16(pick(r, []int{1, 64, 185, 8191, r.IntN(8192)}))
	} else {
		more = g.chance(95)
	}
	ident := byte(r.IntN(2))
	g.addIP(protocol)
	if g.v6 == 0 {
		field := offset | uint16(g.b[g.ip+6]&0x40)<<8
		if more {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(g.b[g.ip+6:], field)
		g.b[g.ip+5] = ident
	} else {
		next := g.b[g.nextHeader]
		g.b[g.nextHeader] = fragment6
		field := offset << 3
		if more {
			field |= 1
		}
		g.nextHeader = len(g.b)
		g.add(next, 0, byte(field>>8), byte(field), 0, 0, 0, ident)
		if g.chance(10) {
			g.addExtensions(1)
		}
		g.l4 = len(g.b)
	}
	if offset == 0 || g.chance(20) {
		if protocol == uint8(maps.TCP) {
			g.addTCP()
		} else {
			g.addUDP(r.IntN(2000))
		}
	}
	g.addPayload()
}
