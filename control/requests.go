package control

import (
	"context"
	"errors"

	"github.com/xlb-project/xlb/control/config"
)

var errNotYet = errors.New("this daemon cannot do that yet")

// Config returns the configuration that the node is to run.
func (e *Engine) Config(ctx context.Context) (Effective, error) {
	var out Effective
	err := e.do(ctx, func() { out = Effective{Config: e.cfg, Revision: 1, File: e.cfg.File} })
	return out, err
}

// Plan says what Apply would do; it touches nothing.
func (e *Engine) Plan(context.Context, *config.Config) (Plan, error) { return Plan{}, errNotYet }

// Drift says how what runs differs from the file: what has been changed at run time.
func (e *Engine) Drift(context.Context) (Plan, error) { return Plan{}, errNotYet }

// Apply makes the request's configuration the effective one, or changes nothing
// and says why. It returns ErrConflict if the request names a revision that is
// not the present one, and ErrInvalid if the configuration does not fit.
func (e *Engine) Apply(context.Context, Request) (Plan, error) { return Plan{}, errNotYet }

// Reload reads the file again and keeps the changes made at run time.
func (e *Engine) Reload(_ context.Context, actor string) (Plan, error) { return Plan{}, errNotYet }

// SetService adds a service, or gives the one of that name other settings; its
// backends are those in s. The requests for single objects return the new
// revision, ErrConflict as Apply does, ErrUnknown for names that are nobody's,
// and ErrInvalid.
func (e *Engine) SetService(_ context.Context, edit Edit, s config.Service) (uint64, error) {
	return 0, errNotYet
}

// RemoveService takes a service away with its backends.
func (e *Engine) RemoveService(_ context.Context, edit Edit, service string) (uint64, error) {
	return 0, errNotYet
}

// SetBackend adds a backend to a service, or gives the one of that name other settings.
func (e *Engine) SetBackend(_ context.Context, edit Edit, service string, b config.Backend) (uint64, error) {
	return 0, errNotYet
}

// RemoveBackend takes a backend away; its flows break. A backend goes by its name
// or its address.
func (e *Engine) RemoveBackend(_ context.Context, edit Edit, service, backend string) (uint64, error) {
	return 0, errNotYet
}

// SetWeight changes a backend's share of new flows.
func (e *Engine) SetWeight(_ context.Context, edit Edit, service, backend string, weight int) (uint64, error) {
	return 0, errNotYet
}

// Drain keeps new flows from a backend until it has none left or time is up; then
// it is out. It returns ErrRefused if no other backend of the service accepts.
func (e *Engine) Drain(_ context.Context, edit Edit, service, backend string, opts DrainOptions) (uint64, error) {
	return 0, errNotYet
}

// Undrain takes a drain back.
func (e *Engine) Undrain(_ context.Context, edit Edit, service, backend string) (uint64, error) {
	return 0, errNotYet
}

// Enable brings back a backend that was disabled or drained.
func (e *Engine) Enable(_ context.Context, edit Edit, service, backend string) (uint64, error) {
	return 0, errNotYet
}

// Disable takes a backend out at once; its flows break. It returns ErrRefused as
// Drain does.
func (e *Engine) Disable(_ context.Context, edit Edit, service, backend string, force bool) (uint64, error) {
	return 0, errNotYet
}

// Events returns the events after the one numbered since, as far as they are
// kept, and then those to come until ctx ends. A reader that falls far behind
// loses the oldest ones, which the numbers show.
func (e *Engine) Events(_ context.Context, since uint64) (<-chan Event, error) {
	return nil, errNotYet
}

// LastEvent returns the number of the latest event, 0 before the first.
func (e *Engine) LastEvent(context.Context) (uint64, error) { return 0, errNotYet }
