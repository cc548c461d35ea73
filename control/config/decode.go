package config

import (
	"net/netip"

	"go.yaml.in/yaml/v4"
)

// decode reads the document into a configuration. Only what is written is
// judged here: unknown, missing and repeated fields, and values of another type.
// Files that it names are sought from dir, or refused if that is empty.
func decode(p *problems, doc *yaml.Node, dir string) *Config {
	d := &decoder{problems: p, lists: lists{dir: dir}}
	c := &Config{
		File:       p.file,
		XDPMode:    DefaultXDPMode,
		HashKey:    defaultHashKey(),
		Metrics:    Metrics{netip.MustParseAddrPort(DefaultMetricsListen)},
		API:        API{DefaultAPISocket, DefaultAPIGroup, DefaultAPIRead},
		Instance:   DefaultInstance,
		StateDir:   DefaultStateDir,
		DeadDaemon: DeadDaemon{Action: DefaultDeadDaemon},
		Flows:      Flows{DefaultFlowIdle, DefaultFlowLearn, DefaultMaxTransition},
		GUE:        GUESettings{Port: DefaultGUEPort, IPv6Checksum: true},
		ICMP:       ICMP{DefaultEcho, DefaultTooBigRate},
		Limits:     defaultLimits(),
		Services:   []Service{},
	}
	var deny prefixes
	var last func()
	d.mapping(doc, "", wantFile,
		field{"interfaces", "write interfaces: [eth0]", d.interfaces(&c.Interfaces)},
		field{"xdp_mode", "", text(d, &c.XDPMode, wantMode)},
		field{"hash_key", "", d.key(&c.HashKey)},
		field{"metrics", "", d.metrics(&c.Metrics)},
		field{"api", "", d.api(&c.API)},
		field{"source", "", d.source(&c.Source)},
		field{"gue", "", d.gue(&c.GUE)},
		field{"icmp", "", d.icmp(&c.ICMP)},
		field{"fragments", "", d.fragments(&c.PassOrphans)},
		field{"verify_checksum", "", d.boolean(&c.VerifyChecksum)},
		field{"deny", "", d.prefixes(&deny)},
		field{"deny_file", "", d.prefixFile(&deny)},
		field{"gateway_mac", "", d.mac(&c.GatewayMAC)},
		field{"limits", "", d.limits(&c.Limits)},
		field{"services", "write a list of them, or services: []", func(n *yaml.Node, path string) {
			// Read last: services take defaults from the other fields.
			last = func() { d.services(c, n, path) }
		}},
	)
	c.Deny = d.merge("deny", deny)
	if last != nil {
		last()
	}
	return c
}

func defaultLimits() Limits {
	return Limits{
		Services:  DefaultServices,
		Listeners: DefaultListeners,
		Backends:  DefaultBackends,
		Slots:     DefaultSlots,
		Rules:     DefaultRules,
		Sources:   DefaultSources,
		Fragments: DefaultFragments,
		ServerIDs: DefaultServerIDs,
		Flows:     DefaultFlows,
	}
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
		d.mapping(n, path, wantSource,
			field{"ipv4", "", d.address(&to.IPv4)},
			field{"ipv6", "", d.address(&to.IPv6)},
			field{"ipip_ipv4", "", d.prefix(&to.IPIPv4, wantVarying)},
			field{"ipip_ipv6", "", d.prefix(&to.IPIPv6, wantVarying)},
		)
	}
}

func (d *decoder) gue(to *GUESettings) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantGUE,
			field{"port", "", d.port(&to.Port)},
			field{"ipv6_checksum", "", d.boolean(&to.IPv6Checksum)},
		)
	}
}

func (d *decoder) icmp(to *ICMP) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantICMP,
			field{"echo", "", text(d, &to.Echo, wantEcho)},
			field{"too_big_rate", "", d.number(&to.TooBigRate, wantTooBig)},
		)
	}
}

func (d *decoder) fragments(pass *bool) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantFragments, field{"orphans", "", d.either(pass, "drop", "pass", wantOrphans)})
	}
}

func (d *decoder) limits(to *Limits) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantLimits,
			field{"services", "", d.number(&to.Services, wantLimit)},
			field{"listeners", "", d.number(&to.Listeners, wantLimit)},
			field{"backends", "", d.number(&to.Backends, wantLimit)},
			field{"slots", "", d.number(&to.Slots, wantLimit)},
			field{"rules", "", d.number(&to.Rules, wantLimit)},
			field{"sources", "", d.number(&to.Sources, wantLimit)},
			field{"fragments", "", d.number(&to.Fragments, wantLimit)},
			field{"server_ids", "", d.number(&to.ServerIDs, wantLimit)},
		)
	}
}

func (d *decoder) services(c *Config, n *yaml.Node, path string) {
	d.list(n, path, wantServices, func(n *yaml.Node, path string) {
		c.Services = append(c.Services, d.service(n, path, c.GUE.Port))
	})
}
