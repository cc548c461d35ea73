package config

import (
	"fmt"
	"net/netip"

	"go.yaml.in/yaml/v4"
)

// config reads the document into a configuration. Only what is written is
// judged here: unknown, missing and repeated fields, and values of another type.
func (d *decoder) config(doc *yaml.Node) *Config {
	c := defaults()
	c.File = d.problems.file
	var deny prefixes
	var dirs []directory
	socket := false
	last := func() {}
	d.mapping(doc, "", wantFile,
		field{name: "interfaces", missing: "write interfaces: [eth0]", read: d.interfaces(&c.Interfaces)},
		field{name: "include", read: d.directories(&dirs)},
		field{name: "instance", read: text(d, &c.Instance, wantInstance)},
		field{name: "state_dir", read: text(d, &c.StateDir, wantStateDir)},
		field{name: "xdp_mode", read: known(d, &c.XDPMode, wantMode)},
		field{name: "hash_key", read: d.key(&c.HashKey)},
		field{name: "metrics", read: d.metrics(&c.Metrics)},
		field{name: "api", read: d.api(&c.API, &socket)},
		field{name: "dead_daemon", read: d.deadDaemon(&c.DeadDaemon)},
		field{name: "health", read: d.checks(&c.Health)},
		field{name: "flows", read: d.flows(&c.Flows)},
		field{name: "source", read: d.source(&c.Source)},
		field{name: "gue", read: d.gue(&c.GUE)},
		field{name: "icmp", read: d.icmp(&c.ICMP)},
		field{name: "fragments", read: d.fragments(&c.PassOrphans)},
		field{name: "verify_checksum", read: d.boolean(&c.VerifyChecksum)},
		field{name: "deny", read: d.prefixes(&deny)},
		field{name: "deny_file", read: d.prefixFile(&deny)},
		field{name: "gateway_mac", read: d.mac(&c.GatewayMAC)},
		field{name: "limits", read: d.limits(&c.Limits)},
		field{name: "services", missing: "write a list of them, or services: []", unless: "include",
			read: d.later(&last, d.services(c))},
	)
	last() // services take defaults from the other fields
	for _, dir := range dirs {
		d.include(c, dir, &deny)
	}
	c.Deny = d.merge("deny", deny)
	if !socket {
		c.API.Socket = DefaultSocket(c.Instance)
	}
	return c
}

// later puts off reading a field, whose defaults come from others.
func (d *decoder) later(last *func(), f read) read {
	return func(n *yaml.Node, path string) {
		if d.schema != nil {
			f(n, path)
			return
		}
		before := *last
		*last = func() { before(); f(n, path) }
	}
}

// defaults returns what holds where a file says nothing.
func defaults() *Config {
	c := &Config{
		Instance:   DefaultInstance,
		StateDir:   DefaultStateDir,
		XDPMode:    DefaultXDPMode,
		HashKey:    defaultHashKey(),
		Metrics:    Metrics{netip.MustParseAddrPort(DefaultMetricsListen)},
		API:        API{DefaultAPISocket, DefaultAPIGroup, DefaultAPIRead},
		DeadDaemon: DeadDaemon{Action: DefaultDeadDaemon},
		Flows:      Flows{DefaultFlowIdle, DefaultFlowLearn, DefaultMaxTransition},
		GUE:        GUESettings{Port: DefaultGUEPort, IPv6Checksum: true},
		ICMP:       ICMP{DefaultEcho, DefaultTooBigRate},
		Services:   []Service{},
	}
	for _, l := range limitsOf(&c.Limits) {
		*l.value = l.usual
	}
	return c
}

// DefaultSocket is where an instance's daemon answers.
func DefaultSocket(instance string) string {
	if instance == DefaultInstance || !instancePattern.MatchString(instance) {
		return DefaultAPISocket
	}
	return "/run/xlb/" + instance + ".sock"
}

// limit is one of the limits: its field, what it counts, and its bounds.
type limit struct {
	name, what  string
	value       *int
	usual, most int
}

