package model

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/maps"
)

// Few addresses, so that packets, VIPs and rules meet: clients differ from each
// base in the last byte, IPv6 clients also in their /64.
var (
	vipBase    = [2]netip.Addr{netip.MustParseAddr("192.0.2.0"), netip.MustParseAddr("2001:db8:1::")}
	clientBase = [2]netip.Addr{netip.MustParseAddr("198.51.100.0"), netip.MustParseAddr("2001:db8:ffff::")}
	tunnelBase = [2]netip.Addr{netip.MustParseAddr("10.1.0.0"), netip.MustParseAddr("fd00:1::")}

	vipLengths  = [2][]int{{20, 24, 28, 29, 30, 31, 32, 32, 32}, {48, 64, 120, 124, 127, 128, 128, 128}}
	denyLengths = [2][]int{{24, 30, 31, 32, 32, 32}, {48, 64, 126, 127, 128, 128}}
	ruleLengths = [2][]int{{0, 8, 24, 28, 30, 31, 32, 32}, {0, 32, 48, 64, 64, 126, 128, 128}}
)

const (
	maxInterfaces = 4  // interfaces are 1 to this, and so are keys of the redirect table
	hosts         = 16 // addresses in use above a base
)

// RandomState makes a small state that New accepts. Ranges of ports nest and
// overlap; which is the narrowest is never open.
func RandomState(r *rand.Rand) State {
	s := State{
		Settings:    randomSettings(r),
		Services:    make(map[maps.ServiceID]maps.Service),
		Slots:       make(map[maps.ServiceID][]maps.BackendID),
		Transitions: make(map[maps.ServiceID][]maps.Slot),
		Backends:    make(map[maps.BackendID]maps.Backend),
		Addresses:   make(map[maps.BackendID]netip.Addr),
		Rules:       make(map[maps.ServiceID][]maps.Rule),
		ServerIDs:   make(map[maps.ServiceID][]maps.ServerID),
		Egress:      make(map[uint32]bool),
	}
	for key := uint32(1); key <= maxInterfaces; key++ {
		if r.IntN(4) != 0 {
			s.Egress[key] = true
		}
	}
	var services [2][]maps.ServiceID
	for range 1 + r.IntN(8) {
		v6 := r.IntN(2)
		id := maps.ServiceID(len(s.Services) + 1)
		services[v6] = append(services[v6], id)
		randomService(r, &s, id, v6)
	}
	for v6, ids := range services {
		if len(ids) > 0 {
			for range 1 + r.IntN(4) {
				randomListeners(r, &s, ids, randomPrefix(r, vipBase[v6], vipLengths[v6]))
			}
		}
	}
	for range max(0, r.IntN(6)-3) {
		v6 := r.IntN(2)
		s.NodeDeny = append(s.NodeDeny, randomPrefix(r, clientBase[v6], denyLengths[v6]))
	}
	return s
}

func randomSettings(r *rand.Rand) maps.Settings {
	s := maps.Settings{
		Echo:           maps.EchoPolicy(r.IntN(3)),
		VerifyChecksum: r.IntN(2) == 0,
		PassOrphans:    r.IntN(3) == 0,
		FixedTime:      true,
		FlowIdle:       []time.Duration{0, time.Minute, 10 * time.Minute}[r.IntN(3)],
	}
	if r.IntN(2) == 0 {
		s.Silence = maps.Silence{
			Policy: pick(r, []maps.SilencePolicy{maps.SilencePass, maps.SilenceDrop}),
			After:  pick(r, []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second}),
		}
	}
	for i := range s.Key {
		s.Key[i] = byte(r.Uint32())
	}
	if r.IntN(2) == 0 {
		s.TooBig = randomRate(r)
	}
	return s
}

// randomRate is from a packet in a microsecond to one in some seconds.
func randomRate(r *rand.Rand) maps.Rate {
	interval := time.Microsecond << r.IntN(24)
	return maps.Rate{Interval: interval, Tolerance: interval * time.Duration(r.IntN(20)) / 4}
}

