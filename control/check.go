package control

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
)

// checkOf returns how a backend is checked, by the way that via says: with the zero Via at
// its own address, otherwise at the service's VIP. The service has a health check.
func checkOf(cfg *config.Config, s *config.Service, b *config.Backend, via health.Via) (health.Check, error) {
	h := s.Health
	c := health.Check{Interval: h.Interval, FastInterval: h.FastInterval, Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall}
	var err error
	if c.Probe, err = proberOf(cfg, s, b, via); err == nil {
		c.Key, err = checkKey(c)
	}
	if err != nil {
		return health.Check{}, fmt.Errorf("check %s/%s: %w", s.Name, b.Name, err)
	}
	return c, nil
}

func proberOf(cfg *config.Config, s *config.Service, b *config.Backend, via health.Via) (health.Prober, error) {
	addr := b.Address
	if via != (health.Via{}) {
		addr = s.VIP.Addr()
	}
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(addr, port) }
	switch h := s.Health; {
	case h.HTTP != nil:
		return httpOf(h.HTTP, at(h.HTTP.Port), via)
	case h.TCP != nil:
		return health.TCP{Addr: at(h.TCP.Port), Via: via}, nil
	case h.TLS != nil:
		secure, err := secureOf(&h.TLS.TLS, "")
		return health.TLS{Addr: at(h.TLS.Port), Via: via, Secure: secure}, err
	case h.GRPC != nil:
		secure, err := secureOf(h.GRPC.TLS, health.HTTP2)
		return health.GRPC{Addr: at(h.GRPC.Port), Via: via, Secure: secure, Host: h.GRPC.Host, Service: h.GRPC.Service}, err
	case h.DNS != nil:
		return health.NewDNS(health.DNS{
			Addr: at(h.DNS.Port), Via: via,
			TCP: h.DNS.TCP, Name: h.DNS.Name, Type: h.DNS.Type, RCode: h.DNS.RCode, Answer: h.DNS.Answer,
		})
	case h.UDP != nil:
		return health.UDP{Addr: at(h.UDP.Port), Via: via, Send: h.UDP.Send, Expect: h.UDP.Expect}, nil
	case h.ICMP != nil:
		return health.ICMP{Addr: addr, Via: via}, nil
	case h.Exec != nil && !cfg.Health.AllowExec:
		return nil, errors.New("the node does not allow programs as checks: write health: {allow_exec: true}")
	case h.Exec != nil:
		return health.Exec{Command: h.Exec.Command, Env: facts(s, b)}, nil
	}
	return nil, errors.New("it says nothing to check")
}

func httpOf(h *config.HTTPCheck, addr netip.AddrPort, via health.Via) (health.Prober, error) {
	p := health.HTTP{
		Addr: addr, Via: via, HTTP2: h.HTTP2, Method: h.Method, Host: h.Host, Path: h.Path, Status: h.Status,
		Header: fieldsOf(h.RequestHeaders), Expected: fieldsOf(h.ResponseHeaders),
	}
	protocol := health.HTTP1
	if h.HTTP2 {
		protocol = health.HTTP2
	}
	var err error
	if p.Secure, err = secureOf(h.TLS, protocol); err != nil {
		return nil, err
	}
	if h.Body != "" || h.BodyMatches != "" {
		if p.Body, err = health.NewMatch(h.Body, h.BodyMatches); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func fieldsOf(headers []config.Header) []health.Field {
	var fields []health.Field
	for _, h := range headers {
		fields = append(fields, health.Field{Name: h.Name, Value: h.Value})
	}
	return fields
}

func secureOf(t *config.TLS, protocol string) (*health.Secure, error) {
	if t == nil {
		return nil, nil
	}
	var roots *health.Roots
	if t.CAFile != "" {
		var err error
		if roots, err = health.ReadRoots(t.CAFile); err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
	}
	return health.NewSecure(t.SNI, t.Verify, roots, protocol), nil
}

// facts are what a program is told in its environment.
func facts(s *config.Service, b *config.Backend) []string {
	env := []string{
		"XLB_SERVICE=" + s.Name,
		"XLB_VIP=" + s.VIP.Addr().String(),
		"XLB_BACKEND=" + b.Name,
		"XLB_ADDRESS=" + b.Address.String(),
	}
	if len(s.Ports) > 0 {
		env = append(env, fmt.Sprintf("XLB_PORT=%d", s.Ports[0].First))
	}
	return env
}

// checkKey is the same for checks that would repeat each other.
func checkKey(c health.Check) (string, error) {
	key, err := json.Marshal(struct {
		Kind                    string
		Probe                   health.Prober
		Interval, Fast, Timeout time.Duration
	}{fmt.Sprintf("%T", c.Probe), c.Probe, c.Interval, c.FastInterval, c.Timeout})
	sum := sha256.Sum256(key)
	return string(sum[:]), err
}
