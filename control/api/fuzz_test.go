package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/xlb-project/xlb/control/api/apitest"
	"github.com/xlb-project/xlb/control/config"
)

const fuzzText = `
interfaces: [eth0]
services:
  - {name: web, vip: 192.0.2.10, port: 80, forward: ipip, backends: [{address: 10.1.0.1, name: b1}, {address: 10.1.0.2, name: b2}]}
`

// FuzzRequest asks a node in memory for anything. Whatever is asked, the answer
// is proper, a problem has changed nothing, and what runs can be read again.
func FuzzRequest(f *testing.F) {
	for _, seed := range []struct{ method, path, match, body string }{
		{"GET", "/v1/status?service=web&backend=b1", "", ""},
		{"GET", "/v1/events?last=1", "", ""},
		{"POST", "/v1/plan", "", fuzzText},
		{"POST", "/v1/apply?source=x", `"1"`, fuzzText},
		{"PUT", "/v1/services/web", `"1"`, `{"name": "web", "vip": "192.0.2.10", "port": "80-90", "forward": "gue", "backends": [{"address": "10.1.0.1"}]}`},
		{"PUT", "/v1/services/web/backends/b3", "", "{address: 10.1.0.3, name: b3, weight: 7}"},
		{"DELETE", "/v1/services/web/backends/b1", "*", ""},
		{"POST", "/v1/services/web/backends/b1/drain", `"7"`, `{"timeout": "5m", "force": true}`},
		{"POST", "/v1/services/web/backends/b1/weight", "", `{"weight": 1e400}`},
		{"POST", "/v1/services/web/backends/b1/disable", "", `{"force": 1, "Force": true}`},
		{"PATCH", "/v1/services/%2e%2e/x", "1", "\x00"},
	} {
		f.Add(seed.method, seed.path, seed.match, []byte(seed.body))
	}
	cfg, err := config.Parse("", []byte(fuzzText))
	if err != nil {
		f.Fatal(err)
	}
	var said strings.Builder
	var node struct{ *apitest.Node } // another each time, since a handler takes long to make
	h := Handler(&node, Options{Access: Access{group: noGroup}, Log: slog.New(slog.NewTextHandler(&said, nil))})
	f.Fuzz(func(t *testing.T, method, path, match string, body []byte) {
		node.Node = apitest.New(cfg)
		r, err := http.NewRequest(method, "http://xlb/"+strings.TrimPrefix(path, "/"), strings.NewReader(string(body)))
		if err != nil || strings.Contains(path, "follow") {
			return // no client can send it, or its answer has no end
		}
		r.Header.Set("If-Match", match)
		r.RequestURI = r.URL.RequestURI()
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r.WithContext(withPeer(context.Background(), peer{uid: 0, name: "root"})))
		if said.Len() > 0 {
			t.Fatalf("%s", said.String())
		}
		effective, err := node.Config(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := effective.Config.Write(&text); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse("", []byte(text.String())); err != nil && effective.Config.Validate() == nil {
			t.Errorf("what runs is valid and cannot be read again: %v\n%s", err, text.String())
		}
		if answer.Code == http.StatusOK || answer.Code/100 == 3 {
			return
		}
		var p Problem
		if err := json.Unmarshal(answer.Body.Bytes(), &p); err != nil || p.Status != answer.Code || p.Code == "" || p.Title == "" {
			t.Errorf("status %d with %s", answer.Code, answer.Body)
		}
		if answer.Code >= 500 {
			t.Errorf("status %d: %s", answer.Code, answer.Body)
		}
		if effective.Revision != 1 {
			t.Errorf("status %d, and still something was changed: %s", answer.Code, answer.Body)
		}
	})
}
