package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
)

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
		v.probePort(path+".http.port", h.HTTP.Port, s)
	}
	if h.TCP != nil {
		v.probePort(path+".tcp.port", h.TCP.Port, s)
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

// probePort checks the port of a health check.
func (v *validator) probePort(path string, port uint16, s *Service) {
	switch {
	case port != 0:
	case len(s.Protocols) > 0 && !slices.Contains(s.Protocols, TCP):
		v.fail(path, "the service is UDP, so a check over TCP needs a port of its own", "write port: 8080 or alike in the check")
	case len(s.Ports) > 1, len(s.Ports) == 1 && s.Ports[0].First != s.Ports[0].Last:
		v.fail(path, "the service has more than one port, so a check needs a port of its own", "write port: 8080 or alike in the check")
	case len(s.Ports) == 1 && s.Ports[0].First != 0: // else it is the service's port that is wrong
		v.fail(path, "port 0 is reserved and no check can connect to it", "write 1 to 65535, or remove port")
	}
}

// checkPort is the port that health checks of s use unless they name their own;
// 0 if they have to.
func checkPort(s *Service) uint16 {
	if len(s.Ports) != 1 || s.Ports[0].First != s.Ports[0].Last || !slices.Contains(s.Protocols, TCP) {
		return 0
	}
	return s.Ports[0].First
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

func (v *validator) backends(path string, s *Service) {
	if len(s.Backends) == 0 {
		v.fail(path+".backends", "the service has no backend", wantBackends.remedy)
	}
	addresses := make(map[netip.Addr]int, len(s.Backends))
	names := make(map[string]int, len(s.Backends))
	for i := range s.Backends {
		if v.full() {
			return
		}
		b, at := &s.Backends[i], fmt.Sprintf("%s.backends[%d]", path, i)
		v.backendAddress(at+".address", b.Address, s)
		if other, twice := addresses[b.Address]; twice {
			v.fail(at+".address", fmt.Sprintf("%s is already backends[%d] of this service", b.Address, other), "keep one of them")
			continue
		}
		if b.Address.IsValid() {
			addresses[b.Address] = i
			v.backendName(at, b, i, names)
		}
		v.mac(at+".mac", b.MAC)
		v.between(at+".weight", b.Weight, 1, MaxWeight, wantWeight.what)
	}
}

func (v *validator) backendAddress(path string, a netip.Addr, s *Service) {
	switch {
	case !v.unicast(path, a):
	case s.VIP.IsSingleIP() && s.VIP.Addr() == a:
		v.fail(path, fmt.Sprintf("%s is the VIP of the service itself", a), "write the backend's own address")
	case s.VIP.Contains(a):
		v.fail(path, fmt.Sprintf("%s is in the VIP of the service itself, %s", a, s.VIP), "write the backend's own address")
	case s.Forward == L2 && s.VIP.IsValid() && s.VIP.Addr().Is4() != a.Is4():
		v.fail(path, fmt.Sprintf("%s is %s and the VIP is not, and l2 changes no packet's family", a, family(a)),
			fmt.Sprintf("write an %s address, or forward through a tunnel such as ipip", family(s.VIP.Addr())))
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
