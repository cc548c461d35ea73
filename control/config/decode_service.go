package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"
)

// service reads one service; guePort is the node's.
func (d *decoder) service(n *yaml.Node, path string, guePort uint16) Service {
	s := Service{Protocols: []Protocol{DefaultProtocol}, Tracking: DefaultTracking, At: position(n)}
	ownGUE := false
	var last []func() // fields whose defaults come from others
	later := func(f func(n *yaml.Node, path string)) read {
		return func(n *yaml.Node, path string) { last = append(last, func() { f(n, path) }) }
	}
	d.mapping(n, path, wantService,
		field{"name", "write one such as name: web", text(d, &s.Name, wantName)},
		field{"vip", "write the address that clients use, such as vip: 192.0.2.10", d.prefix(&s.VIP, wantVIP)},
		field{"port", "write the port that clients use, such as port: 80", d.ports(&s.Ports)},
		field{"protocol", "", d.protocols(&s.Protocols)},
		field{"forward", "write forward: " + string(IPIP) + " or forward: " + string(L2), text(d, &s.Forward, wantForward)},
		field{"gue", "", func(n *yaml.Node, path string) {
			ownGUE = true
			d.mapping(n, path, wantOwnGUE, field{"port", "write one such as port: 6080", d.port(&s.GUEPort)})
		}},
		field{"slots", "", d.number(&s.Slots, wantSlots)},
		field{"affinity", "", later(func(n *yaml.Node, path string) { d.affinity(n, path, &s) })},
		field{"filter", "", func(n *yaml.Node, path string) { s.Filter = d.filter(n, path) }},
		field{"limits", "", func(n *yaml.Node, path string) {
			d.mapping(n, path, wantRates,
				field{"new_connections_per_source", "", d.rate(&s.NewConnections)},
				field{"packets", "", d.rate(&s.Packets)},
			)
		}},
		field{"mss", "", d.bounded(&s.MSS, MinMSS, 1<<16-1, wantMSS)},
		field{"quic", "", func(n *yaml.Node, path string) { s.QUIC = d.quic(n, path) }},
		field{"health", "", later(func(n *yaml.Node, path string) { s.Health = d.health(n, path, &s) })},
		field{"backends", "write backends: [{address: 10.1.0.1}]", d.backends(&s.Backends)},
	)
	for _, f := range last {
		f()
	}
	if s.Forward == GUE && !ownGUE {
		s.GUEPort = guePort
	}
	return s
}

func (d *decoder) protocols(to *[]Protocol) read {
	return func(n *yaml.Node, path string) {
		*to = nil
		d.oneOrMore(n, path, wantProtocol, func(n *yaml.Node, path string) {
			var p Protocol
			text(d, &p, wantProtocol)(n, path)
			*to = append(*to, p)
		})
	}
}

func (d *decoder) affinity(n *yaml.Node, path string, s *Service) {
	n, ok := d.open(n, path, wantAffinity)
	switch {
	case !ok:
	case n.Kind == yaml.MappingNode:
		s.Affinity.BySource = true
		d.mapping(n, path, wantAffinity,
			field{"source_prefix", "write affinity: flow, source or {source_prefix: 24}", d.number(&s.Affinity.Bits, wantBits)})
	case n.Kind == yaml.ScalarNode && n.Value == "source":
		s.Affinity = Affinity{BySource: true, Bits: max(s.VIP.Addr().BitLen(), 0)}
	case n.Kind != yaml.ScalarNode || n.Value != "flow":
		d.fail(n, path, wantAffinity)
	}
}

func (d *decoder) filter(n *yaml.Node, path string) *Filter {
	f := &Filter{}
	var allow, deny prefixes
	chosen := false
	d.mapping(n, path, wantFilter,
		field{"allow", "", d.prefixes(&allow)},
		field{"allow_file", "", d.prefixFile(&allow)},
		field{"deny", "", d.prefixes(&deny)},
		field{"deny_file", "", d.prefixFile(&deny)},
		field{"default", "", func(n *yaml.Node, path string) {
			chosen = true
			d.either(&f.DefaultDeny, "allow", "deny", wantFallback)(n, path)
		}},
	)
	if unread := func(name string) bool { return d.unread[path+name] }; !allow.given && !deny.given &&
		!d.rejected(path) && !slices.ContainsFunc([]string{".allow", ".allow_file", ".deny", ".deny_file"}, unread) {
		d.reject(position(n), path, "the filter has neither allow nor deny", wantFilter.remedy)
	}
	if !chosen {
		f.DefaultDeny = !deny.given
	}
	f.Allow, f.Deny = d.merge(path+".allow", allow), d.merge(path+".deny", deny)
	return f
}

