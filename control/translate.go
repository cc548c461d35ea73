package control

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/maps"
)

// PlaneSettings returns what a configuration fixes when the data path is loaded.
func PlaneSettings(cfg *config.Config) maps.Settings {
	return maps.Settings{
		Key: cfg.HashKey,
		Limits: maps.Limits{
			Services: cfg.Limits.Services, Listeners: cfg.Limits.Listeners, Backends: cfg.Limits.Backends, Slots: cfg.Limits.Slots,
			Rules: cfg.Limits.Rules, Fragments: cfg.Limits.Fragments, Sources: cfg.Limits.Sources, ServerIDs: cfg.Limits.ServerIDs,
			Flows: cfg.Limits.Flows,
		},
		Echo:           map[config.Echo]maps.EchoPolicy{config.EchoReply: maps.EchoReply, config.EchoPass: maps.EchoPass, config.EchoDrop: maps.EchoDrop}[cfg.ICMP.Echo],
		VerifyChecksum: cfg.VerifyChecksum,
		PassOrphans:    cfg.PassOrphans,
		Silence:        silence(cfg.DeadDaemon),
		TooBig:         rate(&config.Rate{PerSecond: cfg.ICMP.TooBigRate, Burst: max(cfg.ICMP.TooBigRate/10, 1)}),
		FlowIdle:       cfg.Flows.Idle,
	}
}

func silence(d config.DeadDaemon) maps.Silence {
	policy := map[config.DeadAction]maps.SilencePolicy{config.Keep: maps.SilenceKeep, config.PassAfter: maps.SilencePass, config.DropAfter: maps.SilenceDrop}
	return maps.Silence{Policy: policy[d.Action], After: d.After}
}

// PlaneFeatures returns the parts of the data path that a configuration uses.
func PlaneFeatures(cfg *config.Config) maps.Features {
	f := maps.Features{Redirect: len(cfg.Interfaces) > 1, NodeRules: len(cfg.Deny) > 0}
	set := func(flag *bool, used bool) { *flag = *flag || used }
	for i := range cfg.Services {
		s := &cfg.Services[i]
		set(&f.IPv6, s.VIP.Addr().Is6())
		set(&f.Prefixes, !s.VIP.IsSingleIP())
		set(&f.Filters, s.Filter != nil)
		set(&f.Rates, s.NewConnections != nil || s.Packets != nil)
		set(&f.QUIC, s.QUIC != [config.Rotations]uint8{})
		set(&f.MSS, s.MSS != 0)
		set(&f.Signals, s.Health != nil && s.Health.Passive != nil)
		set(&f.L2, s.Forward == config.L2)
		set(&f.Tracking, s.Tracking != config.TrackNever)
		set(&f.Ranges, len(s.Ports) > manyPorts)
		for _, p := range s.Ports {
			set(&f.Ranges, p.First != p.Last)
		}
		if d := s.Discover; d != nil && s.Forward != config.L2 { // what is found later has a family of its own
			set(&f.Tunnel4, d.Replicas == nil || !strings.Contains(d.Replicas.Address, ":"))
			set(&f.Tunnel6, d.Replicas == nil || strings.Contains(d.Replicas.Address, ":"))
		}
		for _, b := range s.Backends {
			set(&f.Tunnel4, s.Forward != config.L2 && b.Address.Is4())
			set(&f.Tunnel6, s.Forward != config.L2 && b.Address.Is6())
		}
	}
	return f
}

// manyPorts of one VIP may not fit the table of single ports and are looked up as
// ranges then.
const manyPorts = 100

// rate turns packets per second into GCRA's terms: Burst packets may come at once.
func rate(r *config.Rate) maps.Rate {
	if r == nil {
		return maps.Rate{}
	}
	interval := time.Second / time.Duration(r.PerSecond)
	return maps.Rate{Interval: interval, Tolerance: time.Duration(r.Burst-1) * interval}
}

func protocol(p config.Protocol) maps.Protocol {
	if p == config.UDP {
		return maps.UDP
	}
	return maps.TCP
}

// listeners are the rows by which a service's packets are known.
func (s *service) listeners() []maps.Listener {
	var out []maps.Listener
	for _, p := range s.cfg.Protocols {
		for _, r := range s.cfg.Ports {
			out = append(out, maps.Listener{VIP: s.cfg.VIP, First: r.First, Last: r.Last, Protocol: protocol(p), Service: s.id})
		}
	}
	return out
}