func randomService(r *rand.Rand, s *State, id maps.ServiceID, v6 int) {
	var svc maps.Service
	if r.IntN(3) == 0 {
		svc.BySource = true
		svc.SourceBits = pick(r, [2][]int{{32, 32, 24, 30, 19, 0}, {128, 128, 64, 127, 43, 96, 0}}[v6])
	}
	if r.IntN(4) == 0 {
		svc.NewConnections = randomRate(r)
	}
	if r.IntN(6) == 0 {
		svc.Packets = randomRate(r)
	}
	if r.IntN(3) == 0 {
		svc.MSS = uint16(pick(r, []int{1, 536, 1220, 1400, 1460}))
	}
	backends := randomBackends(r, s, v6)
	if r.IntN(3) == 0 {
		svc.Filter = pick(r, []maps.Filter{maps.AllowOthers, maps.DenyOthers})
		s.Rules[id] = randomRules(r, v6)
	}
	if r.IntN(2) == 0 {
		for i := range svc.QUIC {
			if r.IntN(2) == 0 {
				svc.QUIC[i] = uint8(1 + r.IntN(maxServerID))
			}
		}
		s.ServerIDs[id] = randomServerIDs(r, svc.QUIC, backends)
	}
	svc.TrackAlways = r.IntN(4) == 0
	if r.IntN(2) == 0 {
		svc.Signals, svc.SampleBits = true, pick(r, []int{0, 0, 0, 1, 3})
	}
	randomSlots(r, s, id, backends)
	s.Services[id] = svc
}

func randomSlots(r *rand.Rand, s *State, id maps.ServiceID, backends []maps.BackendID) {
	size := pick(r, []int{0, 1, 2, 7, 13, 13, 13, 101, 101, 101, fewSlots, fewSlots})
	if size == 0 {
		return
	}
	if r.IntN(2) == 0 || size == fewSlots {
		backends = neighbours(backends, pick(r, backends), maps.BackendID(pick(r, []int{1, 2, 14})))
	}
	owners := make([]maps.BackendID, size)
	for i := range owners {
		if r.IntN(20) != 0 {
			owners[i] = pick(r, backends)
		}
	}
	if size == fewSlots && r.IntN(4) != 0 {
		owners = byScores(r, s, backends)
	}
	s.Slots[id] = owners
	if r.IntN(2) == 0 {
		s.Transitions[id] = changedSlots(r, slotsOf(s, id), backends)
		delete(s.Slots, id)
	}
}

// fewSlots has a table whose slots belong to whom they score highest for.
const fewSlots = 4099

// byScores gives every slot to the backend with the highest score of those that reach
// their cutoffs. One has none, the others' are random.
func byScores(r *rand.Rand, s *State, backends []maps.BackendID) []maps.BackendID {
	seeds, cutoffs := make([]uint8, len(backends)), make([]uint32, len(backends))
	for i, b := range backends {
		seeds[i], cutoffs[i] = maps.Seed(s.Addresses[b].String()), r.Uint32N(64)<<26
	}
	cutoffs[r.IntN(len(backends))] = 0
	owners := make([]maps.BackendID, fewSlots)
	for slot := range owners {
		best := uint32(0)
		for i, b := range backends {
			if score := maps.SlotScore(slot, seeds[i]); score >= cutoffs[i] && score >= best {
				best, owners[slot] = score, b
			}
		}
	}
	return owners
}

// neighbours are the backends whose numbers lie so near to one that the tables may
// be kept in another form.
func neighbours(backends []maps.BackendID, first, span maps.BackendID) (near []maps.BackendID) {
	for _, b := range backends {
		if b >= first && b <= first+span {
			near = append(near, b)
		}
	}
	return near
}

func randomRules(r *rand.Rand, v6 int) (rules []maps.Rule) {
	var seen prefixTable[bool]
	for range r.IntN(8) {
		rule := maps.Rule{Source: randomPrefix(r, clientBase[v6], ruleLengths[v6]), Allow: r.IntN(2) == 0}
		if seen.add(rule.Source, true) {
			rules = append(rules, rule)
		}
	}
	return rules
}

func randomServerIDs(r *rand.Rand, lengths maps.ServerIDLengths, backends []maps.BackendID) (ids []maps.ServerID) {
	seen := make(map[serverID]bool)
	for rotation, length := range lengths {
		for range 2 * int(length) {
			id := make([]byte, length)
			id[0] = byte(r.IntN(hosts)) // few IDs of one byte, the longer ones differ at their ends
			id[length-1] = byte(r.IntN(hosts))
			key := newServerID(uint8(rotation), id)
			if !seen[key] {
				seen[key] = true
				ids = append(ids, maps.ServerID{Rotation: uint8(rotation), ID: id, Backend: pick(r, backends)})
			}
		}
	}
	return ids
}

