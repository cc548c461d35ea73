package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
)

// ServicePath names a service.
type ServicePath struct {
	Service string `path:"service" maxLength:"63"`
}

func (in *ServicePath) object() string { return "service " + in.Service }

type serviceEdit struct {
	Writer
	ServicePath
}

// New is what requests that add or replace an object may carry.
type New struct {
	IfNoneMatch string `header:"If-None-Match" enum:"*" doc:"only add: with an object of that name there, nothing is changed"`
}

type setServiceInput struct {
	Writer
	New
	ServicePath
	RawBody []byte `contentType:"application/yaml" doc:"a service as in services: of docs/configuration.md, as YAML or JSON"`
}

// Services are all services of a node.
type Services struct {
	Revision uint64     `json:"revision"`
	Services []Settings `json:"services"`
}

type servicesOutput struct {
	ETag string `header:"ETag"`
	Body Services
}

type settingsOutput struct {
	ETag string `header:"ETag"`
	Body Settings
}

// Revision is the answer to a change.
type Revision struct {
	Revision uint64 `json:"revision" doc:"of the configuration that the change led to"`
}

type revisionOutput struct {
	ETag string `header:"ETag"`
	Body Revision
}

func newRevision(revision uint64, err error) (*revisionOutput, error) {
	return &revisionOutput{etag(revision), Revision{revision}}, err
}

func (r *routes) addServices() {
	tags := []string{"services"}
	add(r, full, huma.Operation{
		OperationID: "list-services", Method: http.MethodGet, Path: "/v1/services", Tags: tags,
		Summary: "Settings of all services, with their backends",
	}, func(ctx context.Context, _ *nothingAsked) (*servicesOutput, error) {
		effective, err := r.node.Config(ctx)
		if err != nil {
			return nil, err
		}
		out := Services{effective.Revision, []Settings{}}
		for i := range effective.Config.Services {
			out.Services = append(out.Services, effective.Config.MarshalService(&effective.Config.Services[i]))
		}
		return &servicesOutput{etag(effective.Revision), out}, nil
	})
	add(r, full, huma.Operation{
		OperationID: "get-service", Method: http.MethodGet, Path: "/v1/services/{service}", Tags: tags,
		Summary: "Settings of a service, with its backends",
	}, func(ctx context.Context, in *ServicePath) (*settingsOutput, error) {
		effective, err := r.node.Config(ctx)
		if err != nil {
			return nil, err
		}
		s, err := serviceOf(effective.Config, in.Service)
		if err != nil {
			return nil, err
		}
		return &settingsOutput{etag(effective.Revision), effective.Config.MarshalService(s)}, nil
	})
	add(r, full, huma.Operation{
		OperationID: "set-service", Method: http.MethodPut, Path: "/v1/services/{service}", Tags: tags, MaxBodyBytes: MaxBody,
		Summary: "Add a service, or give it other settings and backends",
	}, r.setService)
	add(r, full, huma.Operation{
		OperationID: "remove-service", Method: http.MethodDelete, Path: "/v1/services/{service}", Tags: tags,
		Summary: "Take a service away with its backends",
	}, func(ctx context.Context, in *serviceEdit) (*revisionOutput, error) {
		edit, err := in.edit(ctx)
		if err != nil {
			return nil, err
		}
		return newRevision(r.node.RemoveService(ctx, edit, in.Service))
	})
}

func (r *routes) setService(ctx context.Context, in *setServiceInput) (*revisionOutput, error) {
	edit, err := in.edit(ctx)
	if err != nil {
		return nil, err
	}
	effective, err := r.node.Config(ctx)
	if err != nil {
		return nil, err
	}
	if in.IfNoneMatch != "" {
		if old, _ := serviceOf(effective.Config, in.Service); old != nil {
			return nil, exists(in.object(), effective.Revision)
		}
		onlyFrom(&edit, effective.Revision)
	}
	s, err := effective.Config.ParseService("", in.RawBody)
	if err != nil {
		return nil, err
	}
	if s.Name != in.Service {
		return nil, otherName("service", s.Name, in.Service)
	}
	return newRevision(r.node.SetService(ctx, edit, s))
}

// onlyFrom ties a change to the revision that was looked at, so that it is not
// made to what has come in between.
func onlyFrom(e *control.Edit, revision uint64) {
	if e.Revision == 0 {
		e.Revision = revision
	}
}

func exists(object string, revision uint64) error {
	return newProblem(CodeExists, fmt.Sprintf("%s is there already (revision %d)", object, revision), "change it, or choose another name")
}

func otherName(kind, name, path string) error {
	return newProblem(CodeInvalid, fmt.Sprintf("the %s is called %s in the body and %s in the path", kind, name, path), "write the same")
}

func serviceOf(cfg *config.Config, name string) (*config.Service, error) {
	var names []string
	for i := range cfg.Services {
		if cfg.Services[i].Name == name {
			return &cfg.Services[i], nil
		}
		names = append(names, cfg.Services[i].Name)
	}
	return nil, control.Unknown("no service", name, names)
}

func backendOf(s *config.Service, name string) (*config.Backend, error) {
	var names []string
	for i := range s.Backends {
		if b := &s.Backends[i]; b.Name == name || b.Address.String() == name {
			return b, nil
		}
		names = append(names, s.Backends[i].Name)
	}
	return nil, control.Unknown("service "+s.Name+" has no backend", name, names)
}
