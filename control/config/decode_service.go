package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"
)

// defaultService returns what holds for a service that says nothing.
func defaultService() Service {
	return Service{Protocols: []Protocol{DefaultProtocol}, Tracking: DefaultTracking}
}

// service reads one service; guePort is the node's.
func (d *decoder) service(n *yaml.Node, path string, guePort uint16) Service {
	s := defaultService()
	s.At = d.place(n)
	ownGUE := false
	last := func() {}
	d.mapping(n, path, wantService,
		field{name: "name", missing: "write one such as name: web", read: text(d, &s.Name, wantName)},
		field{name: "vip", missing: "write the address that clients use, such as vip: 192.0.2.10", read: d.prefix(&s.VIP, wantVIP)},
		field{name: "port", missing: "write the port that clients use, such as port: 80", read: d.ports(&s.Ports)},
		field{name: "protocol", read: d.protocols(&s.Protocols)},
		field{name: "forward", missing: "write forward: " + string(IPIP) + " or forward: " + string(L2), read: known(d, &s.Forward, wantForward)},
		field{name: "gue", read: given(&ownGUE, func(n *yaml.Node, path string) {
			d.mapping(n, path, wantOwnGUE, field{name: "port", missing: "write one such as port: 6080", read: d.port(&s.GUEPort)})
		})},
		field{name: "slots", read: d.number(&s.Slots, wantSlots)},
		field{name: "affinity", read: d.later(&last, func(n *yaml.Node, path string) { d.affinity(n, path, &s) })},
		field{name: "tracking", read: known(d, &s.Tracking, wantTracking)},
		field{name: "slow_start", read: d.duration(&s.SlowStart)},
		field{name: "panic", read: d.number(&s.Panic, wantPanic)},
		field{name: "filter", read: func(n *yaml.Node, path string) { s.Filter = d.filter(n, path) }},
		field{name: "limits", read: func(n *yaml.Node, path string) {
			d.mapping(n, path, wantRates,
				field{name: "new_connections_per_source", read: d.rate(&s.NewConnections)},
				field{name: "packets", read: d.rate(&s.Packets)},
			)
		}},
		field{name: "mss", read: d.bounded(&s.MSS, wantMSS)},
		field{name: "quic", read: func(n *yaml.Node, path string) { s.QUIC = d.quic(n, path) }},
		field{name: "health", read: d.later(&last, func(n *yaml.Node, path string) { s.Health = d.health(n, path, &s) })},
		field{name: "discover", read: d.later(&last, func(n *yaml.Node, path string) { s.Discover = d.discover(n, path, &s) })},
		field{name: "backends", missing: "write backends: [{address: 10.1.0.1}]", unless: "discover", read: d.backends(&s.Backends)},
	)
	last()
	if s.Forward == GUE && !ownGUE {
		s.GUEPort = guePort
	}
	return s
}

func (d *decoder) protocols(to *[]Protocol) read {
	return func(n *yaml.Node, path string) {
		*to = nil
		d.oneOrMore(n, path, wantProtocol.want, func(n *yaml.Node, path string) {
			var p Protocol
			known(d, &p, wantProtocol)(n, path)
			*to = append(*to, p)
		})
	}
}

func (d *decoder) affinity(n *yaml.Node, path string, s *Service) {
	word := d.scalar(wantAffinity.want, Schema{Type: "string", Enum: wantAffinity.words}, func(n *yaml.Node) bool {
		if n.Value == "source" {
			s.Affinity = Affinity{BySource: true, Bits: max(s.VIP.Addr().BitLen(), 0)}
		}
		return slices.Contains(wantAffinity.words, n.Value)
	})
	d.wordOrMapping(n, path, word, func(n *yaml.Node, path string) {
		s.Affinity.BySource = true
		d.mapping(n, path, wantAffinity.want, field{name: "source_prefix",
			missing: "write affinity: flow, source or {source_prefix: 24}", read: d.number(&s.Affinity.Bits, wantBits)})
	})
}

func (d *decoder) filter(n *yaml.Node, path string) *Filter {
	f := &Filter{}
	var allow, deny prefixes
	chosen := false
	d.mapping(n, path, wantFilter,
		field{name: "allow", read: d.prefixes(&allow)},
		field{name: "allow_file", read: d.prefixFile(&allow)},
		field{name: "deny", read: d.prefixes(&deny)},
		field{name: "deny_file", read: d.prefixFile(&deny)},
		field{name: "default", read: given(&chosen, d.either(&f.DefaultDeny, wantFallback))},
	)
	d.atLeastOne(n, path, "the filter has neither allow nor deny", wantFilter.remedy, "allow", "allow_file", "deny", "deny_file")
	if !chosen {
		f.DefaultDeny = !deny.given
	}
	f.Allow, f.Deny = d.merge(path+".allow", allow), d.merge(path+".deny", deny)
	return f
}

// defaultBurst is what may come at once at a rate without a burst.
func defaultBurst(perSecond int) int { return max(perSecond/10, 1) }

func (d *decoder) rate(to **Rate) read {
	return func(n *yaml.Node, path string) {
		r, burst := &Rate{}, false
		d.mapping(n, path, wantRate,
			field{name: "rate", missing: "write a number per second, such as rate: 100", read: d.number(&r.PerSecond, wantPerSecond)},
			field{name: "burst", read: given(&burst, d.number(&r.Burst, wantBurst))},
		)
		if !burst {
			r.Burst = defaultBurst(r.PerSecond)
		}
		*to = r
	}
}

func (d *decoder) quic(n *yaml.Node, path string) (lengths [Rotations]uint8) {
	length, used := 0, []int{0}
	d.mapping(n, path, wantQUIC,
		field{name: "server_id_length", missing: "write one such as server_id_length: 4", read: d.bounded(&length, wantIDLength)},
		field{name: "config_rotation", read: func(n *yaml.Node, path string) {
			used = nil
			d.oneOrMore(n, path, wantRotation.want, func(n *yaml.Node, path string) {
				rotation := -1
				d.bounded(&rotation, wantRotation)(n, path)
				switch {
				case rotation < 0:
				case slices.Contains(used, rotation):
					d.refuse(n, path, fmt.Sprintf("config rotation %d is given twice", rotation), "keep one of them")
				default:
					used = append(used, rotation)
				}
			})
		}},
	)
	for _, r := range used {
		lengths[r] = uint8(length)
	}
	return lengths
}

func (d *decoder) backends(to *[]Backend) read {
	return func(n *yaml.Node, path string) {
		d.list(n, path, wantBackends, func(n *yaml.Node, path string) {
			*to = append(*to, d.backend(n, path))
		})
	}
}

func (d *decoder) backend(n *yaml.Node, path string) Backend {
	b := Backend{Weight: d.weight, At: d.place(n)}
	d.mapping(n, path, wantBackend,
		field{name: "address", missing: "write one such as address: 10.1.0.1", read: d.address(&b.Address)},
		field{name: "weight", read: d.number(&b.Weight, wantWeight)},
		field{name: "name", read: text(d, &b.Name, wantName)},
		field{name: "server_id", read: d.serverID(&b.ServerID)},
		field{name: "mac", read: d.mac(&b.MAC)},
	)
	if b.Name == "" && b.Address.IsValid() {
		b.Name = b.Address.String()
	}
	return b
}
