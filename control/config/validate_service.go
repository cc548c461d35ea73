package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// service checks one service by itself.
func (v *validator) service(path string, s *Service, limits Limits) {
	v.name(path+".name", s.Name)
	if !v.vip(path+".vip", s.VIP) {
		without := *s // what else is wrong with this VIP would only follow
		without.VIP = netip.Prefix{}
		s = &without
	}
	v.ports(path, s)
	v.protocols(path+".protocol", s.Protocols)
	v.oneOf(path+".forward", string(s.Forward), wantForward)
	v.gue(path+".gue", s)
	v.slots(path+".slots", s, limits.Slots)
	if s.Affinity.BySource && s.VIP.IsValid() {
		v.between(path+".affinity.source_prefix", s.Affinity.Bits,
			whole("the length of a prefix of "+family(s.VIP.Addr()), "", 0, s.VIP.Addr().BitLen()))
	}
	v.oneOf(path+".tracking", string(s.Tracking), wantTracking)
	v.lasting(path+".slow_start", s.SlowStart, 0, MaxSlowStart)
	v.between(path+".panic", s.Panic, wantPanic)
	if s.Filter != nil {
		v.filter(path+".filter", s.Filter)
	}
	v.rates(path+".limits", s)
	v.mss(path+".mss", s)
	v.quic(path, s)
	if s.Health != nil {
		v.health(path+".health", s)
	}
	v.backends(path, s, limits)
}

func (v *validator) vip(path string, p netip.Prefix) (ok bool) {
	if !p.IsValid() {
		v.fail(path, "the address is missing", wantVIP.remedy)
		return false
	}
	return v.masked(path, p) && v.ordinary(path, p)
}

// ports checks that the ranges of a service are ranges, and keep apart.
func (v *validator) ports(path string, s *Service) {
	if len(s.Ports) == 0 {
		v.fail(path+".port", "the port is missing", wantPorts.remedy)
	}
	var order []int
	for i, r := range s.Ports {
		if v.full() {
			return
		}
		at := portPath(path, s, i)
		switch {
		case r == AnyPort:
			order = append(order, i)
		case r.First == 0:
			v.fail(at, "port 0 is reserved and no client can connect to it", "write 1 to 65535")
		case r.First > r.Last:
			v.fail(at, fmt.Sprintf("%s runs backwards", r), "write "+PortRange{r.Last, r.First}.String())
		default:
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(s.Ports[i].First, s.Ports[j].First) })
	for k := 1; k < len(order); k++ {
		widest, next := order[k-1], order[k]
		if s.Ports[next].First <= s.Ports[widest].Last {
			first, second := min(widest, next), max(widest, next)
			v.fail(portPath(path, s, second), fmt.Sprintf("%s overlaps %s of the same service", s.Ports[second], s.Ports[first]), "write each port once")
			if s.Ports[next].Last < s.Ports[widest].Last {
				order[k] = widest
			}
		}
	}
}

func (v *validator) protocols(path string, list []Protocol) {
	if len(list) == 0 {
		v.fail(path, "the protocol is missing", wantProtocol.remedy)
	}
	for i, p := range list {
		if v.full() {
			return
		}
		at := path
		if len(list) > 1 {
			at = fmt.Sprintf("%s[%d]", path, i)
		}
		v.oneOf(at, string(p), wantProtocol)
		if slices.Contains(list[:i], p) {
			v.fail(at, quote(string(p))+" is given twice", "keep one of them")
		}
	}
}

func (v *validator) gue(path string, s *Service) {
	switch {
	case s.Forward == GUE:
		v.port(path+".port", s.GUEPort, "no tunnel can end there")
	case s.GUEPort != 0:
		v.fail(path, "the service does not forward by gue", "write forward: gue, or remove it")
	}
}

