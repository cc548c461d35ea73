package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Service asks for a service's settings, as JSON in the shape of the configuration
// file, and the revision that they are of.
func (c *Client) Service(ctx context.Context, service string) (Settings, uint64, error) {
	text, revision, err := c.read(ctx, servicePathOf(service))
	return text, revision, err
}

// AddService adds a service; it returns control.ErrConflict if there is one of
// that name. The text is in the shape of the configuration file.
func (c *Client) AddService(ctx context.Context, revision uint64, service string, text []byte) (uint64, error) {
	return c.edit(ctx, request{method: http.MethodPut, path: servicePathOf(service), kind: yamlType, body: text, revision: revision, create: true})
}

// SetService gives a service other settings and backends, or adds it.
func (c *Client) SetService(ctx context.Context, revision uint64, service string, text []byte) (uint64, error) {
	return c.edit(ctx, request{method: http.MethodPut, path: servicePathOf(service), kind: yamlType, body: text, revision: revision})
}

// AddBackend adds a backend to a service, as AddService does.
func (c *Client) AddBackend(ctx context.Context, revision uint64, service, backend string, text []byte) (uint64, error) {
	return c.edit(ctx, request{method: http.MethodPut, path: backendPathOf(service, backend), kind: yamlType, body: text, revision: revision, create: true})
}

// RemoveService takes a service away with its backends. Like all changes of one
// object it was decided on at a revision, 0 for any, and returns the new one, or
// control.ErrConflict if the revision is no longer the present one.
func (c *Client) RemoveService(ctx context.Context, revision uint64, service string) (uint64, error) {
	return c.edit(ctx, request{method: http.MethodDelete, path: servicePathOf(service), revision: revision})
}

// RemoveBackend takes a backend away.
func (c *Client) RemoveBackend(ctx context.Context, revision uint64, service, backend string) (uint64, error) {
	return c.edit(ctx, request{method: http.MethodDelete, path: backendPathOf(service, backend), revision: revision})
}

// Drain keeps new flows from a backend. It is out when none is left, or after
// timeout if that is not 0; with force also as the last one of its service.
func (c *Client) Drain(ctx context.Context, revision uint64, service, backend string, timeout time.Duration, force bool) (uint64, error) {
	drain := DrainRequest{Force: force}
	if timeout > 0 {
		drain.Timeout = timeout.String()
	}
	return c.act(ctx, revision, service, backend, "drain", drain)
}

// Undrain takes a drain back.
func (c *Client) Undrain(ctx context.Context, revision uint64, service, backend string) (uint64, error) {
	return c.act(ctx, revision, service, backend, "undrain", nil)
}

// Enable brings a backend back that was disabled or drained.
func (c *Client) Enable(ctx context.Context, revision uint64, service, backend string) (uint64, error) {
	return c.act(ctx, revision, service, backend, "enable", nil)
}

// Disable takes a backend out at once, with force also as the last one of its service.
func (c *Client) Disable(ctx context.Context, revision uint64, service, backend string, force bool) (uint64, error) {
	return c.act(ctx, revision, service, backend, "disable", ForceRequest{force})
}

// SetWeight changes a backend's share of new flows.
func (c *Client) SetWeight(ctx context.Context, revision uint64, service, backend string, weight int) (uint64, error) {
	return c.act(ctx, revision, service, backend, "weight", WeightRequest{weight})
}

func (c *Client) act(ctx context.Context, revision uint64, service, backend, action string, body any) (uint64, error) {
	r := request{method: http.MethodPost, path: backendPathOf(service, backend) + "/" + action, revision: revision}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		r.kind, r.body = "application/json", text
	}
	return c.edit(ctx, r)
}

func (c *Client) edit(ctx context.Context, r request) (uint64, error) {
	var answer Revision
	return answer.Revision, c.do(ctx, r, &answer)
}

func servicePathOf(service string) string { return "/v1/services/" + url.PathEscape(service) }

func backendPathOf(service, backend string) string {
	return servicePathOf(service) + "/backends/" + url.PathEscape(backend)
}
