package config

import (
	"encoding/json"
	"strings"
)

//go:generate go run ./internal/schema ../../docs/configuration.md ../../contrib/xlb.schema.json

// Schema is a JSON schema, as far as configurations need one.
type Schema struct {
	Dialect     string     `json:"$schema,omitempty"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Type        string     `json:"type,omitempty"`
	Properties  Properties `json:"properties,omitempty"`
	Required    []string   `json:"required,omitempty"`
	Additional  any        `json:"additionalProperties,omitempty"` // closed, or the schema of all values
	Items       *Schema    `json:"items,omitempty"`
	MinItems    int        `json:"minItems,omitempty"`
	AnyOf       []*Schema  `json:"anyOf,omitempty"`
	OneOf       []*Schema  `json:"oneOf,omitempty"`
	Not         *Schema    `json:"not,omitempty"`
	Enum        []string   `json:"enum,omitempty"`
	Pattern     string     `json:"pattern,omitempty"`
	MinLength   int        `json:"minLength,omitempty"`
	Minimum     *int       `json:"minimum,omitempty"`
	Maximum     *int       `json:"maximum,omitempty"`
}

// Properties are the fields of a mapping in the order of the documentation.
type Properties []Property

// Property is a field and what it may hold.
type Property struct {
	Name   string
	Schema *Schema
}

// MarshalJSON returns them as an object.
func (ps Properties) MarshalJSON() ([]byte, error) {
	var b strings.Builder
	for i, p := range ps {
		value, err := json.Marshal(p.Schema)
		if err != nil {
			return nil, err
		}
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		name, _ := json.Marshal(p.Name)
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}

// closed stands for additionalProperties: false.
const closed = false

// FileSchema returns the schema of a configuration file, which accepts every
// file that Parse does, but for numbers in the place of texts. describe returns
// what there is to say of the field at a path such as services.health.interval.
func FileSchema(describe func(path string) string) *Schema {
	d := &decoder{problems: newProblems(""), schema: &Schema{}}
	root := d.schema
	d.config(nil)
	root.explain("", describe)
	root.Dialect, root.Title = "https://json-schema.org/draft/2020-12/schema", "Configuration of an xlb node"
	return root
}

// explain adds descriptions.
func (s *Schema) explain(path string, describe func(path string) string) {
	for _, p := range s.Properties {
		at := join(path, p.Name)
		p.Schema.Description = describe(at)
		p.Schema.explain(at, describe)
	}
	for _, part := range append(append([]*Schema{s.Items}, s.AnyOf...), s.OneOf...) {
		if part != nil {
			part.explain(path, describe)
		}
	}
}

// The describe methods are what reading comes to in a decoder that describes.

func (d *decoder) describe(s Schema) { *d.schema = s }

// inside describes a value within the present one.
func (d *decoder) inside(path string, f read) *Schema {
	outer, s := d.schema, &Schema{}
	d.schema = s
	f(nil, path)
	d.schema = outer
	return s
}

func (d *decoder) describeFields(path string, fields []field) {
	s := d.schema
	s.Type, s.Additional = "object", closed
	for _, f := range fields {
		s.Properties = append(s.Properties, Property{f.name, d.inside(join(path, f.name), f.read)})
		switch {
		case f.missing != "" && f.unless == "":
			s.Required = append(s.Required, f.name)
		case f.missing != "":
			s.AnyOf = requireOne([]string{f.name, f.unless})
		}
	}
}

func (d *decoder) describeItems(path string, item read) {
	d.schema.Type = "array"
	d.schema.Items = d.inside(path, item)
}

func (d *decoder) describeChoice(path string, choices ...read) {
	for _, c := range choices {
		d.schema.AnyOf = append(d.schema.AnyOf, d.inside(path, c))
	}
}

func (d *decoder) describeAny(path string, value read) {
	d.schema.Type = "object"
	d.schema.Additional = d.inside(path, value)
}

func requireOne(names []string) []*Schema {
	var out []*Schema
	for _, name := range names {
		out = append(out, &Schema{Required: []string{name}})
	}
	return out
}

// numbers is the schema of whole numbers within bounds.
func numbers(least, most int) Schema {
	return Schema{Type: "integer", Minimum: &least, Maximum: &most}
}

// matching is the schema of texts that match a pattern.
func matching(pattern string) Schema { return Schema{Type: "string", Pattern: pattern} }
