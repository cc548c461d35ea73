package model

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/xlb-project/xlb/maps"
)

// vip is a prefix that packets are balanced for.
type vip struct {
	shorter   *vip // the next shorter VIP that contains this one
	listeners map[maps.Protocol][]listener
	fragments map[maps.Protocol]*service // services that need no fragment records
}

type listener struct {
	first, last uint16
	service     *service
}

func newVIPs(s *State, services map[maps.ServiceID]*service) (prefixTable[*vip], error) {
	var vips prefixTable[*vip]
	for _, l := range s.Listeners {
		svc := services[l.Service]
		if svc == nil {
			return vips, fmt.Errorf("add listener %s: there is no service %d", l.VIP, l.Service)
		}
		if err := checkPrefix(l.VIP); err != nil {
			return vips, fmt.Errorf("add listener of service %d: %w", l.Service, err)
		}
		if l.First > l.Last || (l.Protocol != maps.TCP && l.Protocol != maps.UDP) {
			return vips, fmt.Errorf("add listener %s: no service has ports %d to %d of %s", l.VIP, l.First, l.Last, l.Protocol)
		}
		vips.add(l.VIP, &vip{listeners: make(map[maps.Protocol][]listener), fragments: make(map[maps.Protocol]*service)})
		v := vips.rows[l.VIP]
		v.listeners[l.Protocol] = append(v.listeners[l.Protocol], listener{l.First, l.Last, svc})
	}
	for prefix, v := range vips.rows {
		v.shorter, _ = vips.find(prefix.Addr(), prefix.Bits()-1)
		for protocol, listeners := range v.listeners {
			if err := sortByWidth(listeners); err != nil {
				return vips, fmt.Errorf("add %s listeners of %s: %w", protocol, prefix, err)
			}
		}
	}
	for _, v := range vips.rows {
		for _, protocol := range []maps.Protocol{maps.TCP, maps.UDP} {
			v.fragments[protocol] = v.fragmentService(protocol)
		}
	}
	return vips, nil
}

// sortByWidth puts the narrowest range first, which wins.
func sortByWidth(listeners []listener) error {
	slices.SortFunc(listeners, func(a, b listener) int { return cmp.Compare(a.last-a.first, b.last-b.first) })
	for i, a := range listeners {
		for _, b := range listeners[i+1:] {
			if a.last-a.first == b.last-b.first && a.first <= b.last && b.first <= a.last {
				return fmt.Errorf("ports %d to %d and %d to %d overlap and are equally many", a.first, a.last, b.first, b.last)
			}
		}
	}
	return nil
}

// fragmentService is the service that a fragment without ports must be for, and
// whose choice needs none; nil if there is no such one. What a port leads to
// changes only where a range begins or has ended.
func (v *vip) fragmentService(protocol maps.Protocol) *service {
	var only *service
	for around := v; around != nil; around = around.shorter {
		for _, l := range around.listeners[protocol] {
			for _, port := range []uint16{l.first, l.last + 1} {
				svc := v.find(protocol, port)
				if svc == nil {
					continue
				}
				if only != nil && svc != only {
					return nil
				}
				only = svc
			}
		}
	}
	if only == nil || !only.settings.BySource {
		return nil
	}
	return only
}

// find asks the VIP, then the shorter ones around it.
func (v *vip) find(protocol maps.Protocol, port uint16) *service {
	for ; v != nil; v = v.shorter {
		for _, l := range v.listeners[protocol] {
			if l.first <= port && port <= l.last {
				return l.service
			}
		}
	}
	return nil
}
