package explain

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/xlb-project/xlb/maps"
)

// Hex is bytes that JSON writes as hexadecimal digits.
type Hex []byte

// MarshalText returns two digits for each byte.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText reads what MarshalText writes.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

// flow is whom a frame says that it is from and to. It is for people: what the
// data path makes of a frame, damaged ones above all, the data path alone knows.
type flow struct {
	link         []byte // the Ethernet header, if there is one
	etherType    uint16
	src, dst     netip.Addr // invalid if it is no IP packet
	protocol     uint8
	fragment     bool // a later one, without ports
	ports        bool
	sport, dport uint16
}

const (
	ethernetHeader = 14
	typeVLAN       = 0x8100
	typeQinQ       = 0x88a8
	typeIPv4       = 0x0800
	typeIPv6       = 0x86dd
	hopByHop       = 0
	fragment6      = 44
	icmp4          = 1
	icmp6          = 58
	destOpts       = 60
	maxHeaders     = 6
)

func readFlow(frame []byte) (f flow) {
	if len(frame) < ethernetHeader {
		return f
	}
	f.link = frame[:ethernetHeader]
	f.etherType = binary.BigEndian.Uint16(frame[12:])
	rest := frame[ethernetHeader:]
	for tags := 0; tags < 2 && len(rest) >= 4 && (f.etherType == typeVLAN || f.etherType == typeQinQ); tags++ {
		f.etherType = binary.BigEndian.Uint16(rest[2:])
		rest = rest[4:]
	}
	switch {
	case f.etherType == typeIPv4 && len(rest) >= 20:
		rest = f.readIPv4(rest)
	case f.etherType == typeIPv6 && len(rest) >= 40:
		rest = f.readIPv6(rest)
	default:
		return f
	}
	if p := maps.Protocol(f.protocol); (p == maps.TCP || p == maps.UDP) && !f.fragment && len(rest) >= 4 {
		f.ports, f.sport, f.dport = true, binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	}
	return f
}

func (f *flow) readIPv4(ip []byte) (rest []byte) {
	f.src, f.dst = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
	f.protocol = ip[9]
	f.fragment = binary.BigEndian.Uint16(ip[6:])&0x1fff != 0
	return ip[min(len(ip), max(20, int(ip[0]&0xf)*4)):]
}

func (f *flow) readIPv6(ip []byte) (rest []byte) {
	f.src, f.dst = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
	f.protocol = ip[6]
	rest = ip[40:]
	for range maxHeaders {
		length := 8
		switch f.protocol {
		case hopByHop, destOpts:
			if len(rest) >= 2 {
				length = 8 + int(rest[1])*8
			}
		case fragment6:
			f.fragment = len(rest) >= 4 && binary.BigEndian.Uint16(rest[2:])&0xfff8 != 0
		default:
			return rest
		}
		if len(rest) < length {
			return nil
		}
		f.protocol, rest = rest[0], rest[length:]
		if f.fragment {
			return nil
		}
	}
	return nil
}

// destination is where the packet wants to, with port 0 and protocol 0 if it
// does not tell.
func (f flow) destination() (netip.AddrPort, maps.Protocol) {
	if !f.ports {
		return netip.AddrPortFrom(f.dst, 0), 0
	}
	return netip.AddrPortFrom(f.dst, f.dport), maps.Protocol(f.protocol)
}

// strings writes both ends, and the protocol.
func (f flow) strings() (src, dst, protocol string) {
	switch {
	case f.link == nil:
		return "", "", ""
	case !f.src.IsValid():
		return net.HardwareAddr(f.link[6:12]).String(), net.HardwareAddr(f.link[:6]).String(), fmt.Sprintf("%#04x", f.etherType)
	}
	protocol = map[uint8]string{uint8(maps.TCP): "tcp", uint8(maps.UDP): "udp", icmp4: "icmp", icmp6: "icmpv6"}[f.protocol]
	if protocol == "" {
		protocol = "protocol " + strconv.Itoa(int(f.protocol))
	}
	if f.fragment {
		protocol += " fragment"
	}
	if !f.ports {
		return f.src.String(), f.dst.String(), protocol
	}
	return netip.AddrPortFrom(f.src, f.sport).String(), netip.AddrPortFrom(f.dst, f.dport).String(), protocol
}
