package control

import (
	"context"
	"fmt"
	"slices"

	"github.com/xlb-project/xlb/control/config"
)

// SetService adds a service, or gives the one of that name other settings; its
// backends are those in s. The requests for single objects return the new
// revision, ErrConflict as Apply does, ErrUnknown for names that are nobody's,
// and ErrInvalid.
func (e *Engine) SetService(ctx context.Context, edit Edit, s config.Service) (uint64, error) {
	return e.edit(ctx, edit, func(cfg *config.Config) (string, error) {
		if i := serviceIndex(cfg, s.Name); i >= 0 {
			cfg.Services[i] = s
			return "service " + s.Name + " was changed", nil
		}
		cfg.Services = append(cfg.Services, s)
		return "service " + s.Name + " was added", nil
	})
}

// RemoveService takes a service away with its backends.
func (e *Engine) RemoveService(ctx context.Context, edit Edit, service string) (uint64, error) {
	return e.edit(ctx, edit, func(cfg *config.Config) (string, error) {
		if _, err := e.findService(service); err != nil {
			return "", err
		}
		i := serviceIndex(cfg, service)
		cfg.Services = slices.Delete(cfg.Services, i, i+1)
		return "service " + service + " was removed", nil
	})
}

// SetBackend adds a backend to a service, or gives the one of that address other settings.
func (e *Engine) SetBackend(ctx context.Context, edit Edit, service string, b config.Backend) (uint64, error) {
	return e.edit(ctx, edit, func(cfg *config.Config) (string, error) {
		s, err := e.editedService(cfg, service)
		if err != nil {
			return "", err
		}
		for i := range s.Backends {
			if s.Backends[i].Address == b.Address {
				s.Backends[i] = b
				return fmt.Sprintf("backend %s/%s was changed", service, b.Name), nil
			}
		}
		s.Backends = append(s.Backends, b)
		return fmt.Sprintf("backend %s/%s was added", service, b.Name), nil
	})
}

// RemoveBackend takes a backend away; its flows break. A backend goes by its name
// or its address.
func (e *Engine) RemoveBackend(ctx context.Context, edit Edit, service, backend string) (uint64, error) {
	return e.edit(ctx, edit, func(cfg *config.Config) (string, error) {
		s, i, err := e.editedBackend(cfg, service, backend)
		if err != nil {
			return "", err
		}
		name := s.Backends[i].Name
		s.Backends = slices.Delete(s.Backends, i, i+1)
		return fmt.Sprintf("backend %s/%s was removed", service, name), nil
	})
}

// SetWeight changes a backend's share of new flows.
func (e *Engine) SetWeight(ctx context.Context, edit Edit, service, backend string, weight int) (uint64, error) {
	return e.edit(ctx, edit, func(cfg *config.Config) (string, error) {
		s, i, err := e.editedBackend(cfg, service, backend)
		if err != nil {
			return "", err
		}
		b := &s.Backends[i]
		was := b.Weight
		b.Weight = weight
		return fmt.Sprintf("the weight of backend %s/%s went from %d to %d", service, b.Name, was, weight), nil
	})
}

// edit changes a copy of the configuration and brings it in.
func (e *Engine) edit(ctx context.Context, edit Edit, modify func(*config.Config) (string, error)) (uint64, error) {
	p, err := e.request(ctx, edit.Revision, func() (change, error) {
		cfg := copyConfig(e.cfg)
		text, err := modify(cfg)
		if err != nil {
			return change{}, err
		}
		if err := cfg.Validate(); err != nil {
			return change{}, &fault{ErrInvalid, err.Error()}
		}
		return change{cfg, e.file, EventEdit, edit.Actor, text}, nil
	})
	return p.Revision, err
}

// copyConfig copies a configuration and its list of services. Who changes a
// service's backends copies them, too: see ownBackends.
func copyConfig(cfg *config.Config) *config.Config {
	c := *cfg
	c.Services = slices.Clone(cfg.Services)
	return &c
}

// ownBackends gives a copied service a list of backends of its own.
func ownBackends(s *config.Service) *config.Service {
	s.Backends = slices.Clone(s.Backends)
	return s
}

func serviceIndex(cfg *config.Config, name string) int {
	return slices.IndexFunc(cfg.Services, func(s config.Service) bool { return s.Name == name })
}

func (e *Engine) editedService(cfg *config.Config, name string) (*config.Service, error) {
	if _, err := e.findService(name); err != nil {
		return nil, err
	}
	return ownBackends(&cfg.Services[serviceIndex(cfg, name)]), nil
}

// editedBackend finds a backend in the copy. One that was discovered is in no configuration.
func (e *Engine) editedBackend(cfg *config.Config, service, name string) (*config.Service, int, error) {
	b, err := e.find(service, name)
	if err != nil {
		return nil, 0, err
	}
	s := ownBackends(&cfg.Services[serviceIndex(cfg, service)])
	for i := range s.Backends {
		if s.Backends[i].Address == b.cfg.Address {
			return s, i, nil
		}
	}
	return nil, 0, faultf(ErrInvalid, "backend %s was discovered: change it where it comes from", b)
}
