package config

import (
	"fmt"
	"net/netip"
)

// source checks the outer source addresses of tunnels.
func (v *validator) source(s Source) {
	for _, one := range []struct {
		path, family  string
		address       netip.Addr
		prefix        netip.Prefix
		shortest, end int // bits of the prefix; all of an address are one more
	}{
		{"ipv4", "IPv4", s.IPv4, s.IPIPv4, 8, 31},
		{"ipv6", "IPv6", s.IPv6, s.IPIPv6, 96, 127},
	} {
		if path := "source." + one.path; one.address.IsValid() && v.unicast(path, one.address) && family(one.address) != one.family {
			v.fail(path, fmt.Sprintf("%s is not an %s address", one.address, one.family), "write an "+one.family+" address")
		}
		path, p := "source.ipip_"+one.path, one.prefix
		switch {
		case !p.IsValid() || !v.masked(path, p) || !v.ordinary(path, p):
		case family(p.Addr()) != one.family:
			v.fail(path, fmt.Sprintf("%s is not an %s prefix", bare(p), one.family), "write an "+one.family+" prefix")
		case p.Bits() < one.shortest || p.Bits() > one.end:
			v.fail(path, fmt.Sprintf("%s does not leave 1 to %d bits to vary", bare(p), one.end+1-one.shortest),
				fmt.Sprintf("write a prefix of /%d to /%d", one.shortest, one.end))
		}
	}
}

// sources checks a list of prefixes that clients' addresses are held against.
func (v *validator) sources(path string, list []netip.Prefix) {
	for i, p := range list {
		if v.full() {
			return
		}
		v.masked(fmt.Sprintf("%s[%d]", path, i), p)
	}
}

// masked checks that a prefix is written as one.
func (v *validator) masked(path string, p netip.Prefix) (ok bool) {
	switch a := p.Addr(); {
	case !p.IsValid():
		v.fail(path, "the prefix is missing", wantPrefix.remedy)
	case a.Is4In6() && p.Bits() >= mapped:
		v.fail(path, fmt.Sprintf("%s is IPv4 written as IPv6", bare(p)), "write "+bare(netip.PrefixFrom(a.Unmap(), p.Bits()-mapped)))
	case p != p.Masked():
		v.fail(path, fmt.Sprintf("%s has bits set behind its length", p), fmt.Sprintf("write %s, or %s for the one address", p.Masked(), a))
	default:
		return true
	}
	return false
}

// mapped is the length of the prefix of IPv4 addresses in IPv6, ::ffff:0:0/96.
const mapped = 96

// special are the prefixes whose addresses belong to no single host that can be
// reached through a router.
var special = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "the unspecified addresses"},
	{netip.MustParsePrefix("127.0.0.0/8"), "the loopback addresses"},
	{netip.MustParsePrefix("224.0.0.0/4"), "the multicast addresses"},
	{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address"},
	{netip.MustParsePrefix("::/128"), "the unspecified address"},
	{netip.MustParsePrefix("::1/128"), "the loopback address"},
	{netip.MustParsePrefix("fe80::/10"), "the link-local addresses"},
	{netip.MustParsePrefix("ff00::/8"), "the multicast addresses"},
}

// ordinary checks that a prefix holds addresses of hosts alone.
func (v *validator) ordinary(path string, p netip.Prefix) (ok bool) {
	for _, s := range special {
		switch {
		case !p.Overlaps(s.prefix):
			continue
		case p.IsSingleIP():
			what := "is " + s.what
			if !s.prefix.IsSingleIP() {
				what = fmt.Sprintf("is one of %s, %s", s.what, s.prefix)
			}
			v.fail(path, bare(p)+" "+what, "write the unicast address of a machine, such as 10.1.0.1")
		default:
			v.fail(path, fmt.Sprintf("%s overlaps %s, %s", p, s.what, bare(s.prefix)), "write a prefix of unicast addresses")
		}
		return false
	}
	return true
}

// unicast checks an address that packets are sent to or from.
func (v *validator) unicast(path string, a netip.Addr) (ok bool) {
	if !a.IsValid() {
		v.fail(path, "the address is missing", wantAddress.remedy)
		return false
	}
	p := netip.PrefixFrom(a, a.BitLen())
	return v.masked(path, p) && v.ordinary(path, p)
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func (v *validator) mac(path string, m MAC) {
	if group := m[0]&1 != 0; group {
		v.fail(path, fmt.Sprintf("%s is an address of a group", m), wantMAC.remedy)
	}
}
