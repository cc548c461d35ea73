// Command schema writes the JSON schema of configuration files, with what the
// documentation says of each field:
//
//	schema docs/configuration.md contrib/xlb.schema.json
//
// It fails if the documentation is silent about a field, or names one that is none.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/xlb-project/xlb/control/config"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "schema:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("needs the documentation and the file to write")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	schema, err := described(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(schema); err != nil {
		return err
	}
	return os.WriteFile(args[1], b.Bytes(), 0o644)
}

// described returns the schema with descriptions from the documentation.
func described(text string) (*config.Schema, error) {
	fields, err := readFields(text)
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	schema := config.FileSchema(func(path string) string {
		used[path] = true
		return fields[path]
	})
	for path := range fields {
		if !used[path] {
			return nil, fmt.Errorf("%s is described but is no field", path)
		}
	}
	return schema, silent(schema, "", false)
}
