package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/xlb-project/xlb/control"
)

// AllKept asks for all events that happened before and are kept.
const AllKept = -1

// Events asks for events: the last ones that happened before, AllKept or a
// number of them, and with follow those to come until ctx ends. An error ends
// them: io.ErrUnexpectedEOF that the daemon has ended.
func (c *Client) Events(ctx context.Context, last int, follow bool) iter.Seq2[control.Event, error] {
	query := url.Values{"follow": {strconv.FormatBool(follow)}}
	if last != AllKept {
		query.Set("last", strconv.Itoa(last))
	}
	return func(yield func(control.Event, error) bool) {
		resp, err := c.send(ctx, request{method: http.MethodGet, path: "/v1/events", query: query})
		if err != nil {
			yield(control.Event{}, err)
			return
		}
		defer resp.Body.Close()
		decoder := json.NewDecoder(bufio.NewReader(resp.Body))
		for {
			var event control.Event
			err := decoder.Decode(&event)
			switch {
			case err == io.EOF && !follow, ctx.Err() != nil:
				return
			case err == io.EOF:
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				yield(event, fmt.Errorf("read the events of %s: %w", c.path, err))
				return
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}