// settings are how the data path treats a service's packets.
func (s *service) settings() maps.Service {
	out := maps.Service{
		IPv6:     s.cfg.VIP.Addr().Is6(),
		BySource: s.cfg.Affinity.BySource, SourceBits: s.cfg.Affinity.Bits,
		NewConnections: rate(s.cfg.NewConnections), Packets: rate(s.cfg.Packets),
		MSS: uint16(s.cfg.MSS), QUIC: s.cfg.QUIC,
		TrackAlways: s.cfg.Tracking == config.TrackAlways,
		Signals:     s.cfg.Health != nil && s.cfg.Health.Passive != nil,
	}
	if f := s.cfg.Filter; f != nil {
		out.Filter = maps.AllowOthers
		if f.DefaultDeny {
			out.Filter = maps.DenyOthers
		}
	}
	return out
}

// rules are the prefixes of a service's filter.
func (s *service) rules() []maps.Rule {
	if s.cfg.Filter == nil {
		return nil
	}
	return append(ruleList(s.cfg.Filter.Allow, true), ruleList(s.cfg.Filter.Deny, false)...)
}

func ruleList(prefixes []netip.Prefix, allow bool) []maps.Rule {
	rules := make([]maps.Rule, len(prefixes))
	for i, p := range prefixes {
		rules[i] = maps.Rule{Source: p, Allow: allow}
	}
	return rules
}

// serverIDs name the service's backends in QUIC connection IDs.
func (s *service) serverIDs() []maps.ServerID {
	var out []maps.ServerID
	for rotation, length := range s.cfg.QUIC {
		if length == 0 {
			continue
		}
		taken := map[string]bool{}
		for _, b := range append(slices.Clip(s.backends), s.lingering()...) {
			if id := b.cfg.ServerID; len(id) == int(length) && !taken[string(id)] {
				out = append(out, maps.ServerID{Rotation: uint8(rotation), ID: id, Backend: b.id})
				taken[string(id)] = true
			}
		}
	}
	return out
}

var forwards = map[config.Forward]maps.Forward{config.L2: maps.L2, config.IPIP: maps.IPIP, config.GRE: maps.GRE, config.GUE: maps.GUE}

// planeBackend is the data path's row for a backend with a next hop, whose egress
// interface has the given number.
func planeBackend(cfg *config.Config, s *config.Service, b *config.Backend, hop neighbour.NextHop, egress uint32) (maps.Backend, error) {
	row := maps.Backend{
		Forward: forwards[s.Forward], IPv6: s.VIP.Addr().Is6(),
		Ifindex: hop.Index, Egress: egress, MTU: hop.MTU, SourceMAC: hop.SourceMAC, DestMAC: hop.DestMAC,
	}
	for i, t := range hop.Tags {
		row.Tags[i] = maps.Tag(t)
	}
	if s.Forward == config.L2 {
		if hop.Gateway.IsValid() {
			return maps.Backend{}, fmt.Errorf("%s is behind gateway %s, but forward: l2 reaches only hosts on the same link: use a tunnel, such as forward: ipip", b.Address, hop.Gateway)
		}
		return row, nil
	}
	row.Dest, row.Port, row.Checksum = b.Address, s.GUEPort, cfg.GUE.IPv6Checksum
	if row.Port == 0 {
		row.Port = cfg.GUE.Port
	}
	row.Source, row.SourceBits = outerSource(cfg.Source, s.Forward, b.Address.Is6(), hop.Source)
	if !row.Source.IsValid() {
		field, family := "source.ipv4", "IPv4"
		if b.Address.Is6() {
			field, family = "source.ipv6", "IPv6"
		}
		return maps.Backend{}, fmt.Errorf("%s has no %s address to send tunnelled packets from: give it one, or set %s", hop.Interface, family, field)
	}
	return row, nil
}

// outerSource picks the outer source address of a tunnel, and how many of its low
// bits vary with the flow.
func outerSource(source config.Source, forward config.Forward, ipv6 bool, preferred netip.Addr) (netip.Addr, int) {
	address, prefix := source.IPv4, source.IPIPv4
	if ipv6 {
		address, prefix = source.IPv6, source.IPIPv6
	}
	switch {
	case forward == config.IPIP && prefix.IsValid():
		return prefix.Addr(), prefix.Addr().BitLen() - prefix.Bits()
	case address.IsValid():
		return address, 0
	}
	return preferred, 0
}
