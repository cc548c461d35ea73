package apitest

import (
	"context"
	"fmt"
	"slices"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
)

// fault is an error of one of control's kinds.
type fault struct {
	kind error
	text string
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.kind }

// change runs f on a copy of what runs, and keeps it if f has no error. f returns
// the event that tells of it.
func (n *Node) change(seen uint64, actor string, f func(*config.Config) (control.Event, error)) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.Fail != nil {
		return 0, n.Fail
	}
	if seen != 0 && seen != n.revision {
		return 0, &fault{control.ErrConflict, fmt.Sprintf("the configuration has changed: you saw revision %d, now it is %d: look at it again", seen, n.revision)}
	}
	cfg := clone(n.cfg)
	event, err := f(cfg)
	if err != nil {
		return 0, err
	}
	n.cfg = cfg
	n.revision++
	event.Actor, event.Revision = actor, n.revision
	n.tell(event)
	return n.revision, nil
}

// Apply makes a configuration the one that runs.
func (n *Node) Apply(_ context.Context, r control.Request) (control.Plan, error) {
	var plan control.Plan
	revision, err := n.change(r.Revision, r.Actor, func(cfg *config.Config) (control.Event, error) {
		plan = n.plan(n.cfg, r.Config)
		*cfg = *clone(r.Config)
		return n.event(control.EventApply, "", "", "applied "+r.Source), nil
	})
	plan.Revision = revision
	return plan, err
}

// Reload goes back to the file.
func (n *Node) Reload(ctx context.Context, actor string) (control.Plan, error) {
	return n.Apply(ctx, control.Request{Config: n.file, Actor: actor, Source: n.file.File})
}

// SetService adds or replaces a service.
func (n *Node) SetService(_ context.Context, edit control.Edit, s config.Service) (uint64, error) {
	return n.change(edit.Revision, edit.Actor, func(cfg *config.Config) (control.Event, error) {
		if old := find(cfg, s.Name); old != nil {
			*old = s
		} else {
			cfg.Services = append(cfg.Services, s)
		}
		return n.event(control.EventEdit, "", "", "service "+s.Name+" was set"), nil
	})
}

// RemoveService takes a service away.
func (n *Node) RemoveService(_ context.Context, edit control.Edit, service string) (uint64, error) {
	return n.change(edit.Revision, edit.Actor, func(cfg *config.Config) (control.Event, error) {
		s, err := lookup(cfg, service)
		if err != nil {
			return control.Event{}, err
		}
		name := s.Name
		cfg.Services = slices.DeleteFunc(cfg.Services, func(s config.Service) bool { return s.Name == name })
		return n.event(control.EventEdit, "", "", "service "+service+" was removed"), nil
	})
}

func lookup(cfg *config.Config, service string) (*config.Service, error) {
	if s := find(cfg, service); s != nil {
		return s, nil
	}
	var names []string
	for _, s := range cfg.Services {
		names = append(names, s.Name)
	}
	return nil, control.Unknown("no service", service, names)
}

// SetBackend adds or replaces a backend.
func (n *Node) SetBackend(_ context.Context, edit control.Edit, service string, b config.Backend) (uint64, error) {
	return n.change(edit.Revision, edit.Actor, func(cfg *config.Config) (control.Event, error) {
		s, err := lookup(cfg, service)
		if err != nil {
			return control.Event{}, err
		}
		if i := slices.IndexFunc(s.Backends, func(old config.Backend) bool { return old.Name == b.Name }); i >= 0 {
			s.Backends[i] = b
		} else {
			s.Backends = append(s.Backends, b)
		}
		return n.event(control.EventEdit, "", "", "backend "+service+"/"+b.Name+" was set"), nil
	})
}

