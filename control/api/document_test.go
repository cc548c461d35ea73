package api_test

import (
	"bytes"
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
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/api/apitest"
)

// operation is one of the OpenAPI document, as far as tests look at it.
type operation struct {
	OperationID string `json:"operationId"`
	Summary     string `json:"summary"`
	Description string `json:"description"`
	Responses   map[string]any
}

// documentText returns the OpenAPI document.
func documentText(t *testing.T) []byte {
	t.Helper()
	handler := api.Handler(apitest.New(parse(t, text)), api.Options{Version: "v1", Log: slog.New(slog.DiscardHandler)})
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("status %d", answer.Code)
	}
	return answer.Body.Bytes()
}

func TestDocumentationHasTheRoutesOfTheOpenAPIDocument(t *testing.T) {
	var want []string
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]operation
	}
	must(t, json.Unmarshal(documentText(t), &doc))
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %q", doc.OpenAPI)
	}
	for path, methods := range doc.Paths {
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

func TestAnswersAreAsTheOpenAPIDocumentSays(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(documentText(t)))
	must(t, err)
	compiler := jsonschema.NewCompiler()
	must(t, compiler.AddResource("openapi.json", doc))
	client := serve(t, apitest.New(parse(t, text)))
	_, err = client.Drain(t.Context(), 0, "web", "b1", time.Minute, false)
	must(t, err)
	_, problem := client.Plan(t.Context(), []byte("services: [1"))
	answers := map[string]any{"Problem": problem}
	answers["Status"], err = client.Status(t.Context())
	must(t, err)
	answers["Version"], err = client.Version(t.Context())
	must(t, err)
	answers["Plan"], err = client.Plan(t.Context(), []byte(strings.Replace(text, "name: web", "name: www", 1)))
	must(t, err)
	answers["Service"], _, err = client.Service(t.Context(), "web")
	must(t, err)
	for event, err := range client.Events(t.Context(), 1, false) {
		must(t, err)
		answers["Event"] = event
	}
	if len(answers) != 6 {
		t.Errorf("only %d answers to look at", len(answers))
	}
	for name, answer := range answers {
		schema, err := compiler.Compile("openapi.json#/components/schemas/" + name)
		must(t, err)
		encoded, err := json.Marshal(answer)
		must(t, err)
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
		must(t, err)
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: %v\n%s", name, err, encoded)
		}
	}
}