func (d *decoder) rate(to **Rate) read {
	return func(n *yaml.Node, path string) {
		r, burst := &Rate{}, false
		d.mapping(n, path, wantRate,
			field{"rate", "write a number per second, such as rate: 100", d.number(&r.PerSecond, wantPerSecond)},
			field{"burst", "", func(n *yaml.Node, path string) {
				burst = true
				d.number(&r.Burst, wantBurst)(n, path)
			}},
		)
		if !burst {
			r.Burst = max(r.PerSecond/10, 1)
		}
		*to = r
	}
}

func (d *decoder) quic(n *yaml.Node, path string) (lengths [Rotations]uint8) {
	length, used := 0, []int{0}
	d.mapping(n, path, wantQUIC,
		field{"server_id_length", "write one such as server_id_length: 4", d.bounded(&length, 1, MaxServerID, wantIDLength)},
		field{"config_rotation", "", func(n *yaml.Node, path string) {
			used = nil
			d.oneOrMore(n, path, wantRotation, func(n *yaml.Node, path string) {
				rotation := -1
				d.bounded(&rotation, 0, Rotations-1, wantRotation)(n, path)
				switch {
				case rotation < 0:
				case slices.Contains(used, rotation):
					d.reject(position(n), path, fmt.Sprintf("config rotation %d is given twice", rotation), "keep one of them")
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

func (d *decoder) health(n *yaml.Node, path string, s *Service) *Health {
	h := &Health{Target: DefaultTarget, Interval: DefaultInterval, Timeout: DefaultTimeout, Rise: DefaultRise, Fall: DefaultFall}
	d.mapping(n, path, wantHealth,
		field{"http", "", func(n *yaml.Node, path string) { h.HTTP = d.http(n, path, s) }},
		field{"tcp", "", func(n *yaml.Node, path string) {
			h.TCP = &TCPCheck{Port: checkPort(s)}
			d.mapping(n, path, wantTCP, field{"port", "", d.port(&h.TCP.Port)})
		}},
		field{"interval", "", d.duration(&h.Interval)},
		field{"timeout", "", d.duration(&h.Timeout)},
		field{"rise", "", d.number(&h.Rise, wantCount)},
		field{"fall", "", d.number(&h.Fall, wantCount)},
	)
	h.FastInterval = max(h.Interval/4, min(MinInterval, h.Interval))
	return h
}

func (d *decoder) http(n *yaml.Node, path string, s *Service) *HTTPCheck {
	h := &HTTPCheck{Path: DefaultPath, Port: checkPort(s)}
	if a := s.VIP.Addr(); a.Is6() {
		h.Host = "[" + a.String() + "]"
	} else if a.IsValid() {
		h.Host = a.String()
	}
	d.mapping(n, path, wantHTTP,
		field{"path", "", text(d, &h.Path, wantPath)},
		field{"port", "", d.port(&h.Port)},
		field{"host", "", text(d, &h.Host, wantHost)},
		field{"status", "", func(n *yaml.Node, path string) {
			d.oneOrMore(n, path, wantStatus, func(n *yaml.Node, path string) {
				var v int
				d.number(&v, wantStatus)(n, path)
				h.Status = append(h.Status, v)
			})
		}},
	)
	return h
}

func (d *decoder) backends(to *[]Backend) read {
	return func(n *yaml.Node, path string) {
		d.list(n, path, wantBackends, func(n *yaml.Node, path string) {
			*to = append(*to, d.backend(n, path))
		})
	}
}

func (d *decoder) backend(n *yaml.Node, path string) Backend {
	b := Backend{Weight: DefaultWeight, At: position(n)}
	d.mapping(n, path, wantBackend,
		field{"address", "write one such as address: 10.1.0.1", d.address(&b.Address)},
		field{"weight", "", d.number(&b.Weight, wantWeight)},
		field{"name", "", text(d, &b.Name, wantName)},
		field{"server_id", "", d.serverID(&b.ServerID)},
		field{"mac", "", d.mac(&b.MAC)},
	)
	if b.Name == "" && b.Address.IsValid() {
		b.Name = b.Address.String()
	}
	return b
}
