package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// minTTL is the shortest time between questions for one DNS name.
const minTTL = time.Second

// discover checks where backends are found; addresses and names are those of the
// backends that are listed.
func (v *validator) discover(path string, s *Service, addresses map[netip.Addr]int, names map[string]int, limits Limits) {
	d, kinds := s.Discover, 0
	if d.DNS != nil {
		kinds++
		v.dnsSource(path+".dns", d.DNS, s)
	}
	if d.File != nil {
		kinds++
		if !plainPath(d.File.Path) {
			v.fail(path+".file", quote(d.File.Path)+" is not an absolute path", "write one such as /etc/xlb/backends.yaml")
		}
	}
	if d.Replicas != nil {
		kinds++
		v.replicas(path+".replicas", s, addresses, names, limits)
	}
	v.one(kinds, path, "source of backends", wantDiscover.remedy, discoverKinds)
	v.between(path+".weight", d.Weight, wantWeight)
	if d.File == nil && s.QUIC != [Rotations]uint8{} {
		v.fail(path, "the service routes by server ID, and backends that are found this way have none", "write discover: {file: backends.yaml}, or remove quic")
	}
}

func (v *validator) dnsSource(path string, d *DNSSource, s *Service) {
	if !dnsName(d.Name) {
		v.fail(path+".name", quote(d.Name)+" is not "+wantDNSName.what, wantDNSName.remedy)
	}
	if v.oneOf(path+".type", d.Type, wantRecord) && s.Forward == L2 && s.VIP.IsValid() && d.Type != "SRV" && d.Type != defaultRecord(s) {
		v.fail(path+".type", d.Type+" records are not of the VIP's family, and l2 changes no packet's family",
			"write "+defaultRecord(s)+", or forward through a tunnel such as ipip")
	}
	if d.Port != 0 && d.Type != "SRV" {
		v.fail(path+".port", "only SRV records name ports", "write type: SRV, or remove port")
	}
	if d.Server.IsValid() && (d.Server.Port() == 0 || d.Server.Addr().IsUnspecified()) {
		v.fail(path+".server", d.Server.String()+" is not "+wantServer.what, wantServer.remedy)
	}
	v.lasting(path+".min_ttl", d.MinTTL, minTTL, MaxTTL)
	if d.MaxTTL < d.MinTTL {
		v.fail(path+".max_ttl", fmt.Sprintf("%s is shorter than min_ttl, %s", spanText(d.MaxTTL), spanText(d.MinTTL)), "write more, or less for min_ttl")
		return
	}
	v.lasting(path+".max_ttl", d.MaxTTL, minTTL, MaxTTL)
}

// replicas is the number of backends that the service's template stands for.
func (s *Service) replicas() int {
	if s.Discover == nil || s.Discover.Replicas == nil {
		return 0
	}
	return max(s.Discover.Replicas.Count, 0)
}

const numeral = "{n}"

// Backends returns the backends that the template stands for, each of the given
// weight. One whose address is none has no address.
func (r Replicas) Backends(weight int) []Backend {
	backends := make([]Backend, 0, max(r.Count, 0))
	for i := range r.Count {
		n := strconv.Itoa(r.First + i)
		b := Backend{Name: strings.ReplaceAll(r.Name, numeral, n), Weight: weight}
		b.Address, _ = netip.ParseAddr(strings.ReplaceAll(r.Address, numeral, n))
		if r.Name == "" || r.Name == r.Address {
			b.Name = b.Address.String()
		}
		backends = append(backends, b)
	}
	return backends
}

func (v *validator) replicas(path string, s *Service, addresses map[netip.Addr]int, names map[string]int, limits Limits) {
	r := s.Discover.Replicas
	for _, template := range []struct{ field, text string }{{"address", r.Address}, {"name", r.Name}} {
		if !strings.Contains(template.text, numeral) {
			v.fail(path+"."+template.field, quote(template.text)+" is not "+wantTemplate.what, wantTemplate.remedy)
			return
		}
	}
	if !v.between(path+".first", r.First, wantFirst) ||
		!v.between(path+".count", r.Count, wantNumber{wantReplicaCount.want, 1, limits.Backends}) {
		return
	}
	for i, b := range r.Backends(DefaultWeight) {
		before := len(v.list)
		if !b.Address.IsValid() {
			text := strings.ReplaceAll(r.Address, numeral, strconv.Itoa(r.First+i))
			v.fail(path+".address", fmt.Sprintf("replica %d would have %s, which is not %s", r.First+i, quote(text), wantAddress.what), wantTemplate.remedy)
		} else {
			v.backendAddress(path+".address", b.Address, s)
			if b.Name != b.Address.String() {
				v.name(path+".name", b.Name)
			}
			if other, twice := addresses[b.Address]; twice {
				v.fail(path+".address", fmt.Sprintf("%s is already backends[%d] of this service", b.Address, other), "keep one of them")
			} else if other, twice := names[b.Name]; twice {
				v.fail(path+".name", fmt.Sprintf("%s is already the name of backends[%d] of this service", b.Name, other), "give each its own name")
			}
		}
		if len(v.list) > before { // the others are alike
			return
		}
	}
}
