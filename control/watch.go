package control

import (
	"fmt"
	"net/netip"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
)

// watch has the wanted backends checked and their next hops followed, and nobody
// else. Of the services that have not changed since it was called last it knows.
func (e *Engine) watch() error {
	e.watchAddresses()
	for id := range e.targets {
		if b := e.byTarget[id]; b == nil || b.service.cfg.Health == nil {
			e.Checker.Remove(id)
			delete(e.targets, id)
		}
	}
	for _, s := range e.unwatched {
		for _, b := range s.backends {
			if err := e.check(b); err != nil {
				return err
			}
		}
	}
	e.unwatched = nil
	return nil
}

// watchAddresses has the ways to all backends followed.
func (e *Engine) watchAddresses() {
	asked := len(e.asked) == len(e.byAddr)
	for a := range e.byAddr {
		asked = asked && e.asked[a]
	}
	if asked {
		return
	}
	addrs := make([]netip.Addr, 0, len(e.byAddr))
	e.asked = make(map[netip.Addr]bool, len(e.byAddr))
	for a := range e.byAddr {
		addrs = append(addrs, a)
		e.asked[a] = true
	}
	e.Neighbours.Watch(addrs)
}

// checked is what a backend's check was made from.
type checked struct {
	service *config.Service
	backend *config.Backend
	via     health.Via
}

// check sets a backend's health check, once the way that its probes take is known.
func (e *Engine) check(b *backend) error {
	if b.leaving || b.service.cfg.Health == nil {
		return nil
	}
	via, known := e.via(b)
	if !known {
		return nil // a check that is set goes on the way that it knows
	}
	from := checked{b.service.cfg, b.cfg, via}
	if from == b.checked {
		return nil
	}
	check, err := checkOf(e.cfg, b.service.cfg, b.cfg, via)
	if err != nil {
		return err
	}
	check.Trusted = b.health.assumed && b.health.good // by a former daemon, which would not have judged by one failure either
	if err := e.Checker.Set(b.target(), check); err != nil {
		return fmt.Errorf("check %s: %w", b, err)
	}
	b.checked = from
	e.targets[b.target()] = true
	return nil
}

// via is the way that a backend's probes take. It is not known while there is no
// next hop. Where the node has no address of the VIP's family to send from, as
// far as the route to the backend tells, probes go to the backend's own address.
func (e *Engine) via(b *backend) (_ health.Via, known bool) {
	if e.ProbeMark == nil || e.ProbeMark(b.id) == 0 || b.service.cfg.Health.Target != config.TargetVIP {
		return health.Via{}, true
	}
	if !b.way.Addr.IsValid() || b.way.Err != nil {
		return health.Via{}, false
	}
	source := b.way.Hop.Source
	if !source.IsValid() || source.Is6() != b.service.cfg.VIP.Addr().Is6() {
		return health.Via{}, true
	}
	return health.Via{Mark: e.ProbeMark(b.id), Source: source}, true
}
