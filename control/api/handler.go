package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/xlb-project/xlb/control"
)

const (
	// MaxBody bounds a request's body: a configuration may be as long as a file.
	MaxBody = 16 << 20

	maxSmallBody       = 64 << 10
	defaultBodyTimeout = 30 * time.Second
)

// Options are what a handler needs besides its node.
type Options struct {
	Access   Access
	Version  string // of xlb
	Instance string // that the daemon runs
	Log      *slog.Logger

	bodyTimeout time.Duration // for all of a body to arrive; 0: the default
}

// routes registers what the API answers.
type routes struct {
	huma.API
	Options
	node Node
}

// Handler serves a node's API. Requests that did not come through Serve have no
// peer, and no rights.
func Handler(node Node, opts Options) http.Handler {
	mux := http.NewServeMux()
	r := register(mux, node, opts)
	document, err := json.Marshal(r.OpenAPI())
	if err != nil {
		panic(fmt.Sprintf("encode the OpenAPI document: %v", err)) // it holds nothing of the outside
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(document) // the client went away
	})
	return &handler{mux, opts}
}

func register(mux *http.ServeMux, node Node, opts Options) *routes {
	settings := huma.DefaultConfig("xlb", opts.Version)
	settings.Info.Description = "A node's daemon, on a unix socket. What changes the node needs root or membership of the group api.group."
	settings.CreateHooks = nil
	settings.DocsPath, settings.OpenAPIPath, settings.SchemasPath = "", "", ""
	settings.RejectUnknownQueryParameters = true
	r := &routes{humago.New(mux, settings), opts, node}
	r.addStatus()
	r.addEvents()
	r.addConfig()
	r.addServices()
	r.addBackends()
	r.describeSettings()
	return r
}

// named is an input that says which object it is about.
type named interface{ object() string }

// add registers an operation for peers that have a right.
func add[I, O any](r *routes, needs right, op huma.Operation, answer func(context.Context, *I) (*O, error)) {
	op.Middlewares = append(op.Middlewares, r.require(needs))
	op.DefaultStatus = http.StatusOK
	op.BodyReadTimeout = cmp.Or(r.bodyTimeout, defaultBodyTimeout)
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxSmallBody
	}
	if needs == full {
		op.Description = strings.TrimSpace(op.Description + " Needs root or membership of the group.")
	}
	huma.Register(r.API, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := answer(ctx, in)
		if err == nil {
			return out, nil
		}
		object := ""
		if in, ok := any(in).(named); ok {
			object = in.object()
		}
		p := problemOf(object, err)
		if in, ok := any(in).(interface{ revision() (uint64, error) }); ok && p.Code == CodeConflict {
			p.Since = r.changesSince(ctx, in.revision)
		}
		return nil, p
	})
}

// mostSince is how many of the changes in between a conflict tells of, the latest.
const mostSince = 5

// changesSince returns what was changed after a revision, as far as events are kept.
func (r *routes) changesSince(ctx context.Context, revision func() (uint64, error)) []control.Event {
	seen, err := revision()
	if err != nil || seen == 0 {
		return nil
	}
	latest, err := r.node.LastEvent(ctx)
	if err != nil || latest == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := r.node.Events(ctx, 0)
	if err != nil {
		return nil
	}
	var changes []control.Event
	for e := range events {
		if e.Revision > seen && e.Actor != "" {
			changes = append(changes, e)
		}
		if e.Seq >= latest {
			break
		}
	}
	return changes[max(0, len(changes)-mostSince):]
}

// require refuses peers without a right before anything of their request is read.
func (r *routes) require(needs right) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		p, ok := peerOf(ctx.Context())
		if !ok {
			p.name = "somebody unknown"
		}
		if !ok || r.Access.of(p) < needs {
			_, w := humago.Unwrap(ctx)
			writeProblem(w, r.Access.forbid(p))
			return
		}
		next(ctx)
	}
}

// handler is what is common to all requests.
type handler struct {
	mux *http.ServeMux
	Options
}

type controlKey struct{}

// controller returns what sets the deadlines of a request.
func controller(ctx context.Context) *http.ResponseController {
	return ctx.Value(controlKey{}).(*http.ResponseController)
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer h.recover(r)
	r = r.WithContext(context.WithValue(r.Context(), controlKey{}, http.NewResponseController(w)))
	w.Header().Set("Cache-Control", "no-store")
	if _, pattern := h.mux.Handler(r); pattern == "" {
		h.unrouted(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// recover keeps a bug in one answer from being more than that. A client that
// went away in the middle of its answer is no bug.
func (h *handler) recover(r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	err, _ := v.(error)
	if r.Context().Err() == nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		h.Log.Error("answer a request: "+fmt.Sprint(v), "method", r.Method, "path", r.URL.Path, "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}

// unrouted answers in our words what the mux would in plain text.
func (h *handler) unrouted(w http.ResponseWriter, r *http.Request) {
	var answer discard
	h.mux.ServeHTTP(&answer, r)
	p := newProblem(CodeNoRoute, "nothing has the path "+r.URL.Path, "see /openapi.json")
	if answer.status == http.StatusMethodNotAllowed {
		allow := answer.Header().Get("Allow")
		w.Header().Set("Allow", allow)
		p = newProblem(CodeMethod, r.URL.Path+" has no method "+r.Method, "use "+allow)
	}
	writeProblem(w, p)
}

// discard keeps of an answer only its status and header.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client went away
}
