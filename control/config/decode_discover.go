package config

import (
	"cmp"

	"go.yaml.in/yaml/v4"
)

const dnsPort = 53

// discoverKinds are the fields of the sources of backends.
var discoverKinds = []string{"dns", "file", "replicas"}

func (d *decoder) discover(n *yaml.Node, path string, s *Service) *Discover {
	to := &Discover{Weight: DefaultWeight}
	d.mapping(n, path, wantDiscover,
		field{name: "dns", read: func(n *yaml.Node, path string) {
			dns := &DNSSource{Type: defaultRecord(s), MinTTL: DefaultMinTTL, MaxTTL: DefaultMaxTTL}
			d.mapping(n, path, wantDiscoverDNS,
				field{name: "name", missing: "write one such as name: web.example.org", read: text(d, &dns.Name, wantDNSName)},
				field{name: "type", read: known(d, &dns.Type, wantRecord)},
				field{name: "port", read: d.port(&dns.Port)},
				field{name: "server", read: d.server(&dns.Server, dnsPort)},
				field{name: "min_ttl", read: d.duration(&dns.MinTTL)},
				field{name: "max_ttl", read: d.duration(&dns.MaxTTL)},
			)
			to.DNS = dns
		}},
		field{name: "file", read: func(n *yaml.Node, path string) {
			to.File = &FileSource{}
			d.filePath(&to.File.Path, wantBackendFile)(n, path)
		}},
		field{name: "replicas", read: func(n *yaml.Node, path string) {
			r := &Replicas{First: DefaultFirst}
			d.mapping(n, path, wantReplicas,
				field{name: "address", missing: `write one such as address: "10.1.0.{n}"`, read: text(d, &r.Address, wantTemplate)},
				field{name: "name", read: text(d, &r.Name, wantTemplate)},
				field{name: "first", read: d.number(&r.First, wantFirst)},
				field{name: "count", missing: "write one such as count: 3", read: d.number(&r.Count, wantReplicaCount)},
			)
			r.Name = cmp.Or(r.Name, r.Address)
			to.Replicas = r
		}},
		field{name: "allow_empty", read: d.boolean(&to.AllowEmpty)},
		field{name: "weight", read: d.number(&to.Weight, wantWeight)},
	)
	d.exactlyOne(n, path, "the source of backends", wantDiscover.remedy, discoverKinds)
	return to
}

// defaultRecord is the type of DNS records that are addresses of the VIP's family.
func defaultRecord(s *Service) string {
	if s.VIP.Addr().Is6() {
		return "AAAA"
	}
	return "A"
}
