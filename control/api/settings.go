package api

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/xlb-project/xlb/control/config"
)

// Settings are a service or a backend in the shape of the configuration file,
// without defaults, as JSON.
type Settings []byte

// MarshalJSON returns the settings, which are JSON.
func (s Settings) MarshalJSON() ([]byte, error) { return s, nil }

// UnmarshalJSON keeps JSON as it is.
func (s *Settings) UnmarshalJSON(text []byte) error {
	*s = slices.Clone(text)
	return nil
}

// Schema says what settings are; describeSettings says which fields they have.
func (Settings) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeObject} }

const components = "#/components/schemas/"

// describeSettings makes the OpenAPI document describe configurations, services
// and backends as the schema of the configuration file does. It comes after the
// routes: their bodies are for the parser to judge, not for the library.
func (r *routes) describeSettings() {
	file := config.FileSchema(func(string) string { return "" })
	service := itemOf(file, "services")
	schemas := r.OpenAPI().Components.Schemas.Map()
	for name, s := range schemas {
		if !strings.HasSuffix(name, "Request") {
			s.AdditionalProperties = true // fields are added to answers
		}
	}
	schemas["Configuration"] = verbatim(file)
	schemas["Service"] = verbatim(service)
	schemas["Backend"] = verbatim(itemOf(service, "backends"))
	schemas["Services"].Properties["services"].Items = &huma.Schema{Ref: components + "Service"}
	schemas["Backends"].Properties["backends"].Items = &huma.Schema{Ref: components + "Backend"}
	for path, item := range r.OpenAPI().Paths {
		kind := "Configuration"
		if strings.HasSuffix(path, "{service}") {
			kind = "Service"
		} else if strings.HasSuffix(path, "{backend}") {
			kind = "Backend"
		}
		shape := &huma.MediaType{Schema: &huma.Schema{Ref: components + kind}}
		for _, op := range []*huma.Operation{item.Post, item.Put} {
			if op != nil && op.RequestBody != nil && op.RequestBody.Content[yamlType] != nil {
				op.RequestBody.Content = map[string]*huma.MediaType{yamlType: shape, "application/json": shape}
			}
		}
		if kind != "Configuration" {
			item.Get.Responses["200"].Content["application/json"] = shape
		}
	}
}

// itemOf returns what the entries of a field's list are, of a mapping.
func itemOf(s *config.Schema, field string) *config.Schema {
	for _, p := range s.Properties {
		if p.Name == field {
			return p.Schema.Items
		}
	}
	return nil
}

// verbatim is a schema that the library only passes on.
func verbatim(s *config.Schema) *huma.Schema {
	bare := *s
	bare.Dialect, bare.Title = "", ""
	text, err := json.Marshal(&bare)
	var out huma.Schema
	if err == nil {
		err = json.Unmarshal(text, &out.Extensions)
	}
	if err != nil {
		panic("describe the configuration: " + err.Error()) // it holds nothing of the outside
	}
	return &out
}
