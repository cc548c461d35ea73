package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/xlb-project/xlb/control"
)

const yamlType = "application/yaml"

// Plan asks what applying a configuration would do; nothing is changed.
func (c *Client) Plan(ctx context.Context, text []byte) (control.Plan, error) {
	return c.plan(ctx, request{method: http.MethodPost, path: "/v1/plan", kind: yamlType, body: text})
}

// Apply makes a configuration the effective one. It comes from source, and was
// made from a revision, 0 for any; it returns control.ErrConflict if the
// revision is no longer the present one.
func (c *Client) Apply(ctx context.Context, revision uint64, source string, text []byte) (control.Plan, error) {
	return c.plan(ctx, request{
		method: http.MethodPost, path: "/v1/apply", query: url.Values{"source": {source}},
		kind: yamlType, body: text, revision: revision,
	})
}

// Reload has the daemon read its file again.
func (c *Client) Reload(ctx context.Context) (control.Plan, error) {
	return c.plan(ctx, request{method: http.MethodPost, path: "/v1/reload"})
}

// Drift asks how what runs differs from the file.
func (c *Client) Drift(ctx context.Context) (control.Plan, error) {
	return c.plan(ctx, request{method: http.MethodGet, path: "/v1/drift"})
}

// Config asks for the effective configuration, as YAML, and its revision.
func (c *Client) Config(ctx context.Context) ([]byte, uint64, error) {
	return c.read(ctx, "/v1/config")
}

func (c *Client) plan(ctx context.Context, r request) (control.Plan, error) {
	var plan control.Plan
	return plan, c.do(ctx, r, &plan)
}
