package api

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/xlb-project/xlb/control"
	"github.com/xlb-project/xlb/control/config"
)

// Writer is what requests for changes may carry.
type Writer struct {
	IfMatch string `header:"If-Match" doc:"the revision that the change was made from, as in ETag; with another one now, nothing is changed" example:"\"12\""`
}

// revision returns the revision that the Writer saw, 0 for any.
func (w Writer) revision() (uint64, error) {
	if w.IfMatch == "" || w.IfMatch == "*" {
		return 0, nil
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(w.IfMatch, `"`), `"`)
	n, err := strconv.ParseUint(bare, 10, 64)
	if err != nil || n == 0 || len(w.IfMatch) != len(bare)+2 {
		return 0, newProblem(CodeInvalid, "If-Match: "+strconv.Quote(w.IfMatch)+" is no revision", `write what ETag said, such as "12"`)
	}
	return n, nil
}

// edit is what the node is told about a change of one object.
func (w Writer) edit(ctx context.Context) (control.Edit, error) {
	n, err := w.revision()
	return control.Edit{Revision: n, Actor: actor(ctx)}, err
}

func etag(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }

type ConfigInput struct {
	RawBody []byte `contentType:"application/yaml" doc:"a configuration, whole, as in docs/configuration.md; it names no other files"`
}

func (in *ConfigInput) parse() (*config.Config, error) { return config.Parse("", in.RawBody) }

type applyInput struct {
	Writer
	ConfigInput
	Source string `query:"source" maxLength:"4096" doc:"where it comes from, such as the name of its file; for the event"`
}

type configOutput struct {
	ETag        string `header:"ETag"`
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type planOutput struct {
	ETag string `header:"ETag"`
	Body control.Plan
}

func newPlan(plan control.Plan, err error) (*planOutput, error) {
	if plan.Changes == nil {
		plan.Changes = []control.Change{}
	}
	if plan.Services == nil {
		plan.Services = []control.ServicePlan{}
	}
	return &planOutput{etag(plan.Revision), plan}, err
}

func (r *routes) addConfig() {
	tags := []string{"configuration"}
	add(r, full, huma.Operation{
		OperationID: "config", Method: http.MethodGet, Path: "/v1/config", Tags: tags,
		Summary: "The effective configuration, as YAML", Description: "The file with the changes at run time. It holds secrets.",
		Responses: map[string]*huma.Response{"200": {Content: map[string]*huma.MediaType{"application/yaml": {}}}},
	}, func(ctx context.Context, _ *nothingAsked) (*configOutput, error) {
		effective, err := r.node.Config(ctx)
		if err != nil {
			return nil, err
		}
		var text bytes.Buffer
		if err := effective.Config.Write(&text); err != nil {
			return nil, err
		}
		return &configOutput{etag(effective.Revision), "application/yaml", text.Bytes()}, nil
	})
	add(r, full, huma.Operation{
		OperationID: "plan", Method: http.MethodPost, Path: "/v1/plan", Tags: tags, MaxBodyBytes: MaxBody,
		Summary: "What applying a configuration would do", Description: "Changes nothing.",
	}, func(ctx context.Context, in *ConfigInput) (*planOutput, error) {
		cfg, err := in.parse()
		if err != nil {
			return nil, err
		}
		return newPlan(r.node.Plan(ctx, cfg))
	})
	add(r, full, huma.Operation{
		OperationID: "apply", Method: http.MethodPost, Path: "/v1/apply", Tags: tags, MaxBodyBytes: MaxBody,
		Summary: "Make a configuration the effective one", Description: "All of it, or nothing.",
	}, func(ctx context.Context, in *applyInput) (*planOutput, error) {
		revision, err := in.revision()
		if err != nil {
			return nil, err
		}
		cfg, err := in.parse()
		if err != nil {
			return nil, err
		}
		return newPlan(r.node.Apply(ctx, control.Request{Config: cfg, Revision: revision, Actor: actor(ctx), Source: in.Source}))
	})
	add(r, full, huma.Operation{
		OperationID: "reload", Method: http.MethodPost, Path: "/v1/reload", Tags: tags,
		Summary: "Read the file again, and keep the changes at run time",
	}, func(ctx context.Context, _ *nothingAsked) (*planOutput, error) {
		return newPlan(r.node.Reload(ctx, actor(ctx)))
	})
	add(r, full, huma.Operation{
		OperationID: "drift", Method: http.MethodGet, Path: "/v1/drift", Tags: tags,
		Summary: "How what runs differs from the file",
	}, func(ctx context.Context, _ *nothingAsked) (*planOutput, error) {
		return newPlan(r.node.Drift(ctx))
	})
}