// randomListeners adds a VIP's listeners.
func randomListeners(r *rand.Rand, s *State, services []maps.ServiceID, vip netip.Prefix) {
	for _, protocol := range []maps.Protocol{maps.TCP, maps.UDP} {
		id := pick(r, services)
		for range r.IntN(4) {
			if r.IntN(2) == 0 {
				id = pick(r, services)
			}
			l := maps.Listener{VIP: vip, Protocol: protocol, Service: id}
			l.First, l.Last = randomPorts(r)
			if !isAmbiguous(s, l) {
				s.Listeners = append(s.Listeners, l)
			}
		}
	}
}

func randomPorts(r *rand.Rand) (first, last uint16) {
	switch r.IntN(8) {
	case 0:
		return 0, 65535
	case 1, 2, 3:
		first = pick(r, []uint16{1, 80, 443, 443, 1005, 65535})
		return first, first
	}
	first = uint16(1 + r.IntN(1010))
	return first, first + uint16(1+r.IntN(500))
}

func isAmbiguous(s *State, l maps.Listener) bool {
	for _, other := range s.Listeners {
		if other.VIP == l.VIP && other.Protocol == l.Protocol && other.Last-other.First == l.Last-l.First &&
			other.First <= l.Last && l.First <= other.Last {
			return true
		}
	}
	return false
}

// randomBackends adds backends to the state for one service.
func randomBackends(r *rand.Rand, s *State, v6 int) (ids []maps.BackendID) {
	forwards := pick(r, [][]maps.Forward{{maps.L2}, {maps.IPIP}, {maps.GRE}, {maps.GUE}, {maps.L2, maps.IPIP, maps.GRE, maps.GUE}})
	for range 1 + r.IntN(5) {
		id := maps.BackendID(len(s.Backends) + 1)
		ids = append(ids, id)
		s.Backends[id] = randomBackend(r, pick(r, forwards), v6)
		s.Addresses[id] = host(tunnelBase[r.IntN(2)], r.Uint32())
	}
	return ids
}

func randomBackend(r *rand.Rand, forward maps.Forward, v6 int) maps.Backend {
	b := maps.Backend{IPv6: v6 == 1}
	randomHealth(r, &b)
	if r.IntN(12) == 0 {
		return b
	}
	b.Forward = forward
	b.Ifindex = 1
	if r.IntN(3) == 0 {
		b.Ifindex = 1 + r.IntN(maxInterfaces)
	}
	b.Egress = uint32(b.Ifindex)
	b.MTU = 1280 + r.IntN(321)
	for i := range b.SourceMAC {
		b.SourceMAC[i], b.DestMAC[i] = byte(r.Uint32()), byte(r.Uint32())
	}
	for i := range pick(r, []int{0, 0, 0, 1, 2}) {
		b.Tags[i] = maps.Tag{Type: pick(r, []uint16{typeCTag, typeSTag}), ID: uint16(r.IntN(4096))}
	}
	if forward == maps.L2 {
		return b
	}
	outer := r.IntN(2)
	b.Source, b.Dest = host(tunnelBase[outer], r.Uint32()), host(tunnelBase[outer], r.Uint32())
	switch forward {
	case maps.IPIP:
		b.SourceBits = pick(r, [2][]int{{0, 0, 1, 8, 13, 16, 31}, {0, 0, 1, 8, 13, 31, 32}}[outer])
		b.Source = withoutLowBits(b.Source, b.SourceBits)
	case maps.GUE:
		b.Port = pick(r, []uint16{6080, 1, 65535, uint16(r.Uint32())})
		b.Checksum = outer == 1 && r.IntN(2) == 0
	}
	return b
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func randomPrefix(r *rand.Rand, base netip.Addr, lengths []int) netip.Prefix {
	addr := client(base, r.Uint32N(hosts), r.Uint32N(4))
	return netip.PrefixFrom(addr, pick(r, lengths)).Masked()
}

// host is base with its last three bytes replaced.
func host(base netip.Addr, n uint32) netip.Addr {
	b := base.AsSlice()
	last := b[len(b)-3:]
	last[0], last[1], last[2] = byte(n>>16), byte(n>>8), byte(n)
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// client is base with its last byte replaced, IPv6 in one of some /64.
func client(base netip.Addr, last, subnet uint32) netip.Addr {
	if base.Is4() {
		b := base.As4()
		b[3] = byte(last)
		return netip.AddrFrom4(b)
	}
	b := base.As16()
	b[7], b[15] = byte(subnet), byte(last)
	return netip.AddrFrom16(b)
}

func withoutLowBits(addr netip.Addr, bits int) netip.Addr {
	return netip.PrefixFrom(addr, addr.BitLen()-bits).Masked().Addr()
}
