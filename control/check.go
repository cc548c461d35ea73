package control

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
)

// checkOf returns how a backend is checked, by the way that via says: with the zero Via at
// its own address, otherwise at the service's VIP. The service has a health check.
func checkOf(_ *config.Config, s *config.Service, b *config.Backend, via health.Via) (health.Check, error) {
	h := s.Health
	addr := b.Address
	if via != (health.Via{}) {
		addr = s.VIP.Addr()
	}
	c := health.Check{
		Probe: proberOf(h, addr, via), Interval: h.Interval, Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall,
	}
	var err error
	if c.Key, err = checkKey(c); err != nil {
		return health.Check{}, fmt.Errorf("check %s/%s: %w", s.Name, b.Name, err)
	}
	return c, nil
}

func proberOf(h *config.Health, addr netip.Addr, via health.Via) health.Prober {
	if h.HTTP != nil {
		return health.HTTP{
			Addr: netip.AddrPortFrom(addr, h.HTTP.Port), Via: via,
			Host: h.HTTP.Host, Path: h.HTTP.Path, Status: h.HTTP.Status,
		}
	}
	return health.TCP{Addr: netip.AddrPortFrom(addr, h.TCP.Port), Via: via}
}

// checkKey is the same for checks that would repeat each other.
func checkKey(c health.Check) (string, error) {
	key, err := json.Marshal(struct {
		Kind                    string
		Probe                   health.Prober
		Interval, Fast, Timeout time.Duration
	}{fmt.Sprintf("%T", c.Probe), c.Probe, c.Interval, c.FastInterval, c.Timeout})
	return string(key), err
}
