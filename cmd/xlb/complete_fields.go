package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/xlb-project/xlb/control/config"
)

// completeAssignment completes FIELD=VALUE by the schema of the list in the
// configuration that a path names: services, or services.backends.
func completeAssignment(path, text string) ([]string, cobra.ShellCompDirective) {
	schema := config.FileSchema(func(string) string { return "" })
	for _, list := range strings.Split(path, ".") {
		schema = fieldOf(schema, list).Items
	}
	name, value, isValue := strings.Cut(text, "=")
	outer, last := "", name
	if i := strings.LastIndex(name, "."); i >= 0 {
		outer, last = name[:i+1], name[i+1:]
	}
	for _, step := range strings.Split(outer, ".") {
		if step == "" {
			break
		}
		if schema = fieldOf(schema, step); schema == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
	if isValue {
		return valuesOf(fieldOf(schema, last), name+"=", value), cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, p := range propertiesOf(schema) {
		if !strings.HasPrefix(p.Name, last) || p.Name == "name" || p.Name == "backends" {
			continue
		}
		if len(propertiesOf(p.Schema)) > 0 {
			out = append(out, outer+p.Name+".")
		}
		if p.Schema.Type != "object" {
			out = append(out, outer+p.Name+"=")
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// propertiesOf returns the fields of a mapping, or of that among the shapes that a
// value may have.
func propertiesOf(s *config.Schema) config.Properties {
	if s == nil {
		return nil
	}
	out := s.Properties
	for _, choice := range append(append([]*config.Schema{}, s.AnyOf...), s.OneOf...) {
		out = append(out[:len(out):len(out)], propertiesOf(choice)...)
	}
	return out
}

func fieldOf(s *config.Schema, name string) *config.Schema {
	for _, p := range propertiesOf(s) {
		if p.Name == name {
			return p.Schema
		}
	}
	return nil
}

// valuesOf returns the words that a value may be.
func valuesOf(s *config.Schema, before, text string) []string {
	if s == nil {
		return nil
	}
	var out []string
	words := s.Enum
	if s.Type == "boolean" {
		words = []string{"true", "false"}
	}
	for _, word := range words {
		if strings.HasPrefix(word, text) {
			out = append(out, before+word)
		}
	}
	for _, choice := range append(append([]*config.Schema{}, s.AnyOf...), s.OneOf...) {
		out = append(out, valuesOf(choice, before, text)...)
	}
	return out
}

// thenFields completes a number of arguments by first, and fields after them.
func thenFields(count int, path string, first cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) >= count:
			return completeAssignment(path, text)
		case first == nil:
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return first(cmd, args, text)
	}
}
