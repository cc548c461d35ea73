package config

import (
	"net/netip"

	"go.yaml.in/yaml/v4"
)

// What each kind of value is called, and how it is written.
var (
	wantFile       = want{"a mapping of fields", "write fields such as interfaces: [eth0]"}
	wantInterfaces = want{"a list of interfaces", "write interfaces: [eth0]"}
	wantInterface  = want{"the name of an interface", "write one such as eth0"}
	wantMode       = want{"an XDP mode", "write native or generic"}
	wantKey        = want{"a hash key", "write 32 hexadecimal digits in quotes"}
	wantMetrics    = want{"a mapping", `write metrics: {listen: "` + DefaultMetricsListen + `"}`}
	wantListen     = want{"an address with a port", `write one such as "` + DefaultMetricsListen + `", or off`}
	wantAPI        = want{"a mapping", "write api: {socket: " + DefaultAPISocket + "}"}
	wantSocket     = want{"the path of a socket", "write one such as " + DefaultAPISocket}
	wantSource     = want{"a mapping", "write source: {ipv4: 10.0.0.1}"}
	wantAddress    = want{"an IP address", "write one such as 10.1.0.1, without port or prefix length"}
	wantLimits     = want{"a mapping", "write limits: {services: 1024, backends: 16384, slots: 4194304}"}
	wantLimit      = want{"a number of entries", "write a whole number such as 1024, without quotes"}
	wantServices   = want{"a list of services", `begin each service with "- name: ..."`}
	wantService    = want{"a mapping of the fields of a service", `begin it with "- name: ..."`}
	wantName       = want{"a name", "write one such as web-1"}
	wantPort       = want{"a port", "write 1 to 65535, without quotes"}
	wantProtocol   = want{"a protocol", "write tcp or udp"}
	wantForward    = want{"a forwarding mode", "write ipip or l2"}
	wantSlots      = want{"a number of slots", "write a prime number such as 65537, without quotes"}
	wantHealth     = want{"a mapping", "write health: {http: {path: /healthz}} or {tcp: {}}"}
	wantHTTP       = want{"a mapping", "write http: {path: /healthz}"}
	wantTCP        = want{"a mapping", "write tcp: {} or tcp: {port: 80}"}
	wantPath       = want{"a path", "write one such as /healthz"}
	wantHost       = want{"a host name", "write one such as example.org"}
	wantStatus     = want{"an HTTP status", "write one such as 200, or a list of them"}
	wantDuration   = want{"a duration", "write a number with its unit such as 2s or 500ms"}
	wantCount      = want{"a number of checks", "write 1 to 100, without quotes"}
	wantBackends   = want{"a list of backends", "write backends: [{address: 10.1.0.1}]"}
	wantBackend    = want{"a mapping of the fields of a backend", "write {address: 10.1.0.1}"}
	wantWeight     = want{"a weight", "write 1 to 1000, without quotes"}
)

// decode reads the document into a configuration. Only what is written is
// judged here: unknown, missing and repeated fields, and values of another type.
func decode(p *problems, doc *yaml.Node) *Config {
	d := &decoder{problems: p}
	c := &Config{
		File:     p.file,
		XDPMode:  DefaultXDPMode,
		HashKey:  defaultHashKey(),
		Metrics:  Metrics{netip.MustParseAddrPort(DefaultMetricsListen)},
		API:      API{DefaultAPISocket},
		Limits:   Limits{DefaultServices, DefaultBackends, DefaultSlots},
		Services: []Service{},
	}
	d.mapping(doc, "", wantFile,
		field{"interfaces", "write interfaces: [eth0]", d.interfaces(&c.Interfaces)},
		field{"xdp_mode", "", text(d, &c.XDPMode, wantMode)},
		field{"hash_key", "", d.key(&c.HashKey)},
		field{"metrics", "", d.metrics(&c.Metrics)},
		field{"api", "", d.api(&c.API)},
		field{"source", "", d.source(&c.Source)},
		field{"limits", "", d.limits(&c.Limits)},
		field{"services", "write a list of them, or services: []", d.services(&c.Services)},
	)
	return c
}

