// Package api is how programs and the command line talk to a running daemon:
// HTTP with JSON over a unix socket, described by the OpenAPI document at
// /openapi.json and in docs/api.md.
//
// The kernel says who is at the other end of a connection. Root and the members
// of a group may do everything, others nothing, or by option look at what holds
// no secrets. Whoever asks for a change is named in its events.
package api

import (
	"context"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
)

// Node is what the API tells about and acts on; *control.Engine is one.
type Node interface {
	Status(context.Context) (control.Status, error)
	Config(context.Context) (control.Effective, error)
	Plan(context.Context, *config.Config) (control.Plan, error)
	Drift(context.Context) (control.Plan, error)
	Apply(context.Context, control.Request) (control.Plan, error)
	Reload(ctx context.Context, actor string) (control.Plan, error)

	SetService(context.Context, control.Edit, config.Service) (uint64, error)
	RemoveService(ctx context.Context, edit control.Edit, service string) (uint64, error)
	SetBackend(ctx context.Context, edit control.Edit, service string, b config.Backend) (uint64, error)
	RemoveBackend(ctx context.Context, edit control.Edit, service, backend string) (uint64, error)
	SetWeight(ctx context.Context, edit control.Edit, service, backend string, weight int) (uint64, error)
	Drain(ctx context.Context, edit control.Edit, service, backend string, opts control.DrainOptions) (uint64, error)
	Undrain(ctx context.Context, edit control.Edit, service, backend string) (uint64, error)
	Enable(ctx context.Context, edit control.Edit, service, backend string) (uint64, error)
	Disable(ctx context.Context, edit control.Edit, service, backend string, force bool) (uint64, error)

	Events(ctx context.Context, since uint64) (<-chan control.Event, error)
	LastEvent(context.Context) (uint64, error)
}
