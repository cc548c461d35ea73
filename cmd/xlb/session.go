package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"

	"github.com/xlb-project/xlb/control/api"
	"github.com/xlb-project/xlb/control/config"
)

// session is how a command finds the daemon.
type session struct {
	socket, instance string
}

func (s *session) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.socket, "socket", "", "the daemon's socket, api.socket (default $XLB_SOCKET, or that of the instance)")
	cmd.Flags().Var((*instanceValue)(&s.instance), "instance", "the daemon's instance (default $XLB_INSTANCE, or default)")
	_ = cmd.MarkFlagFilename("socket") // the flag is there
}

// client is for one command; the caller closes it.
func (s *session) client() *api.Client {
	socket := cmp.Or(s.socket, os.Getenv("XLB_SOCKET"))
	if s.socket == "" && s.instance != "" || socket == "" {
		socket = config.DefaultSocket(s.instanceName())
	}
	return api.NewClient(socket)
}

// instanceName is the instance that is meant.
func (s *session) instanceName() string {
	return cmp.Or(s.instance, os.Getenv("XLB_INSTANCE"), config.DefaultInstance)
}

// instanceValue accepts what names an instance.
type instanceValue string

func (v *instanceValue) String() string { return string(*v) }
func (v *instanceValue) Type() string   { return "name" }

func (v *instanceValue) Set(text string) error {
	if text != config.DefaultInstance && config.DefaultSocket(text) == config.DefaultAPISocket {
		return fmt.Errorf("%q is no name of an instance", text)
	}
	*v = instanceValue(text)
	return nil
}

// format is how a command writes its answer.
type format string

// Formats.
const (
	asTable format = "table"
	asJSON  format = "json"
	asYAML  format = "yaml"
)

// outputFlag adds -o with the formats that a command knows; the first is the default.
func outputFlag(cmd *cobra.Command, f *format, known ...format) {
	*f = known[0]
	value := &formatValue{f, known}
	cmd.Flags().VarP(value, "output", "o", value.list())
	_ = cmd.RegisterFlagCompletionFunc("output", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return value.names(), cobra.ShellCompDirectiveNoFileComp
	})
}

// formatValue accepts one of the formats.
type formatValue struct {
	*format
	known []format
}

func (v *formatValue) String() string { return string(*v.format) }
func (v *formatValue) Type() string   { return "format" }

func (v *formatValue) Set(text string) error {
	if !slices.Contains(v.known, format(text)) {
		return fmt.Errorf("write %s", v.list())
	}
	*v.format = format(text)
	return nil
}

func (v *formatValue) names() []string {
	var names []string
	for _, f := range v.known {
		names = append(names, string(f))
	}
	return names
}

func (v *formatValue) list() string {
	names := v.names()
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// show writes a value for programs, or has table write it for people.
func show(w io.Writer, f format, value any, table func(io.Writer)) error {
	switch f {
	case asJSON:
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	case asYAML:
		return writeYAML(w, value)
	}
	table(w)
	return nil
}

// writeYAML writes a value with the fields of its JSON, in their order.
func writeYAML(w io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	unquote(&node)
	out, err := yaml.Dump(&node, yaml.WithV4Defaults())
	if err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	_, err = w.Write(out)
	return err
}

// unquote takes JSON's braces and quotes away, where the text stays what it is.
func unquote(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		unquote(c)
	}
}
