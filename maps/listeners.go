package maps

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

func (l Listener) String() string {
	ports := fmt.Sprintf("%d-%d", l.First, l.Last)
	if l.First == l.Last {
		ports = fmt.Sprint(l.First)
	}
	if l.VIP.IsSingleIP() {
		return fmt.Sprintf("%s port %s/%s", l.VIP.Addr(), ports, l.Protocol)
	}
	return fmt.Sprintf("%s port %s/%s", l.VIP, ports, l.Protocol)
}

// interval is a port range of one VIP and protocol with its service.
type interval struct {
	first, last uint16
	service     ServiceID
}

// resolved is what a VIP's packets mean, with what it takes over from shorter
// prefixes: disjoint intervals in order.
type resolved struct {
	vip      netip.Prefix
	tcp, udp []interval
}

// resolve works out for every VIP which service has which port: a longer prefix
// wins over a shorter one, within a VIP the narrower range over the wider.
func resolve(listeners []Listener) []resolved {
	byVIP := map[netip.Prefix][]Listener{}
	for _, l := range listeners {
		byVIP[l.VIP.Masked()] = append(byVIP[l.VIP.Masked()], l)
	}
	vips := make([]netip.Prefix, 0, len(byVIP))
	for vip, own := range byVIP {
		vips = append(vips, vip)
		slices.SortStableFunc(own, func(a, b Listener) int { return cmp.Compare(width(b), width(a)) })
	}
	// shortest first, so that whatever contains a VIP comes before it
	slices.SortFunc(vips, func(a, b netip.Prefix) int {
		return cmp.Or(cmp.Compare(a.Bits(), b.Bits()), a.Addr().Compare(b.Addr()))
	})
	var out []resolved
	at := map[netip.Prefix]int{}
	for _, vip := range vips {
		r := resolved{vip: vip}
		if i, ok := parent(vip, at); ok {
			r.tcp, r.udp = slices.Clone(out[i].tcp), slices.Clone(out[i].udp)
		}
		for _, l := range byVIP[vip] {
			if l.Protocol == TCP {
				r.tcp = paint(r.tcp, interval{l.First, l.Last, l.Service})
			} else {
				r.udp = paint(r.udp, interval{l.First, l.Last, l.Service})
			}
		}
		at[vip] = len(out)
		out = append(out, r)
	}
	return out
}

func width(l Listener) int { return int(l.Last) - int(l.First) }

// parent finds the longest known prefix that contains a VIP and is not it.
func parent(vip netip.Prefix, known map[netip.Prefix]int) (int, bool) {
	for bits := vip.Bits() - 1; bits >= 0; bits-- {
		p, err := vip.Addr().Prefix(bits)
		if err != nil {
			return 0, false
		}
		if i, ok := known[p]; ok {
			return i, true
		}
	}
	return 0, false
}

// paint puts an interval over disjoint ones.
func paint(under []interval, top interval) []interval {
	var out []interval
	for _, u := range under {
		if u.last < top.first || u.first > top.last {
			out = append(out, u)
			continue
		}
		if u.first < top.first {
			out = append(out, interval{u.first, top.first - 1, u.service})
		}
		if u.last > top.last {
			out = append(out, interval{top.last + 1, u.last, u.service})
		}
	}
	out = append(out, top)
	slices.SortFunc(out, func(a, b interval) int { return cmp.Compare(a.first, b.first) })
	return out
}

// fragmentService returns the only service in the intervals if it hashes by
// source alone: then later fragments, which have no ports, are its.
func fragmentService(intervals []interval, bySource func(ServiceID) bool) (ServiceID, bool) {
	if len(intervals) == 0 {
		return 0, false
	}
	only := intervals[0].service
	for _, i := range intervals {
		if i.service != only {
			return 0, false
		}
	}
	return only, bySource(only)
}
