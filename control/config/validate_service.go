package config

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// frontend is what a client addresses: one service alone may answer there.
type frontend struct {
	address  netip.AddrPort
	protocol Protocol
}

// services checks all services, one by one and against each other.
func (v *validator) services(c *Config, limits Limits) {
	if len(c.Services) > limits.Services {
		v.fail("services", fmt.Sprintf("there are %d services, and limits.services is %d", len(c.Services), limits.Services),
			"raise limits.services")
	}
	names := make(map[string]*Service)
	frontends := make(map[frontend]*Service)
	backends, slots := 0, 0
	for i := range c.Services {
		if v.full() {
			return
		}
		s, path := &c.Services[i], fmt.Sprintf("services[%d]", i)
		v.service(path, s, limits)

		if other := names[s.Name]; other != nil {
			v.fail(path+".name", fmt.Sprintf("there is already a service %s%s", s.Name, inLine(other.At)), "give each its own name")
		} else if s.Name != "" {
			names[s.Name] = s
		}

		f := frontend{netip.AddrPortFrom(s.VIP, s.Port), s.Protocol}
		if other := frontends[f]; other != nil {
			v.fail(path+".vip", fmt.Sprintf("%s/%s already belongs to service %s%s", f.address, f.protocol, other.Name, inLine(other.At)),
				"change vip, port or protocol, or give the backends to that service")
		} else if s.VIP.IsValid() && s.Port != 0 {
			frontends[f] = s
		}

		backends = v.total(path+".backends", "backends", backends, len(s.Backends), limits.Backends)
		slots = v.total(path+".slots", "slots", slots, max(s.Slots, 0), limits.Slots)
	}
}

// total adds more to sum and fails where that crosses the limit.
func (v *validator) total(path, what string, sum, more, limit int) int {
	if sum <= limit && more <= limit && sum+more > limit {
		v.fail(path, fmt.Sprintf("up to here the services have %d %s, and limits.%s is %d", sum+more, what, what, limit),
			"raise limits."+what)
	}
	return sum + more
}

// service checks one service by itself.
func (v *validator) service(path string, s *Service, limits Limits) {
	v.name(path+".name", s.Name)
	v.unicast(path+".vip", s.VIP)
	if s.Port == 0 {
		v.fail(path+".port", "port 0 is reserved and no client can connect to it", "write 1 to 65535")
	}
	v.oneOf(path+".protocol", string(s.Protocol), wantProtocol, string(TCP), string(UDP))
	v.oneOf(path+".forward", string(s.Forward), wantForward, string(IPIP), string(L2))
	v.slots(path+".slots", s, limits.Slots)
	if s.Health != nil {
		v.health(path, s)
	}
	v.backends(path, s, limits.Backends)
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

func (v *validator) health(path string, s *Service) {
	h, path := s.Health, path+".health"
	switch {
	case h.HTTP != nil && h.TCP != nil:
		v.fail(path, "both http and tcp are given", "keep one of them")
	case h.HTTP == nil && h.TCP == nil:
		v.fail(path, "the kind of check is missing", "write http: {path: /healthz} or tcp: {}")
	}
	if h.HTTP != nil {
		v.http(path+".http", h.HTTP, s)
		v.checkPort(path+".http.port", h.HTTP.Port, s)
	}
	if h.TCP != nil {
		v.checkPort(path+".tcp.port", h.TCP.Port, s)
	}
	if h.Interval < MinInterval {
		v.fail(path+".interval", fmt.Sprintf("%s is too short an interval", h.Interval), fmt.Sprintf("write at least %s", MinInterval))
	}
	switch {
	case h.Timeout <= 0:
		v.fail(path+".timeout", fmt.Sprintf("%s leaves no time to answer", h.Timeout), "write one such as 1s")
	case h.Timeout > MaxTimeout:
		v.fail(path+".timeout", fmt.Sprintf("%s is too long", h.Timeout), fmt.Sprintf("write at most %s", MaxTimeout))
	}
	v.between(path+".rise", h.Rise, 1, MaxThreshold, wantCount.what)
	v.between(path+".fall", h.Fall, 1, MaxThreshold, wantCount.what)
}

// checkPort checks the port of a health check.
func (v *validator) checkPort(path string, port uint16, s *Service) {
	switch {
	case port != 0:
	case s.Protocol == UDP:
		v.fail(path, "the service is UDP, so a check over TCP needs a port of its own", "write port: 8080 or alike in the check")
	case s.Port != 0: // else it is the service's port that is wrong
		v.fail(path, "port 0 is reserved and no check can connect to it", "write 1 to 65535, or remove port")
	}
}

func (v *validator) http(path string, h *HTTPCheck, s *Service) {
	odd := func(r rune) bool { return r <= ' ' || r > unicode.MaxASCII || r == 0x7f }
	if !strings.HasPrefix(h.Path, "/") || strings.ContainsFunc(h.Path, odd) || strings.Contains(h.Path, "#") {
		v.fail(path+".path", quote(h.Path)+" is not "+wantPath.what,
			"begin it with / and write no space, # or letter beyond ASCII")
	}
	notHost := func(r rune) bool { return odd(r) || strings.ContainsRune(`/\@?#"<>`, r) }
	if s.VIP.IsValid() && (h.Host == "" || len(h.Host) > maxHostHeader || strings.ContainsFunc(h.Host, notHost)) {
		v.fail(path+".host", quote(h.Host)+" is not "+wantHost.what, wantHost.remedy)
	}
	for i, status := range h.Status {
		if v.full() {
			return
		}
		v.between(fmt.Sprintf("%s.status[%d]", path, i), status, 100, 599, wantStatus.what)
	}
}

func (v *validator) backends(path string, s *Service, limit int) {
	if len(s.Backends) == 0 {
		v.fail(path+".backends", "the service has no backend", wantBackends.remedy)
	}
	if len(s.Backends) > limit {
		v.fail(path+".backends", fmt.Sprintf("there are %d backends, and limits.backends is %d", len(s.Backends), limit),
			"raise limits.backends")
	}
	addresses := make(map[netip.Addr]int, len(s.Backends))
	names := make(map[string]int, len(s.Backends))
	for i := range s.Backends {
		if v.full() {
			return
		}
		b, at := &s.Backends[i], fmt.Sprintf("%s.backends[%d]", path, i)
		v.unicast(at+".address", b.Address)
		if other, twice := addresses[b.Address]; twice {
			v.fail(at+".address", fmt.Sprintf("%s is already backends[%d] of this service", b.Address, other), "keep one of them")
			continue
		}
		if b.Address.IsValid() {
			if b.Address == s.VIP {
				v.fail(at+".address", fmt.Sprintf("%s is the VIP of the service itself", b.Address), "write the backend's own address")
			}
			addresses[b.Address] = i
			v.backendName(at, b, i, names)
		}
		v.between(at+".weight", b.Weight, 1, MaxWeight, wantWeight.what)
	}
}

func (v *validator) backendName(path string, b *Backend, i int, names map[string]int) {
	if b.Name != b.Address.String() { // the default, which may hold the colons of IPv6
		v.name(path+".name", b.Name)
	}
	if other, twice := names[b.Name]; twice {
		v.fail(path+".name", fmt.Sprintf("%s is already the name of backends[%d] of this service", b.Name, other), "give each its own name")
		return
	}
	names[b.Name] = i
}

// inLine says where something is written, if that is known.
func inLine(at Position) string {
	if at.Line == 0 {
		return ""
	}
	return fmt.Sprintf(" in line %d", at.Line)
}