func (d *decoder) interfaces(to *[]Interface) read {
	return func(n *yaml.Node, path string) {
		d.list(n, path, wantInterfaces, func(n *yaml.Node, path string) {
			i := Interface{At: position(n)}
			text(d, &i.Name, wantInterface)(n, path)
			*to = append(*to, i)
		})
	}
}

func (d *decoder) metrics(to *Metrics) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantMetrics, field{"listen", "", d.listen(&to.Listen)})
	}
}

func (d *decoder) api(to *API) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantAPI, field{"socket", "", text(d, &to.Socket, wantSocket)})
	}
}

func (d *decoder) source(to *Source) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantSource, field{"ipv4", "", d.address(&to.IPv4)})
	}
}

func (d *decoder) limits(to *Limits) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantLimits,
			field{"services", "", d.number(&to.Services, wantLimit)},
			field{"backends", "", d.number(&to.Backends, wantLimit)},
			field{"slots", "", d.number(&to.Slots, wantLimit)},
		)
	}
}

func (d *decoder) services(to *[]Service) read {
	return func(n *yaml.Node, path string) {
		d.list(n, path, wantServices, func(n *yaml.Node, path string) {
			*to = append(*to, d.service(n, path))
		})
	}
}

func (d *decoder) service(n *yaml.Node, path string) Service {
	s := Service{Protocol: DefaultProtocol, At: position(n)}
	var health func()
	d.mapping(n, path, wantService,
		field{"name", "write one such as name: web", text(d, &s.Name, wantName)},
		field{"vip", "write the address that clients use, such as vip: 192.0.2.10", d.address(&s.VIP)},
		field{"port", "write the port that clients use, such as port: 80", d.port(&s.Port)},
		field{"protocol", "", text(d, &s.Protocol, wantProtocol)},
		field{"forward", "write forward: ipip or forward: l2", text(d, &s.Forward, wantForward)},
		field{"slots", "", d.number(&s.Slots, wantSlots)},
		field{"health", "", func(n *yaml.Node, path string) {
			// Read last: its defaults come from the fields of the service.
			health = func() { s.Health = d.health(n, path, &s) }
		}},
		field{"backends", "write backends: [{address: 10.1.0.1}]", d.backends(&s.Backends)},
	)
	if health != nil {
		health()
	}
	return s
}

func (d *decoder) health(n *yaml.Node, path string, s *Service) *Health {
	h := &Health{Interval: DefaultInterval, Timeout: DefaultTimeout, Rise: DefaultRise, Fall: DefaultFall}
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
	return h
}

func (d *decoder) http(n *yaml.Node, path string, s *Service) *HTTPCheck {
	h := &HTTPCheck{Path: DefaultPath, Port: checkPort(s)}
	if s.VIP.IsValid() {
		h.Host = s.VIP.String()
	}
	d.mapping(n, path, wantHTTP,
		field{"path", "", text(d, &h.Path, wantPath)},
		field{"port", "", d.port(&h.Port)},
		field{"host", "", text(d, &h.Host, wantHost)},
		field{"status", "", d.status(&h.Status)},
	)
	return h
}

// status reads one HTTP status or a list of them.
func (d *decoder) status(to *[]int) read {
	item := func(n *yaml.Node, path string) {
		var v int
		d.number(&v, wantStatus)(n, path)
		*to = append(*to, v)
	}
	return func(n *yaml.Node, path string) {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
			item(n, path)
			return
		}
		d.list(n, path, wantStatus, item)
	}
}

// checkPort is the port that health checks of s use unless they name their own;
// 0 if they have to.
func checkPort(s *Service) uint16 {
	if s.Protocol == UDP {
		return 0
	}
	return s.Port
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
	)
	if b.Name == "" && b.Address.IsValid() {
		b.Name = b.Address.String()
	}
	return b
}
