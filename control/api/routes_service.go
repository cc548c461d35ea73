package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
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
