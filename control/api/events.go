package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/xlb-project/xlb/control"
)

const (
	eventType    = "application/x-ndjson"
	writeTimeout = 10 * time.Second // of an event; whoever reads slower is cut off
)

type eventsInput struct {
	Since  uint64 `query:"since" doc:"only events with a greater seq"`
	Last   int    `query:"last" minimum:"0" doc:"at most so many of those that happened before; without it all that are kept"`
	Follow bool   `query:"follow" doc:"go on with events as they happen"`

	counted bool
}

// Resolve notes whether last is there: last=0 asks for none.
func (in *eventsInput) Resolve(ctx huma.Context) []error {
	in.counted = ctx.Query("last") != ""
	return nil
}

func (r *routes) addEvents() {
	add(r, read, huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/v1/events", Tags: []string{"node"},
		Summary:     "What happened, one JSON object in a line for each event",
		Description: "The last events are kept, not all. A gap in seq shows events that are lost.",
		Responses: map[string]*huma.Response{"200": {Content: map[string]*huma.MediaType{
			eventType: {Schema: r.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[control.Event](), true, "Event")},
		}}},
	}, func(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		// The latest is asked for first: an event in between is then one to come.
		latest, err := r.node.LastEvent(ctx)
		if err != nil {
			return nil, err
		}
		since := in.Since
		if in.counted && uint64(in.Last) < latest {
			since = max(since, latest-uint64(in.Last))
		}
		ctx, cancel := streaming(ctx)
		events, err := r.node.Events(ctx, since)
		if err != nil {
			cancel()
			return nil, err
		}
		return &huma.StreamResponse{Body: func(out huma.Context) {
			defer cancel()
			out.SetHeader("Content-Type", eventType)
			out.SetStatus(http.StatusOK)
			send(ctx, out, events, since, latest, in.Follow)
		}}, nil
	})
}

// send writes events until there are no more that were asked for.
func send(ctx context.Context, out huma.Context, events <-chan control.Event, since, latest uint64, follow bool) {
	connection, encoder := controller(ctx), json.NewEncoder(out.BodyWriter())
	_ = connection.Flush() // that there is an answer, even without an event
	for follow || since < latest {
		select {
		case event, ok := <-events:
			if !ok {
				return
			}
			since = event.Seq
			_ = connection.SetWriteDeadline(time.Now().Add(writeTimeout))
			if encoder.Encode(event) != nil || connection.Flush() != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}
