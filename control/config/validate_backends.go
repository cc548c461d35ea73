package config

import (
	"fmt"
	"net/netip"
)

// backends checks a service's backends, and where it finds others.
func (v *validator) backends(path string, s *Service, limits Limits) {
	if len(s.Backends) == 0 && s.Discover == nil {
		v.fail(path+".backends", "the service has no backend", wantBackends.remedy)
	}
	addresses, names := v.distinct(path+".backends", s.Backends, s)
	if s.Discover != nil {
		v.discover(path+".discover", s, addresses, names, limits)
	}
}

// distinct checks a list of backends of s, and returns who has which address and name.
func (v *validator) distinct(path string, list []Backend, s *Service) (addresses map[netip.Addr]int, names map[string]int) {
	addresses = make(map[netip.Addr]int, len(list))
	names = make(map[string]int, len(list))
	for i := range list {
		if v.full() {
			break
		}
		b, at := &list[i], fmt.Sprintf("%s[%d]", path, i)
		other, twice := addresses[b.Address]
		if twice {
			v.fail(at+".address", fmt.Sprintf("%s is already backends[%d] of this service", b.Address, other), "keep one of them")
			continue
		}
		v.backend(at, b, s)
		if !b.Address.IsValid() {
			continue
		}
		addresses[b.Address] = i
		if other, twice := names[b.Name]; twice {
			v.fail(at+".name", fmt.Sprintf("%s is already the name of backends[%d] of this service", b.Name, other), "give each its own name")
			continue
		}
		names[b.Name] = i
	}
	return addresses, names
}

// backend checks one backend of s.
func (v *validator) backend(path string, b *Backend, s *Service) {
	v.backendAddress(path+".address", b.Address, s)
	if b.Address.IsValid() && b.Name != b.Address.String() { // the default, which may hold the colons of IPv6
		v.name(path+".name", b.Name)
	}
	v.mac(path+".mac", b.MAC)
	v.between(path+".weight", b.Weight, wantWeight)
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
