package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/xlb-project/xlb/control/config"
)

type setBackendInput struct {
	Writer
	New
	BackendPath
	RawBody []byte `contentType:"application/yaml" doc:"a backend as in backends: of docs/configuration.md, as YAML or JSON"`
}

// Backends are all backends of a service.
type Backends struct {
	Revision uint64     `json:"revision"`
	Backends []Settings `json:"backends"`
}

type backendsOutput struct {
	ETag string `header:"ETag"`
	Body Backends
}

// addBackendSettings registers what deals with backends as the file has them.
func (r *routes) addBackendSettings() {
	add(r, full, huma.Operation{
		OperationID: "list-backends", Method: http.MethodGet, Path: "/v1/services/{service}/backends", Tags: []string{"backends"},
		Summary: "Settings of all backends of a service",
	}, func(ctx context.Context, in *ServicePath) (*backendsOutput, error) {
		effective, err := r.node.Config(ctx)
		if err != nil {
			return nil, err
		}
		s, err := serviceOf(effective.Config, in.Service)
		if err != nil {
			return nil, err
		}
		out := Backends{effective.Revision, []Settings{}}
		for _, b := range s.Backends {
			text, err := b.MarshalJSON()
			if err != nil {
				return nil, err
			}
			out.Backends = append(out.Backends, text)
		}
		return &backendsOutput{etag(effective.Revision), out}, nil
	})
	add(r, full, action("get-backend", http.MethodGet, "", "Settings of a backend", ""), func(ctx context.Context, in *BackendPath) (*settingsOutput, error) {
		effective, err := r.node.Config(ctx)
		if err != nil {
			return nil, err
		}
		s, err := serviceOf(effective.Config, in.Service)
		if err != nil {
			return nil, err
		}
		b, err := backendOf(s, in.Backend)
		if err != nil {
			return nil, err
		}
		text, err := b.MarshalJSON()
		return &settingsOutput{etag(effective.Revision), text}, err
	})
	add(r, full, action("set-backend", http.MethodPut, "", "Add a backend, or give it other settings", ""), r.setBackend)
}

func (r *routes) setBackend(ctx context.Context, in *setBackendInput) (*revisionOutput, error) {
	edit, err := in.edit(ctx)
	if err != nil {
		return nil, err
	}
	b, err := config.ParseBackend("", in.RawBody)
	if err != nil {
		return nil, err
	}
	if b.Name != in.Backend && b.Address.String() != in.Backend {
		return nil, otherName("backend", b.Name, in.Backend)
	}
	if in.IfNoneMatch != "" {
		effective, err := r.node.Config(ctx)
		if err != nil {
			return nil, err
		}
		s, err := serviceOf(effective.Config, in.Service)
		if err != nil {
			return nil, err
		}
		if old, _ := backendOf(s, in.Backend); old != nil {
			return nil, exists(in.object(), effective.Revision)
		}
		onlyFrom(&edit, effective.Revision)
	}
	return newRevision(r.node.SetBackend(ctx, edit, in.Service, b))
}
