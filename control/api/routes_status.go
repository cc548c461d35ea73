package api

import (
	"context"
	"net/http"
	"runtime"

	"github.com/danielgtaylor/huma/v2"

	"github.com/xlb-project/xlb/control"
)

// Version says what runs.
type Version struct {
	Version  string `json:"version"`
	Instance string `json:"instance"`
	Go       string `json:"go"`
}

type body[T any] struct{ Body T }

// nothingAsked is the input of operations that take none.
type nothingAsked struct{}

type statusInput struct {
	Service string `query:"service" doc:"only this service"`
	Backend string `query:"backend" doc:"only this backend, by name or address; with service"`
}

func (r *routes) addStatus() {
	add(r, read, huma.Operation{
		OperationID: "status", Method: http.MethodGet, Path: "/v1/status", Tags: []string{"node"},
		Summary: "Services, backends, health and traffic",
	}, func(ctx context.Context, in *statusInput) (*body[control.Status], error) {
		status, err := r.node.Status(ctx)
		if err == nil {
			err = narrow(&status, in)
		}
		if err != nil {
			return nil, err
		}
		return &body[control.Status]{status}, nil
	})
	add(r, read, huma.Operation{
		OperationID: "version", Method: http.MethodGet, Path: "/v1/version", Tags: []string{"node"},
		Summary: "The daemon's version",
	}, func(context.Context, *nothingAsked) (*body[Version], error) {
		return &body[Version]{Version{r.Version, r.Instance, runtime.Version()}}, nil
	})
}

// narrow leaves of a status what was asked for.
func narrow(status *control.Status, in *statusInput) error {
	if in.Service == "" {
		if in.Backend != "" {
			return newProblem(CodeInvalid, "a backend is named without its service", "name the service too")
		}
		return nil
	}
	var names []string
	for _, s := range status.Services {
		if s.Name == in.Service {
			status.Services = []control.ServiceStatus{s}
			return narrowService(&status.Services[0], in.Backend)
		}
		names = append(names, s.Name)
	}
	return control.Unknown("no service", in.Service, names)
}

func narrowService(s *control.ServiceStatus, backend string) error {
	if backend == "" {
		return nil
	}
	var names []string
	for _, b := range s.Backends {
		if b.Name == backend || b.Address == backend {
			s.Backends = []control.BackendStatus{b}
			return nil
		}
		names = append(names, b.Name)
	}
	return control.Unknown("service "+s.Name+" has no backend", backend, names)
}
