package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/xlb-project/xlb/control/config"
)

// sections are the documentation's, with the mapping whose fields each describes.
// A section of the third level says in its title which fields of that it is about.
var sections = map[string]string{
	"Node": "", "Limits": "", "Service": "services", "Filter": "services.filter", "QUIC": "services.quic",
	"Backend": "services.backends", "Discovery": "services.discover", "Health": "services.health",
}

var (
	code = regexp.MustCompile("`([^`]*)`")
	link = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)
)

// readFields returns what the tables of the documentation say of each field.
func readFields(text string) (map[string]string, error) {
	fields := make(map[string]string)
	var section string
	var prefixes []string // none: the tables here are about something else
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "## "):
			at, known := sections[strings.TrimPrefix(line, "## ")]
			section, prefixes = at, nil
			if known {
				prefixes = []string{at}
			}
		case strings.HasPrefix(line, "### "):
			prefixes = nil
			for _, m := range code.FindAllStringSubmatch(line, -1) {
				prefixes = append(prefixes, join(section, m[1]))
			}
		case strings.HasPrefix(line, "| `"):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			if len(cells) < 3 && len(prefixes) > 0 {
				return nil, fmt.Errorf("not a row of three cells: %s", line)
			}
			for _, prefix := range prefixes {
				for _, m := range code.FindAllStringSubmatch(cells[0], -1) {
					path := join(prefix, m[1])
					if _, twice := fields[path]; twice {
						return nil, fmt.Errorf("%s is described twice", path)
					}
					fields[path] = sentence(cells)
				}
			}
		}
	}
	return fields, nil
}

// sentence says for an editor what the cells of a row say.
func sentence(cells []string) string {
	meaning := cells[len(cells)-1]
	if len(cells) == 4 { // a limit: at most, counts
		meaning = "up to " + cells[2] + " " + meaning
	}
	if usual := cells[1]; usual != "" {
		meaning += " (default: " + usual + ")"
	}
	if !strings.HasPrefix(meaning, "`") {
		meaning = strings.ToUpper(meaning[:1]) + meaning[1:]
	}
	meaning = strings.ReplaceAll(link.ReplaceAllString(meaning, "$1"), "`", "")
	return strings.ReplaceAll(meaning, "(default: required)", "(required)")
}

// silent returns an error if nothing is said of a field, nor of a mapping around it.
func silent(s *config.Schema, path string, said bool) error {
	if s == nil {
		return nil
	}
	said = said || s.Description != ""
	if len(s.Properties) == 0 && s.Items == nil && len(s.AnyOf) == 0 && !said {
		return fmt.Errorf("%s is not described", path)
	}
	parts := append([]*config.Schema{s.Items}, s.AnyOf...)
	for _, part := range parts {
		if part != nil && (part.Type != "" || part.AnyOf != nil) { // others only say what is required
			if err := silent(part, path, said); err != nil {
				return err
			}
		}
	}
	for _, p := range s.Properties {
		// Of services and backends every field needs a row of its own.
		list := path == "" || path == "services" || path == "services.backends" || path == "services.health" || path == "services.discover"
		if err := silent(p.Schema, join(path, p.Name), said && !list); err != nil {
			return err
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
