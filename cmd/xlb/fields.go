package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

// object is a service or a backend as a file writes it, while its fields are changed.
type object struct{ *yaml.Node }

func newObject() object {
	return object{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}}
}

// readObject reads the text of one object.
func readObject(text []byte) (object, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return object{}, fmt.Errorf("read it as YAML: %w", err)
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return object{}, fmt.Errorf("it is not one service: write its fields, name: and so on")
	}
	return object{document.Content[0]}, nil
}

// loadObject reads an object from a file, or from standard input for "-".
func loadObject(file string, stdin io.Reader) (object, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return object{}, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxObject+1))
	if err != nil {
		return object{}, fmt.Errorf("read %s: %w", file, err)
	}
	if len(text) > maxObject {
		return object{}, fmt.Errorf("read %s: it has more than %d bytes, which is no service", file, maxObject)
	}
	o, err := readObject(text)
	if err != nil {
		return object{}, fmt.Errorf("read %s: %w", file, err)
	}
	return o, nil
}

const maxObject = 16 << 20

// set gives a field a value, or takes it away: health.interval=1s, health=.
func (o object) set(assignment string) error {
	path, text, ok := strings.Cut(assignment, "=")
	if !ok || path == "" {
		return fmt.Errorf("%q is no FIELD=VALUE, such as slow_start=30s", assignment)
	}
	value, err := valueOf(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	at, names := o.Node, strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		next := field(at, name)
		if next == nil {
			if value == nil {
				return nil
			}
			next = newObject().Node
			put(at, name, next)
		}
		if next.Kind != yaml.MappingNode {
			return fmt.Errorf("%s: %s has no fields", path, name)
		}
		at = next
	}
	put(at, names[len(names)-1], value)
	return nil
}

// valueOf reads a value as a file writes it; of nothing it is nil.
func valueOf(text string) (*yaml.Node, error) {
	if text == "" {
		return nil, nil
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil || len(document.Content) != 1 {
		return nil, fmt.Errorf("%q is no value: write it as in a file, such as 80, [80, 443] or {tcp: {}}", text)
	}
	return document.Content[0], nil
}

// field returns the value of a field, nil without it.
func field(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// put sets a field, or takes it away if value is nil.
func put(mapping *yaml.Node, name string, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value != name {
			continue
		}
		if value == nil {
			mapping.Content = append(mapping.Content[:i], mapping.Content[i+2:]...)
		} else {
			mapping.Content[i+1] = value
		}
		return
	}
	if value != nil {
		mapping.Content = append(mapping.Content, textNode(name), value)
	}
}

func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

// text returns the object as YAML.
func (o object) text() ([]byte, error) {
	return yaml.Dump(o.Node, yaml.WithV4Defaults())
}

// setAll sets fields; a mistake is one of the command line.
func (o object) setAll(cmd *cobra.Command, assignments []string) error {
	for _, a := range assignments {
		if err := o.set(a); err != nil {
			return &usageError{cmd, err}
		}
	}
	return nil
}

// addBackend adds one to a service, written as 10.1.0.2,weight=50.
func (o object) addBackend(cmd *cobra.Command, text string) error {
	parts := strings.Split(text, ",")
	b := newObject()
	if err := b.setAll(cmd, append([]string{"address=" + parts[0]}, parts[1:]...)); err != nil {
		return err
	}
	list := field(o.Node, "backends")
	if list == nil {
		list = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		put(o.Node, "backends", list)
	}
	list.Content = append(list.Content, b.Node)
	return nil
}
