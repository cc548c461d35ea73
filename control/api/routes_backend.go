package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
)

// BackendPath names a backend of a service.
type BackendPath struct {
	Service string `path:"service" maxLength:"63"`
	Backend string `path:"backend" maxLength:"63" doc:"name or address"`
}

func (in *BackendPath) object() string { return "backend " + in.Service + "/" + in.Backend }

type BackendEdit struct {
	Writer
	BackendPath
}

// WeightRequest is the share of new flows that a backend is to get.
type WeightRequest struct {
	Weight int `json:"weight" doc:"relative to the other backends of the service, 1 to 1000"`
}

type weightInput struct {
	BackendEdit
	Body WeightRequest
}

// ForceRequest says that clients may lose service.
type ForceRequest struct {
	Force bool `json:"force,omitempty" doc:"also if no other backend of the service accepts"`
}

type disableInput struct {
	BackendEdit
	Body *ForceRequest
}

// DrainRequest says how a backend is drained.
type DrainRequest struct {
	Timeout string `json:"timeout,omitempty" doc:"it is out after that long, whatever flows are left; without it, when none is left" example:"5m"`
	Force   bool   `json:"force,omitempty" doc:"also if no other backend of the service accepts"`
}

type drainInput struct {
	BackendEdit
	Body *DrainRequest
}

// options reads how a backend is drained.
func (in *drainInput) options() (control.DrainOptions, error) {
	if in.Body == nil {
		return control.DrainOptions{}, nil
	}
	opts := control.DrainOptions{Force: in.Body.Force}
	if in.Body.Timeout == "" {
		return opts, nil
	}
	var err error
	if opts.Timeout, err = time.ParseDuration(in.Body.Timeout); err != nil || opts.Timeout <= 0 {
		return opts, newProblem(CodeInvalid, "timeout "+in.Body.Timeout+" is no duration above 0", "write one with its unit, such as 30s or 5m")
	}
	return opts, nil
}

func (r *routes) addBackends() {
	r.addBackendSettings()
	add(r, full, action("remove-backend", http.MethodDelete, "", "Take a backend away", "Its flows break: drain it first."),
		func(ctx context.Context, in *BackendEdit) (*revisionOutput, error) {
			return change(ctx, in, r.node.RemoveBackend)
		})
	add(r, full, action("undrain", http.MethodPost, "/undrain", "Take a drain back", ""),
		func(ctx context.Context, in *BackendEdit) (*revisionOutput, error) {
			return change(ctx, in, r.node.Undrain)
		})
	add(r, full, action("enable", http.MethodPost, "/enable", "Bring a backend back that was disabled or drained", ""),
		func(ctx context.Context, in *BackendEdit) (*revisionOutput, error) {
			return change(ctx, in, r.node.Enable)
		})
	add(r, full, action("disable", http.MethodPost, "/disable", "Take a backend out at once", "Its flows break."),
		func(ctx context.Context, in *disableInput) (*revisionOutput, error) {
			force := in.Body != nil && in.Body.Force
			return change(ctx, &in.BackendEdit, func(ctx context.Context, edit control.Edit, service, backend string) (uint64, error) {
				return r.node.Disable(ctx, edit, service, backend, force)
			})
		})
	add(r, full, action("drain", http.MethodPost, "/drain", "Send new flows elsewhere and keep those that there are",
		"When none is left, or time is up, the backend is out. GET /v1/status tells how far it is."),
		func(ctx context.Context, in *drainInput) (*revisionOutput, error) {
			opts, err := in.options()
			if err != nil {
				return nil, err
			}
			return change(ctx, &in.BackendEdit, func(ctx context.Context, edit control.Edit, service, backend string) (uint64, error) {
				return r.node.Drain(ctx, edit, service, backend, opts)
			})
		})
	add(r, full, action("weight", http.MethodPost, "/weight", "Change a backend's share of new flows", ""),
		func(ctx context.Context, in *weightInput) (*revisionOutput, error) {
			if err := checkWeight(in.Body.Weight); err != nil {
				return nil, err
			}
			return change(ctx, &in.BackendEdit, func(ctx context.Context, edit control.Edit, service, backend string) (uint64, error) {
				return r.node.SetWeight(ctx, edit, service, backend, in.Body.Weight)
			})
		})
}

func checkWeight(weight int) error {
	if weight < 1 || weight > config.MaxWeight {
		return newProblem(CodeInvalid, fmt.Sprintf("weight %d is out of range", weight),
			fmt.Sprintf("write 1 to %d; a backend that is to get nothing is drained or disabled", config.MaxWeight))
	}
	return nil
}

func action(id, method, path, summary, description string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: "/v1/services/{service}/backends/{backend}" + path, Tags: []string{"backends"},
		Summary: summary, Description: description,
	}
}

// change asks the node for a change of one backend.
func change(ctx context.Context, in *BackendEdit, f func(ctx context.Context, edit control.Edit, service, backend string) (uint64, error)) (*revisionOutput, error) {
	edit, err := in.edit(ctx)
	if err != nil {
		return nil, err
	}
	return newRevision(f(ctx, edit, in.Service, in.Backend))
}
