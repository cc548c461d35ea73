package api_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/api/apitest"
)

// document returns the OpenAPI document, as far as tests look at it.
func document(t *testing.T) (paths map[string]map[string]struct {
	OperationID string `json:"operationId"`
	Summary     string `json:"summary"`
	Description string `json:"description"`
	Responses   map[string]any
}) {
	t.Helper()
	handler := api.Handler(apitest.New(parse(t, text)), api.Options{Version: "v1", Log: slog.New(slog.DiscardHandler)})
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("status %d", answer.Code)
	}
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   json.RawMessage
	}
	must(t, json.Unmarshal(answer.Body.Bytes(), &doc))
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %q", doc.OpenAPI)
	}
	must(t, json.Unmarshal(doc.Paths, &paths))
	return paths
}

func TestDocumentationHasTheRoutesOfTheOpenAPIDocument(t *testing.T) {
	var want []string
	for path, methods := range document(t) {
		for method, op := range methods {
			right := "read"
			if strings.Contains(op.Description, "Needs root") {
				right = "full"
			}
			want = append(want, fmt.Sprintf("%s %s %s", strings.ToUpper(method), path, right))
			if op.Summary == "" || op.OperationID == "" {
				t.Errorf("%s %s says nothing about itself", method, path)
			}
			if op.Responses["200"] == nil || op.Responses["default"] == nil {
				t.Errorf("%s %s has the answers %v, want 200 and default", method, path, slices.Sorted(maps.Keys(op.Responses)))
			}
		}
	}
	page, err := os.ReadFile("../../docs/api.md")
	must(t, err)
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /v1[^`]*)` \\|.*\\| (\\w+) \\|$").FindAllStringSubmatch(string(page), -1) {
		got = append(got, m[1]+" "+m[2])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/api.md, -OpenAPI +page:\n%s", diff)
	}
}