func (v *validator) slots(path string, s *Service, limit int) {
	switch {
	case s.Slots == 0: // chosen from the number of backends
	case s.Slots > limit:
		v.fail(path, fmt.Sprintf("%d is more than limits.slots, %d", s.Slots, limit), "write less or raise limits.slots")
	case s.Slots > MaxTable:
		v.fail(path, fmt.Sprintf("%d is more than one table holds", s.Slots), fmt.Sprintf("write up to %d", MaxTable))
	case s.Slots < len(s.Backends):
		v.fail(path, fmt.Sprintf("%d slots are too few for %d backends", s.Slots, len(s.Backends)),
			"write a prime number of at least 100 for each backend, or remove slots")
	default:
		v.prime(path, s.Slots, min(limit, MaxTable))
	}
}

func (v *validator) filter(path string, f *Filter) {
	v.sources(path+".allow", f.Allow)
	v.sources(path+".deny", f.Deny)
	allowed := make(map[netip.Prefix]int, len(f.Allow))
	for i, p := range f.Allow {
		allowed[p] = i
	}
	for i, p := range f.Deny {
		if j, both := allowed[p]; both && !v.full() {
			other := v.entry(fmt.Sprintf("%s.allow[%d]", path, j))
			at := fmt.Sprintf("%s.deny[%d]", path, i)
			v.fail(at, fmt.Sprintf("%s is allowed as well%s", bare(p), v.inLine(other.Position, v.entry(at).File)), "keep one of them")
		}
	}
}

func (v *validator) rates(path string, s *Service) {
	if r := s.NewConnections; r != nil {
		path := path + ".new_connections_per_source"
		v.rate(path, r)
		if !slices.Contains(s.Protocols, TCP) {
			v.fail(path, "the service has no TCP, and UDP has no connections", "remove it")
		}
	}
	if s.Packets != nil {
		v.rate(path+".packets", s.Packets)
	}
}

func (v *validator) rate(path string, r *Rate) {
	v.between(path+".rate", r.PerSecond, wantPerSecond)
	v.between(path+".burst", r.Burst, wantBurst)
}

func (v *validator) mss(path string, s *Service) {
	if s.MSS != 0 && v.between(path, s.MSS, wantMSS) && !slices.Contains(s.Protocols, TCP) {
		v.fail(path, "the service has no TCP, and UDP has no segments", "remove it")
	}
}

// quic checks the server IDs of a service that routes by them. Other services
// may have some too: a list of backends may be shared.
func (v *validator) quic(path string, s *Service) {
	length, at := 0, path+".quic"
	for r, n := range s.QUIC {
		switch {
		case n == 0:
		case !v.between(at+".server_id_length", int(n), wantIDLength):
			return
		case length != 0 && int(n) != length:
			v.fail(at+".server_id_length", fmt.Sprintf("%d for config rotation %d differs from %d for those before", n, r, length),
				"give all rotations the same length")
			return
		default:
			length = int(n)
		}
	}
	if length == 0 {
		return
	}
	if !slices.Contains(s.Protocols, UDP) {
		v.fail(at, "the service has no UDP, and QUIC needs it", "write protocol: udp, or remove it")
	}
	first := make(map[string]int, len(s.Backends))
	for i, b := range s.Backends {
		if v.full() {
			return
		}
		at := fmt.Sprintf("%s.backends[%d].server_id", path, i)
		other, twice := first[string(b.ServerID)]
		switch {
		case !v.serverID(at, b.ServerID, length):
		case twice:
			v.fail(at, fmt.Sprintf("%x is already the server ID of backends[%d] of this service", b.ServerID, other), "give each its own")
		default:
			first[string(b.ServerID)] = i
		}
	}
}

// serverID checks the server ID of a backend whose service routes by it.
func (v *validator) serverID(path string, id []byte, length int) (ok bool) {
	switch remedy := fmt.Sprintf("write one of %d hexadecimal digits", 2*length); {
	case len(id) == 0:
		v.fail(path, "the server ID is missing, and the service routes by it", remedy)
	case len(id) != length:
		v.fail(path, fmt.Sprintf("%x does not have the %d bytes of quic.server_id_length", id, length), strings.Replace(remedy, "one of ", "", 1))
	default:
		return true
	}
	return false
}
