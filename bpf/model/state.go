package model

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/xlb-project/xlb/maps"
)

// State is what the control plane has told the data path.
type State struct {
	Settings    maps.Settings
	Listeners   []maps.Listener
	Services    map[maps.ServiceID]maps.Service
	Slots       map[maps.ServiceID][]maps.BackendID // 0 is a slot without owner; a service without slots has no table
	Transitions map[maps.ServiceID][]maps.Slot      // in place of Slots
	Backends    map[maps.BackendID]maps.Backend     // one that is missing is unresolved
	Addresses   map[maps.BackendID]netip.Addr       // by which all nodes know backends
	Rules       map[maps.ServiceID][]maps.Rule
	NodeDeny    []netip.Prefix
	ServerIDs   map[maps.ServiceID][]maps.ServerID
	Egress      map[uint32]bool // keys of the redirect table
}

// service is a service made ready for packets.
type service struct {
	id         maps.ServiceID
	settings   maps.Service
	masks      *masks
	slots      []maps.Slot
	rules      prefixTable[bool]
	serverIDs  map[serverID]maps.BackendID
	packetsTAT int64
}

// serverID is the key of QUIC routing.
type serverID struct {
	rotation, length uint8
	id               [maxServerID]byte
}

const maxServerID = 8

func newServerID(rotation uint8, id []byte) serverID {
	key := serverID{rotation: rotation, length: uint8(len(id))}
	copy(key.id[:], id)
	return key
}

func newServices(s *State) (map[maps.ServiceID]*service, error) {
	services := make(map[maps.ServiceID]*service)
	for id, settings := range s.Services {
		svc := &service{id: id, settings: settings, masks: &byFlow, slots: slotsOf(s, id)}
		if settings.BySource {
			svc.masks = bySource(settings.SourceBits, isIPv6(s, id))
		}
		for _, rule := range s.Rules[id] {
			if err := checkPrefix(rule.Source); err != nil {
				return nil, fmt.Errorf("add rules of service %d: %w", id, err)
			}
			if !svc.rules.add(rule.Source, rule.Allow) {
				return nil, fmt.Errorf("add rules of service %d: %s is there twice", id, rule.Source)
			}
		}
		svc.serverIDs = make(map[serverID]maps.BackendID)
		for _, server := range s.ServerIDs[id] {
			if int(server.Rotation) >= len(settings.QUIC) || len(server.ID) != int(settings.QUIC[server.Rotation]) ||
				len(server.ID) == 0 || len(server.ID) > maxServerID {
				return nil, fmt.Errorf("add server ID %x of service %d: its length is not that of rotation %d", server.ID, id, server.Rotation)
			}
			svc.serverIDs[newServerID(server.Rotation, server.ID)] = server.Backend
		}
		services[id] = svc
	}
	return services, nil
}

func slotsOf(s *State, id maps.ServiceID) []maps.Slot {
	if slots, ok := s.Transitions[id]; ok {
		return slots
	}
	var slots []maps.Slot
	for _, owner := range s.Slots[id] {
		slots = append(slots, maps.Slot{Current: owner})
	}
	return slots
}

// isIPv6 is the family of a service, which is that of its VIPs.
func isIPv6(s *State, id maps.ServiceID) bool {
	for _, l := range s.Listeners {
		if l.Service == id {
			return l.VIP.Addr().Is6()
		}
	}
	return false
}

func checkPrefix(p netip.Prefix) error {
	if !p.IsValid() || p != p.Masked() {
		return fmt.Errorf("%s is no prefix with its host bits 0", p)
	}
	return nil
}

func newBackends(s *State) (map[maps.BackendID]*maps.Backend, error) {
	backends := make(map[maps.BackendID]*maps.Backend)
	for id, b := range s.Backends {
		if id == 0 {
			return nil, errors.New("add backend 0: the number stands for nobody, count from 1")
		}
		if b.Forward >= maps.IPIP && (!b.Source.IsValid() || b.Source.Is4() != b.Dest.Is4()) {
			return nil, fmt.Errorf("add backend %d: its tunnel needs two addresses of one family, not %s and %s", id, b.Source, b.Dest)
		}
		backends[id] = &b
	}
	return backends, nil
}

// masks are what of a flow is hashed.
type masks struct {
	source          [4]uint32 // as the address lies, read little-endian
	dest            uint32    // for every word
	ports, protocol uint32
}

const ones = ^uint32(0)

var byFlow = masks{source: [4]uint32{ones, ones, ones, ones}, dest: ones, ports: ones, protocol: ones}

func bySource(bits int, v6 bool) *masks {
	width := 32
	if v6 {
		width = 128
	}
	var mask [16]byte
	for i := range min(bits, width) {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	m := &masks{}
	for i := range m.source {
		m.source[i] = binary.LittleEndian.Uint32(mask[4*i:])
	}
	return m
}