// on changes one backend.
func (n *Node) on(edit control.Edit, service, backend string, f func(*config.Service, int) (control.Event, error)) (uint64, error) {
	return n.change(edit.Revision, edit.Actor, func(cfg *config.Config) (control.Event, error) {
		s, err := lookup(cfg, service)
		if err != nil {
			return control.Event{}, err
		}
		var names []string
		for i, b := range s.Backends {
			if b.Name == backend || b.Address.String() == backend {
				return f(s, i)
			}
			names = append(names, b.Name)
		}
		return control.Event{}, control.Unknown("service "+service+" has no backend", backend, names)
	})
}

// RemoveBackend takes a backend away.
func (n *Node) RemoveBackend(_ context.Context, edit control.Edit, service, backend string) (uint64, error) {
	return n.on(edit, service, backend, func(s *config.Service, i int) (control.Event, error) {
		if len(s.Backends) == 1 {
			return control.Event{}, &fault{control.ErrInvalid, fmt.Sprintf("backend %s is the last one of service %s: remove the service", backend, service)}
		}
		event := n.event(control.EventEdit, "", "", "backend "+service+"/"+s.Backends[i].Name+" was removed")
		s.Backends = slices.Delete(s.Backends, i, i+1)
		return event, nil
	})
}

// SetWeight changes a backend's weight.
func (n *Node) SetWeight(_ context.Context, edit control.Edit, service, backend string, weight int) (uint64, error) {
	return n.on(edit, service, backend, func(s *config.Service, i int) (control.Event, error) {
		s.Backends[i].Weight = weight
		return n.event(control.EventEdit, "", "", fmt.Sprintf("the weight of backend %s/%s went to %d", service, s.Backends[i].Name, weight)), nil
	})
}

// out gives a backend an administrative state.
func (n *Node) out(edit control.Edit, service, backend string, kind control.EventKind, a *admin, force bool) (uint64, error) {
	return n.on(edit, service, backend, func(s *config.Service, i int) (control.Event, error) {
		others := 0
		for j, b := range s.Backends {
			if j != i && n.admin[service+"/"+b.Name] == nil {
				others++
			}
		}
		if others == 0 && !force {
			return control.Event{}, &fault{control.ErrRefused, fmt.Sprintf("%s/%s: no other backend of service %s accepts connections: use --force to do it all the same", service, backend, service)}
		}
		n.admin[service+"/"+s.Backends[i].Name] = a
		return n.event(kind, service, s.Backends[i].Name, "is "+a.state), nil
	})
}

func (n *Node) in(edit control.Edit, service, backend string, kind control.EventKind, text string) (uint64, error) {
	return n.on(edit, service, backend, func(s *config.Service, i int) (control.Event, error) {
		delete(n.admin, service+"/"+s.Backends[i].Name)
		return n.event(kind, service, s.Backends[i].Name, text), nil
	})
}

// Drain lasts until Finish.
func (n *Node) Drain(_ context.Context, edit control.Edit, service, backend string, opts control.DrainOptions) (uint64, error) {
	drain := &control.Drain{Since: n.now(), Flows: n.Flows, Actor: edit.Actor}
	if opts.Timeout > 0 {
		deadline := drain.Since.Add(opts.Timeout)
		drain.Deadline = &deadline
	}
	return n.out(edit, service, backend, control.EventDrain, &admin{control.AdminDraining, drain}, opts.Force)
}

// Undrain takes a drain back.
func (n *Node) Undrain(_ context.Context, edit control.Edit, service, backend string) (uint64, error) {
	return n.in(edit, service, backend, control.EventDrain, "is no longer drained")
}

// Enable brings a backend back.
func (n *Node) Enable(_ context.Context, edit control.Edit, service, backend string) (uint64, error) {
	return n.in(edit, service, backend, control.EventAdmin, "is enabled")
}

// Disable takes a backend out.
func (n *Node) Disable(_ context.Context, edit control.Edit, service, backend string, force bool) (uint64, error) {
	return n.out(edit, service, backend, control.EventAdmin, &admin{state: control.AdminDisabled}, force)
}
