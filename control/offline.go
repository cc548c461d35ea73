package control

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/maps"
)

// OfflineOptions stand for what only a network can tell.
type OfflineOptions struct {
	Ifindex int      // interface that packets arrive on, and leave by
	MTU     int      // of the way to every backend, in bytes
	Down    []string // backends that are dead: web/b1, or b1 for those of all services
}

// OfflineNode names what a data path that Offline has filled decides.
type OfflineNode struct {
	backends map[maps.BackendID]*backend
	vips     map[netip.Prefix][]vipListener // of each the narrowest port range first
	lengths  []int                          // of VIPs, longest first
}

type vipListener struct {
	maps.Listener
	service *service
}

// Chosen is a backend that a packet went to, with its service.
type Chosen struct {
	Service *config.Service
	Backend *config.Backend
}

// Offline fills a data path from a configuration as an Engine would, once every
// backend is known to be up but those of opts.Down. Next hops have the MAC
// addresses that the configuration names, else zero. Tunnels begin at the
// configuration's source, else at the unspecified address. It returns an error
// that names the service if the tables cannot be filled, or the name in
// opts.Down that is no backend's.
func Offline(cfg *config.Config, plane Dataplane, opts OfflineOptions) (*OfflineNode, error) {
	e, err := New(FromFile(cfg), Parts{Dataplane: plane, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	dead, err := e.backendsNamed(opts.Down)
	if err != nil {
		return nil, err
	}
	n := newOfflineNode(e.services)
	for _, s := range e.services {
		for _, b := range s.backends {
			n.backends[b.id] = b
			b.health = verdict{known: true, good: !dead[b]}
			b.hop = verdict{known: true, good: true}
			if b.next, err = planeBackend(cfg, s.cfg, b.cfg, offlineHop(cfg, b, opts), 0); err != nil {
				return nil, fmt.Errorf("add backend %s: %w", b, err)
			}
		}
	}
	return n, e.reconcile()
}

func newOfflineNode(services []*service) *OfflineNode {
	n := &OfflineNode{backends: map[maps.BackendID]*backend{}, vips: map[netip.Prefix][]vipListener{}}
	for _, s := range services {
		for _, l := range s.listeners() {
			n.vips[l.VIP] = append(n.vips[l.VIP], vipListener{l, s})
		}
	}
	for vip, listeners := range n.vips {
		slices.SortFunc(listeners, func(a, b vipListener) int { return cmp.Compare(a.Last-a.First, b.Last-b.First) })
		if !slices.Contains(n.lengths, vip.Bits()) {
			n.lengths = append(n.lengths, vip.Bits())
		}
	}
	slices.SortFunc(n.lengths, func(a, b int) int { return b - a })
	return n
}

// backendsNamed finds backends by name, or by service/name.
func (e *Engine) backendsNamed(names []string) (map[*backend]bool, error) {
	found := map[*backend]bool{}
	for _, name := range names {
		known := false
		for _, s := range e.services {
			for _, b := range s.backends {
				if name == b.cfg.Name || name == b.String() {
					found[b], known = true, true
				}
			}
		}
		if !known {
			return nil, fmt.Errorf("no backend has the name %s: write one of the configuration, or service/backend", name)
		}
	}
	return found, nil
}

// offlineHop is a backend's next hop as far as the configuration tells it. The
// source MAC address, which it never does, carries the backend's number.
func offlineHop(cfg *config.Config, b *backend, opts OfflineOptions) neighbour.NextHop {
	hop := neighbour.NextHop{Index: opts.Ifindex, MTU: opts.MTU, DestMAC: b.cfg.MAC, Source: netip.IPv4Unspecified()}
	if b.cfg.Address.Is6() {
		hop.Source = netip.IPv6Unspecified()
	}
	if b.service.cfg.Forward != config.L2 && b.cfg.MAC == (config.MAC{}) {
		hop.DestMAC = cfg.GatewayMAC
	}
	binary.BigEndian.PutUint32(hop.SourceMAC[2:], uint32(b.id))
	return hop
}

// Chosen tells which backend a frame that was forwarded is for, and removes the
// mark in its source MAC address by which it knows; false if it has none.
func (n *OfflineNode) Chosen(frame []byte) (Chosen, bool) {
	mac := frame[6:12]
	b, ok := n.backends[maps.BackendID(binary.BigEndian.Uint32(mac[2:]))]
	if !ok {
		return Chosen{}, false
	}
	clear(mac)
	return Chosen{b.service.cfg, b.cfg}, true
}

// ServiceAt names the service that has a port of an address, "" if none has.
func (n *OfflineNode) ServiceAt(to netip.AddrPort, protocol maps.Protocol) string {
	for _, bits := range n.lengths {
		vip, err := to.Addr().Prefix(bits)
		if err != nil {
			continue // a length of IPv6 alone
		}
		for _, l := range n.vips[vip] {
			if l.Protocol == protocol && l.First <= to.Port() && to.Port() <= l.Last {
				return l.service.cfg.Name
			}
		}
	}
	return ""
}
