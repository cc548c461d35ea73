package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
)

// services checks all services, one by one and against each other.
func (v *validator) services(c *Config, limits Limits) {
	if len(c.Services) > limits.Services {
		v.fail("services", fmt.Sprintf("there are %d services, and limits.services is %d", len(c.Services), limits.Services),
			"raise limits.services")
	}
	names := make(map[string]*Service)
	var listeners, backends, slots, ids int
	rules := v.total("deny", "rules", "source prefixes", 0, len(c.Deny), limits.Rules)
	for i := range c.Services {
		if v.full() {
			return
		}
		s, path := &c.Services[i], fmt.Sprintf("services[%d]", i)
		v.service(path, s, limits)

		if other := names[s.Name]; other != nil {
			v.fail(path+".name", fmt.Sprintf("there is already a service %s%s", s.Name, v.inLine(other.At, s.At.File)), "give each its own name")
		} else if s.Name != "" {
			names[s.Name] = s
		}

		listeners = v.total(path+".port", "listeners", "listeners", listeners, len(s.Ports)*len(s.Protocols), limits.Listeners)
		own := len(s.Backends)
		if r := s.replicas(); r <= limits.Backends {
			own += r
		}
		backends = v.total(path+".backends", "backends", "backends", backends, own, limits.Backends)
		if s.Slots <= limits.Slots {
			slots = v.total(path+".slots", "slots", "slots", slots, max(s.Slots, 0), limits.Slots)
		}
		if s.Filter != nil {
			rules = v.total(path+".filter", "rules", "source prefixes", rules, len(s.Filter.Allow)+len(s.Filter.Deny), limits.Rules)
		}
		rotations := 0
		for _, length := range s.QUIC {
			rotations += min(int(length), 1)
		}
		ids = v.total(path+".quic", "server_ids", "server IDs", ids, rotations*len(s.Backends), limits.ServerIDs)
	}
	v.claims(c.Services)
}

// total adds more to sum and fails where that crosses the limit.
func (v *validator) total(path, limit, what string, sum, more, most int) int {
	if sum <= most && sum+more > most {
		v.fail(path, fmt.Sprintf("up to here there are %d %s, and limits.%s is %d", sum+more, what, limit, most),
			"raise limits."+limit)
	}
	return sum + more
}

// frontend is where clients' packets for a VIP arrive.
type frontend struct {
	vip      netip.Prefix
	protocol Protocol
}

// claim is a port range that a service wants for itself.
type claim struct {
	PortRange
	service, port int
}

// claims checks that of all services of a frontend the narrowest port range
// decides: two ranges either keep apart, or one lies within the other.
func (v *validator) claims(services []Service) {
	claims := make(map[frontend][]claim)
	for i, s := range services {
		for _, protocol := range s.Protocols {
			f := frontend{s.VIP, protocol}
			for j, r := range s.Ports {
				if s.VIP.IsValid() && r.First <= r.Last {
					claims[f] = append(claims[f], claim{r, i, j})
				}
			}
		}
	}
	// A map's order is random, and of two problems in one place the first stays first.
	frontends := make([]frontend, 0, len(claims))
	for f := range claims {
		frontends = append(frontends, f)
	}
	slices.SortFunc(frontends, func(a, b frontend) int {
		return cmp.Or(a.vip.Addr().Compare(b.vip.Addr()), cmp.Compare(a.vip.Bits(), b.vip.Bits()), cmp.Compare(a.protocol, b.protocol))
	})
	for _, f := range frontends {
		v.nested(services, f, claims[f])
	}
}

// nested checks the claims of one frontend. With wide ranges before the narrow
// ones that begin at the same port, a range can partly overlap only if
// it does so with the innermost of those that are still open.
func (v *validator) nested(services []Service, f frontend, claims []claim) {
	slices.SortStableFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(b.Last, a.Last))
	})
	var open []claim
	for _, c := range claims {
		for len(open) > 0 && open[len(open)-1].Last < c.First {
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			if outer := open[len(open)-1]; outer.PortRange == c.PortRange || outer.Last < c.Last {
				v.crossing(services, f, outer, c)
				continue
			}
		}
		open = append(open, c)
	}
}

// crossing records that two ranges of different services are the same or partly
// overlap.
func (v *validator) crossing(services []Service, f frontend, a, b claim) {
	if a.service == b.service {
		return // told about the service itself
	}
	if a.service > b.service {
		a, b = b, a
	}
	first, second := &services[a.service], &services[b.service]
	path := portPath(fmt.Sprintf("services[%d]", b.service), second, b.port)
	if a.PortRange == b.PortRange {
		v.fail(path, fmt.Sprintf("%s:%s/%s already belongs to service %s%s", host(f.vip), b, f.protocol, first.Name, v.inLine(first.At, second.At.File)),
			"change vip, port or protocol, or give the backends to that service")
		return
	}
	v.fail(path, fmt.Sprintf("%s:%s/%s partly overlaps %s of service %s%s", host(f.vip), b, f.protocol, a, first.Name, v.inLine(first.At, second.At.File)),
		"keep them apart, or put one within the other: the narrower one wins")
}

// portPath is the path of a port range of a service.
func portPath(path string, s *Service, i int) string {
	if len(s.Ports) == 1 {
		return path + ".port"
	}
	return fmt.Sprintf("%s.port[%d]", path, i)
}

// inLine says where something is written, if that is known, to a reader of a file.
func (v *validator) inLine(at Position, reading string) string {
	switch {
	case at.Line == 0:
		return ""
	case at.File == reading:
		return fmt.Sprintf(" in line %d", at.Line)
	}
	return fmt.Sprintf(" in line %d of %s", at.Line, filepath.Base(cmp.Or(at.File, v.file)))
}
