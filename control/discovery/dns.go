package discovery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/xlb-project/xlb/control/config"
)

// dnsSource asks for a name again and again.
type dnsSource struct {
	rules
	cfg      *config.DNSSource
	resolver resolver
	after    func(time.Duration) <-chan time.Time
}

func newDNS(cfg *config.DNSSource, rules rules) *dnsSource {
	return &dnsSource{rules, cfg, resolver{server: cfg.Server, conf: resolvConf, patience: patience}, time.After}
}

const (
	firstPause = time.Second // after a failure; doubles with each one in a row
	atOnce     = 8           // targets of SRV records that are asked for at the same time
)

func (d *dnsSource) Run(ctx context.Context, emit func(Set)) {
	k := &keeper{rules: d.rules, what: fmt.Sprintf("discover backends by %s records of %s", d.cfg.Type, d.cfg.Name), emit: emit}
	for failures := 0; ; {
		backends, ttl, err := d.look(ctx)
		if ctx.Err() != nil {
			return
		}
		pause := d.clamp(ttl)
		if err != nil {
			k.failed(err)
			pause = min(firstPause<<min(failures, 20), d.cfg.MaxTTL)
			failures++
		} else {
			k.found(backends)
			failures = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-d.after(pause + rand.N(pause/10+1)):
		}
	}
}

func (d *dnsSource) clamp(ttl uint32) time.Duration {
	return min(max(time.Duration(ttl)*time.Second, d.cfg.MinTTL), d.cfg.MaxTTL)
}

// look returns the backends and how long that is true, in seconds.
func (d *dnsSource) look(ctx context.Context) ([]config.Backend, uint32, error) {
	qtype := dns.StringToType[d.cfg.Type]
	a, err := d.resolver.ask(ctx, d.cfg.Name, qtype)
	if err != nil {
		return nil, 0, err
	}
	if qtype == dns.TypeSRV {
		return d.targets(ctx, a)
	}
	backends := make([]config.Backend, len(a.addrs))
	for i, addr := range a.addrs {
		backends[i].Address = addr
	}
	return backends, a.ttl, nil
}

// targets finds the addresses of SRV records' targets. If that fails for one of them it fails: the others alone
// would look as if that one was gone.
func (d *dnsSource) targets(ctx context.Context, a answer) ([]config.Backend, uint32, error) {
	srvs := choose(a.srvs, d.cfg.Port)
	if len(srvs) > d.limit {
		return nil, 0, fmt.Errorf("it has %d targets, more than the %d backends that are allowed: raise limits.backends", len(srvs), d.limit)
	}
	var mu sync.Mutex
	addrs, ttl := map[string][]netip.Addr{}, a.ttl
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	asked := map[string]bool{}
	for _, s := range srvs {
		target := dns.CanonicalName(s.Target)
		if asked[target] {
			continue
		}
		asked[target] = true
		group.Go(func() error {
			t, err := d.addresses(ctx, target)
			mu.Lock()
			defer mu.Unlock()
			addrs[target], ttl = t.addrs, min(ttl, t.ttl)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, 0, err
	}
	return backendsOf(srvs, addrs), ttl, nil
}

// addresses of a host: those of the VIP's family or, if there are none and the service can reach them, of the other one.
func (d *dnsSource) addresses(ctx context.Context, host string) (answer, error) {
	types := []uint16{dns.TypeA, dns.TypeAAAA}
	if d.service.VIP.Addr().Is6() {
		types = []uint16{dns.TypeAAAA, dns.TypeA}
	}
	a, err := d.resolver.ask(ctx, host, types[0])
	if err != nil || len(a.addrs) > 0 || d.service.Forward == config.L2 {
		return a, err
	}
	return d.resolver.ask(ctx, host, types[1])
}