func limitsOf(l *Limits) []limit {
	return []limit{
		{"services", "services", &l.Services, DefaultServices, MaxServices},
		{"listeners", "listeners", &l.Listeners, DefaultListeners, MaxListeners},
		{"backends", "backends", &l.Backends, DefaultBackends, MaxBackends},
		{"slots", "slots", &l.Slots, DefaultSlots, MaxSlots},
		{"rules", "rules", &l.Rules, DefaultRules, MaxRules},
		{"sources", "sources", &l.Sources, DefaultSources, MaxSources},
		{"fragments", "fragment records", &l.Fragments, DefaultFragments, MaxFragments},
		{"server_ids", "server IDs", &l.ServerIDs, DefaultServerIDs, MaxServerIDs},
		{"flows", "flow records", &l.Flows, DefaultFlows, MaxFlows},
	}
}

func (d *decoder) interfaces(to *[]Interface) read {
	return func(n *yaml.Node, path string) {
		d.list(n, path, wantInterfaces, func(n *yaml.Node, path string) {
			i := Interface{At: d.place(n)}
			text(d, &i.Name, wantInterface)(n, path)
			*to = append(*to, i)
		})
	}
}

func (d *decoder) metrics(to *Metrics) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantMetrics, field{name: "listen", read: d.listen(&to.Listen)})
	}
}

func (d *decoder) api(to *API, socket *bool) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantAPI,
			field{name: "socket", read: given(socket, text(d, &to.Socket, wantSocket))},
			field{name: "group", read: text(d, &to.Group, wantGroup)},
			field{name: "read", read: known(d, &to.Read, wantRead)},
		)
	}
}

// given notes that a field is there.
func given(flag *bool, f read) read {
	return func(n *yaml.Node, path string) {
		*flag = true
		f(n, path)
	}
}

func (d *decoder) checks(to *HealthSettings) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantChecks, field{name: "allow_exec", read: d.boolean(&to.AllowExec)})
	}
}

func (d *decoder) flows(to *Flows) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantFlows,
			field{name: "idle", read: d.duration(&to.Idle)},
			field{name: "learn", read: d.duration(&to.Learn)},
			field{name: "max_transition", read: d.duration(&to.MaxTransition)},
		)
	}
}

func (d *decoder) source(to *Source) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantSource,
			field{name: "ipv4", read: d.address(&to.IPv4)},
			field{name: "ipv6", read: d.address(&to.IPv6)},
			field{name: "ipip_ipv4", read: d.prefix(&to.IPIPv4, wantVarying)},
			field{name: "ipip_ipv6", read: d.prefix(&to.IPIPv6, wantVarying)},
		)
	}
}

func (d *decoder) gue(to *GUESettings) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantGUE,
			field{name: "port", read: d.port(&to.Port)},
			field{name: "ipv6_checksum", read: d.boolean(&to.IPv6Checksum)},
		)
	}
}

func (d *decoder) icmp(to *ICMP) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantICMP,
			field{name: "echo", read: known(d, &to.Echo, wantEcho)},
			field{name: "too_big_rate", read: d.number(&to.TooBigRate, wantTooBig)},
		)
	}
}

func (d *decoder) fragments(pass *bool) read {
	return func(n *yaml.Node, path string) {
		d.mapping(n, path, wantFragments, field{name: "orphans", read: d.either(pass, wantOrphans)})
	}
}

func (d *decoder) limits(to *Limits) read {
	return func(n *yaml.Node, path string) {
		var fields []field
		for _, l := range limitsOf(to) {
			fields = append(fields, field{name: l.name, read: d.number(l.value, wantNumber{wantLimit, 1, l.most})})
		}
		d.mapping(n, path, wantLimits, fields...)
	}
}

func (d *decoder) services(c *Config) read {
	return func(n *yaml.Node, path string) {
		d.list(n, path, wantServices, func(n *yaml.Node, _ string) {
			path := fmt.Sprintf("services[%d]", len(c.Services)) // counted over all files
			c.Services = append(c.Services, d.service(n, path, c.GUE.Port))
		})
	}
}
