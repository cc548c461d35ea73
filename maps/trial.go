package maps

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/xlb-project/xlb/bpf"
)

// Trial is a packet, and what a program over the tables must do with it. Trials
// leave nothing behind but counts: they are for services without rate limits, and
// for flows that are not recorded.
type Trial struct {
	Name    string
	Frame   []byte
	Reason  Reason    // why it leaves the pipeline
	Backend BackendID // that it is forwarded to; Reason is Forwarded then
	Link    []byte    // what the frame then begins with
}

// maxTrials bounds the services that are tried.
const maxTrials = 64

// Addresses that trials come from, documentation's and shared ones.
var trialSources = []netip.Addr{
	netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("100.64.0.1"),
	netip.MustParseAddr("2001:db8:ffff::1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("3fff::1"),
}

// Trials makes up packets from what the tables hold: one that is not IP, one that
// is for nobody here, and one for each of the first services.
func (t *Tables) Trials(settings Settings, features Features) []Trial {
	arp := make([]byte, 42)
	binary.BigEndian.PutUint16(arp[12:], 0x0806)
	trials := []Trial{{Name: "an ARP request", Frame: arp, Reason: bpf.ReasonNotIp}}
	vips := t.listed()
	for _, to := range trialSources {
		if to.Is4() && !inVIP(vips, to) {
			trials = append(trials, Trial{Name: "a packet to " + to.String(), Frame: trialFrame(trialSources[0], to, 1024, 9, UDP), Reason: bpf.ReasonNotOurs})
			break
		}
	}
	tried := map[ServiceID]bool{}
	for _, l := range vips {
		if len(tried) == maxTrials {
			break
		}
		if !l.VIP.IsSingleIP() || tried[l.Service] {
			continue
		}
		if trial, ok := t.trial(l, vips, settings, features); ok {
			trials, tried[l.Service] = append(trials, trial), true
		}
	}
	return trials
}

// listed reads the listeners back, those of a VIP one after the other.
func (t *Tables) listed() []Listener {
	var all []Listener
	for _, vip := range t.validVIPs() {
		family, length := vip.Kind&0xff, int(vip.Kind>>8)
		if family == 0 {
			continue
		}
		prefix := netip.PrefixFrom(addrOf(vip.Addr), length)
		if family == 4 {
			prefix = netip.PrefixFrom(addrOf(vip.Addr).Unmap(), length-96)
		}
		for _, p := range t.ports.rows[vip.Ports : vip.Ports+uint32(vip.PortMask)+1] {
			if p.Key != 0 {
				port := wirePort(uint16(p.Key))
				all = append(all, Listener{prefix, port, port, Protocol(p.Key >> 16), ServiceID(p.Service)})
			}
		}
		tcp, both := vip.Ranges+uint32(vip.TcpRanges), vip.Ranges+uint32(vip.TcpRanges)+uint32(vip.UdpRanges)
		for i := vip.Ranges; i < both; i++ {
			r, proto := t.ranges.rows[i], TCP
			if i >= tcp {
				proto = UDP
			}
			all = append(all, Listener{prefix, r.First, r.Last, proto, ServiceID(r.Service)})
		}
	}
	return all
}

func inVIP(listed []Listener, a netip.Addr) bool {
	return slices.ContainsFunc(listed, func(l Listener) bool { return l.VIP.Contains(a) })
}

// trial makes up a packet for a service, unless it would leave traces or what
// becomes of it depends on more than the tables.
func (t *Tables) trial(l Listener, listed []Listener, settings Settings, features Features) (Trial, bool) {
	const stateful = serviceFilter | serviceRates | serviceTrack | serviceBySource
	row, to := &t.services.rows[l.Service], l.VIP.Addr()
	from := slices.IndexFunc(trialSources, func(a netip.Addr) bool { return a.Is4() == to.Is4() && !inVIP(listed, a) })
	if from < 0 || row.Flags&stateful != 0 || to.Is6() && !features.IPv6 || features.NodeRules && t.denies(trialSources[from]) {
		return Trial{}, false
	}
	trial := Trial{Name: fmt.Sprintf("a packet to %s", l), Reason: bpf.ReasonNoBackend}
	table := slotTableOf(row.Table)
	for port := uint16(1024); port < 1024+256; port++ {
		src, dst := netip.AddrPortFrom(trialSources[from], port), netip.AddrPortFrom(to, l.First)
		trial.Frame = trialFrame(src.Addr(), dst.Addr(), port, l.First, l.Protocol)
		if table.size == 0 {
			return trial, true
		}
		slot := t.slot(table, SlotOf(FlowHash(settings.Key, src, dst, l.Protocol), table.size))
		if slot.Transition {
			continue
		}
		if slot.Current != 0 {
			trial.Reason, trial.Backend, trial.Link = t.departure(slot.Current, features)
		}
		return trial, true
	}
	return Trial{}, false
}

// denies tells whether the node's deny list has a source.
func (t *Tables) denies(source netip.Addr) bool {
	var value uint32
	err := t.rules.Lookup(ruleKey(uint32(NodeRules), netip.PrefixFrom(source, source.BitLen())), &value)
	return err == nil && value == ruleDeny
}

// departure says how a packet leaves for a backend.
func (t *Tables) departure(id BackendID, features Features) (Reason, BackendID, []byte) {
	if int(id) >= len(t.backends.rows) {
		return bpf.ReasonNoNextHop, 0, nil
	}
	hop := hopOf(&t.backends.rows[id])
	row := &t.hops.rows[hop]
	able := features.Tunnel4
	switch {
	case Forward(row.Forward) == L2:
		able = features.L2
	case row.Flags&flagOuter6 != 0:
		able = features.Tunnel6
	}
	if !able || hop == 0 {
		return bpf.ReasonNoNextHop, 0, nil
	}
	return Forwarded, id, slices.Clone(row.L2[:row.L2Len])
}

// trialFrame is a UDP datagram without content, or a TCP acknowledgement.
func trialFrame(from, to netip.Addr, source, dest uint16, proto Protocol) []byte {
	const link, ttl, tcpAck = 14, 64, 0x10
	l4 := make([]byte, 8, 20)
	if proto == TCP {
		l4 = l4[:20]
		l4[12], l4[13] = 5<<4, tcpAck
	} else {
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	}
	binary.BigEndian.PutUint16(l4[0:], source)
	binary.BigEndian.PutUint16(l4[2:], dest)
	frame := make([]byte, link, 64+link)
	if from.Is4() {
		binary.BigEndian.PutUint16(frame[12:], etherTypeIPv4)
		ip := [ipv4Header]byte{0: 0x45, 8: ttl, 9: uint8(proto)}
		binary.BigEndian.PutUint16(ip[2:], uint16(ipv4Header+len(l4)))
		copy(ip[12:], from.AsSlice())
		copy(ip[16:], to.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip[:]))
		return append(append(frame, ip[:]...), l4...)
	}
	binary.BigEndian.PutUint16(frame[12:], etherTypeIPv6)
	ip := [ipv6Header]byte{0: 0x60, 6: uint8(proto), 7: ttl}
	binary.BigEndian.PutUint16(ip[4:], uint16(len(l4)))
	copy(ip[8:], from.AsSlice())
	copy(ip[24:], to.AsSlice())
	return append(append(frame, ip[:]...), l4...)
}

// onesSum is the sum of the Internet checksum (RFC 1071).
func onesSum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
