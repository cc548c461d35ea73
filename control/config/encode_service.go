package config

import (
	"bytes"
	"encoding/hex"
	"time"
)

// MarshalJSON returns the service in the shape of a file's, without defaults but
// those that are the node's.
func (s Service) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	s.tree(0).json(&b)
	return b.Bytes(), nil
}

// MarshalService returns the service in the shape that a file of this node gives
// it, as JSON.
func (c *Config) MarshalService(s *Service) []byte {
	var b bytes.Buffer
	s.tree(c.GUE.Port).json(&b)
	return b.Bytes()
}

// MarshalJSON returns the backend in the shape of a file's, without defaults.
func (b Backend) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	b.tree().json(&out)
	return out.Bytes(), nil
}

// tree returns the service with its backends; guePort is the node's.
func (s *Service) tree(guePort uint16) *tree {
	t := s.settings(guePort)
	backends := newList()
	for i := range s.Backends {
		backends.items = append(backends.items, s.Backends[i].tree())
	}
	t.add("backends", backends, len(s.Backends) == 0 && s.Discover != nil)
	return t
}

// settings returns all of the service but its backends.
func (s *Service) settings(guePort uint16) *tree {
	def := defaultService()
	t := &tree{kind: mappingTree, tall: true}
	t.add("name", newText(s.Name), false)
	t.add("vip", newText(bare(s.VIP)), false)
	ports := newList()
	for _, r := range s.Ports {
		port := newText(r.String())
		if r.First == r.Last {
			port.kind = plainTree
		}
		ports.items = append(ports.items, port)
	}
	t.add("port", oneOrMany(ports), false)
	protocols := oneOrMany(texts(s.Protocols, Protocol.String))
	t.put("protocol", protocols, newText(string(DefaultProtocol)))
	t.add("forward", newText(string(s.Forward)), false)
	if s.Forward == GUE {
		m := newMapping()
		m.put("port", newNumber(int(s.GUEPort)), newNumber(int(guePort)))
		t.section("gue", m)
	}
	if s.Slots != 0 {
		t.add("slots", newNumber(s.Slots), false)
	}
	t.add("affinity", s.affinity(), !s.Affinity.BySource)
	t.put("tracking", newText(string(s.Tracking)), newText(string(def.Tracking)))
	t.put("slow_start", span(s.SlowStart), span(def.SlowStart))
	t.put("panic", newNumber(s.Panic), newNumber(def.Panic))
	if s.Filter != nil {
		t.add("filter", s.Filter.tree(), false)
	}
	m := newMapping()
	if s.NewConnections != nil {
		m.add("new_connections_per_source", s.NewConnections.tree(), false)
	}
	if s.Packets != nil {
		m.add("packets", s.Packets.tree(), false)
	}
	t.section("limits", m)
	if s.MSS != 0 {
		t.add("mss", newNumber(s.MSS), false)
	}
	if s.QUIC != [Rotations]uint8{} {
		t.add("quic", quicTree(s.QUIC), false)
	}
	if s.Health != nil {
		t.add("health", s.Health.tree(s), false)
	}
	if s.Discover != nil {
		t.add("discover", s.Discover.tree(s), false)
	}
	return t
}

func (s *Service) affinity() *tree {
	switch {
	case !s.Affinity.BySource:
		return newText("flow")
	case s.Affinity.Bits == s.VIP.Addr().BitLen():
		return newText("source")
	}
	t := newMapping()
	t.add("source_prefix", newNumber(s.Affinity.Bits), false)
	return t
}

func (f *Filter) tree() *tree {
	t := newMapping()
	if len(f.Allow) > 0 {
		t.add("allow", prefixTree(f.Allow), false)
	}
	// A filter needs one of both, and without deny the default is to deny.
	if len(f.Deny) > 0 || len(f.Allow) == 0 {
		t.add("deny", prefixTree(f.Deny), false)
	}
	t.add("default", either(f.DefaultDeny, "allow", "deny"), f.DefaultDeny == (t.field("deny") == nil))
	return t
}

func (r *Rate) tree() *tree {
	t := newMapping()
	t.add("rate", newNumber(r.PerSecond), false)
	t.put("burst", newNumber(r.Burst), newNumber(defaultBurst(r.PerSecond)))
	return t
}

func quicTree(lengths [Rotations]uint8) *tree {
	t, rotations, length := newMapping(), newList(), 0
	for r, n := range lengths {
		if n != 0 {
			rotations.items = append(rotations.items, newNumber(r))
			length = int(n)
		}
	}
	t.add("server_id_length", newNumber(length), false)
	t.put("config_rotation", oneOrMany(rotations), newNumber(0))
	return t
}

func (b *Backend) tree() *tree {
	t := newMapping()
	t.add("address", newText(b.Address.String()), false)
	t.put("weight", newNumber(b.Weight), newNumber(DefaultWeight))
	t.put("name", newText(b.Name), newText(b.Address.String()))
	if len(b.ServerID) > 0 {
		t.add("server_id", newText(hex.EncodeToString(b.ServerID)), false)
	}
	if b.MAC != (MAC{}) {
		t.add("mac", newText(b.MAC.String()), false)
	}
	return t
}

func (d *Discover) tree(s *Service) *tree {
	t := newMapping()
	switch {
	case d.DNS != nil:
		m := newMapping()
		m.add("name", newText(d.DNS.Name), false)
		m.put("type", newText(d.DNS.Type), newText(defaultRecord(s)))
		if d.DNS.Port != 0 {
			m.add("port", newNumber(int(d.DNS.Port)), false)
		}
		if d.DNS.Server.IsValid() {
			m.add("server", newText(d.DNS.Server.String()), false)
		}
		m.put("min_ttl", span(d.DNS.MinTTL), span(DefaultMinTTL))
		m.put("max_ttl", span(d.DNS.MaxTTL), span(DefaultMaxTTL))
		t.add("dns", m, false)
	case d.File != nil:
		t.add("file", newText(d.File.Path), false)
	case d.Replicas != nil:
		m := newMapping()
		m.add("address", newText(d.Replicas.Address), false)
		m.put("name", newText(d.Replicas.Name), newText(d.Replicas.Address))
		m.put("first", newNumber(d.Replicas.First), newNumber(DefaultFirst))
		m.add("count", newNumber(d.Replicas.Count), false)
		t.add("replicas", m, false)
	}
	t.put("allow_empty", truth(d.AllowEmpty), truth(false))
	t.put("weight", newNumber(d.Weight), newNumber(DefaultWeight))
	return t
}

// fast is the interval between checks of a backend that fails them, unless given.
func fast(interval time.Duration) time.Duration { return max(interval/4, min(interval, MinInterval)) }
