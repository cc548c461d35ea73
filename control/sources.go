package control

import (
	"context"
	"maps"
	"sync"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/discovery"
)

// finding are the sources of all services, and what the engine has not heard yet of
// what they say.
type finding struct {
	sources map[string]*source // by service
	launch  func(*source)      // nil before Run
	finds   *finds
}

func newFinding() finding {
	return finding{sources: map[string]*source{}, finds: &finds{ready: make(chan struct{}, 1)}}
}

// finds are the latest sets of sources. Sources add to it and never wait.
type finds struct {
	ready chan struct{} // has a token if there is something

	mu   sync.Mutex
	sets map[*source]discovery.Set
}

func (f *finds) add(src *source, set discovery.Set) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sets == nil {
		f.sets = map[*source]discovery.Set{}
	}
	f.sets[src] = set
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

func (f *finds) take() map[*source]discovery.Set {
	f.mu.Lock()
	defer f.mu.Unlock()
	sets := f.sets
	f.sets = nil
	return sets
}

// runSources starts the sources. They end with ctx, or when wait is called, which
// returns when they have.
func (e *Engine) runSources(ctx context.Context) (wait func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	e.launch = func(src *source) {
		ctx, stop := context.WithCancel(ctx)
		src.stop = stop
		finder := e.finder(src)
		running.Go(func() { finder.Run(ctx, func(set discovery.Set) { e.finds.add(src, set) }) })
	}
	e.seek()
	return func() {
		cancel()
		running.Wait()
	}
}

// finder looks for a source's backends.
func (e *Engine) finder(src *source) discovery.Source {
	s := &config.Service{Name: src.service, VIP: src.by.vip, Forward: src.by.forward, QUIC: src.by.quic, Discover: &src.by.discover}
	if e.Finder != nil {
		return e.Finder(s, src.by.limit)
	}
	return discovery.New(s, src.by.limit)
}

// seek sees to it that each service with discovery has the source that is
// configured, and others have none.
func (e *Engine) seek() {
	wanted := map[string]bool{}
	for _, s := range e.services {
		if s.cfg.Discover == nil {
			s.seeks = false
			continue
		}
		wanted[s.cfg.Name] = true
		src := e.sources[s.cfg.Name]
		if by := soughtBy(s.cfg, e.cfg.Limits.Backends); src == nil || !src.by.equal(by) {
			src = e.renew(src, s, by)
		}
		if src.stop == nil && !src.told && e.launch != nil {
			e.launch(src)
		}
		s.seeks = !src.told
	}
	maps.DeleteFunc(e.sources, func(name string, src *source) bool {
		if !wanted[name] {
			src.end()
		}
		return !wanted[name]
	})
}

// renew gives a service another source. Until that says something, the service keeps
// what it has.
func (e *Engine) renew(former *source, s *service, by sought) *source {
	src := &source{service: s.cfg.Name, by: by, orders: map[string]admin{}}
	if former != nil {
		former.end()
		src.orders = former.orders
	}
	for _, b := range s.found() {
		src.used = append(src.used, *b.cfg)
	}
	if set, fixed := discovery.Fixed(s.cfg, by.limit); fixed {
		e.heard(s, src, set)
	}
	e.sources[s.cfg.Name] = src
	return src
}

func (src *source) end() {
	if src.stop != nil {
		src.stop()
	}
}
