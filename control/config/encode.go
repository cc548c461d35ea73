package config

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/netip"
)

// Write writes the configuration as a file that Parse reads to the same values.
// Defaults are left out; what came from other files is written out.
func (c *Config) Write(w io.Writer) error {
	var b bytes.Buffer
	c.tree().block(&b, "")
	_, err := w.Write(b.Bytes())
	return err
}

func (c *Config) tree() *tree {
	t := c.node()
	services := &tree{kind: listTree, tall: true}
	for i := range c.Services {
		services.items = append(services.items, c.Services[i].tree(c.GUE.Port))
	}
	t.add("services", services, false)
	return t
}

// node returns the settings of the node, all but the services.
func (c *Config) node() *tree {
	def := defaults()
	t := newMapping()
	interfaces := texts(c.Interfaces, func(i Interface) string { return i.Name })
	t.add("interfaces", interfaces, false)
	t.put("instance", newText(c.Instance), newText(def.Instance))
	t.put("state_dir", newText(c.StateDir), newText(def.StateDir))
	t.put("xdp_mode", newText(string(c.XDPMode)), newText(string(def.XDPMode)))
	key := newText(hex.EncodeToString(c.HashKey[:]))
	key.secret = true
	t.add("hash_key", key, c.HashKey == def.HashKey)

	m := newMapping()
	m.put("listen", newText(listen(c.Metrics.Listen)), newText(listen(def.Metrics.Listen)))
	t.section("metrics", m)

	m = newMapping()
	m.put("socket", newText(c.API.Socket), newText(DefaultSocket(c.Instance)))
	m.put("group", newText(c.API.Group), newText(def.API.Group))
	m.put("read", newText(string(c.API.Read)), newText(string(def.API.Read)))
	t.section("api", m)

	t.put("dead_daemon", newText(c.DeadDaemon.String()), newText(def.DeadDaemon.String()))

	m = newMapping()
	m.put("allow_exec", truth(c.Health.AllowExec), truth(def.Health.AllowExec))
	t.section("health", m)

	m = newMapping()
	m.put("idle", span(c.Flows.Idle), span(def.Flows.Idle))
	m.put("learn", span(c.Flows.Learn), span(def.Flows.Learn))
	m.put("max_transition", span(c.Flows.MaxTransition), span(def.Flows.MaxTransition))
	t.section("flows", m)

	m = newMapping()
	if a := c.Source.IPv4; a.IsValid() {
		m.add("ipv4", newText(a.String()), false)
	}
	if a := c.Source.IPv6; a.IsValid() {
		m.add("ipv6", newText(a.String()), false)
	}
	if p := c.Source.IPIPv4; p.IsValid() {
		m.add("ipip_ipv4", newText(p.String()), false)
	}
	if p := c.Source.IPIPv6; p.IsValid() {
		m.add("ipip_ipv6", newText(p.String()), false)
	}
	t.section("source", m)

	m = newMapping()
	m.put("port", newNumber(int(c.GUE.Port)), newNumber(int(def.GUE.Port)))
	m.put("ipv6_checksum", truth(c.GUE.IPv6Checksum), truth(def.GUE.IPv6Checksum))
	t.section("gue", m)

	m = newMapping()
	m.put("echo", newText(string(c.ICMP.Echo)), newText(string(def.ICMP.Echo)))
	m.put("too_big_rate", newNumber(c.ICMP.TooBigRate), newNumber(def.ICMP.TooBigRate))
	t.section("icmp", m)

	m = newMapping()
	m.put("orphans", either(c.PassOrphans, "drop", "pass"), newText("drop"))
	t.section("fragments", m)

	t.put("verify_checksum", truth(c.VerifyChecksum), truth(def.VerifyChecksum))
	if len(c.Deny) > 0 {
		t.add("deny", prefixTree(c.Deny), false)
	}
	if c.GatewayMAC != (MAC{}) {
		t.add("gateway_mac", newText(c.GatewayMAC.String()), false)
	}

	m = newMapping()
	limits := limitsOf(&c.Limits)
	for i, l := range limitsOf(&def.Limits) {
		m.put(l.name, newNumber(*limits[i].value), newNumber(*l.value))
	}
	t.section("limits", m)
	return t
}

func prefixTree(list []netip.Prefix) *tree {
	t := texts(list, bare)
	t.long = true
	return t
}

func listen(a netip.AddrPort) string {
	if !a.IsValid() {
		return "off"
	}
	return a.String()
}
