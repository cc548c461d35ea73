package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// Overlay is what was changed at run time: how a node's configuration differs from
// its file, object by object. It is kept as JSON.
type Overlay struct {
	Node     map[string]json.RawMessage `json:"node,omitempty"` // fields of the node in full, as a file writes them; null: the default
	Services []ServiceOverlay           `json:"services,omitempty"`
}

// ServiceOverlay is what was changed of one service.
type ServiceOverlay struct {
	Name     string           `json:"name"`
	Action   Action           `json:"action,omitempty"`  // empty: only its backends
	Settings *Service         `json:"service,omitempty"` // added: in full; changed: all but its backends
	Backends []BackendOverlay `json:"backends,omitempty"`
}

// BackendOverlay is what was changed of one backend.
type BackendOverlay struct {
	Name     string   `json:"name"`
	Action   Action   `json:"action"`
	Settings *Backend `json:"backend,omitempty"`
}

// Empty reports whether nothing was changed.
func (o Overlay) Empty() bool { return len(o.Node)+len(o.Services) == 0 }

// Objects counts the objects that were changed.
func (o Overlay) Objects() int {
	n := min(len(o.Node), 1)
	for _, s := range o.Services {
		if s.Action != "" {
			n++
		}
		n += len(s.Backends)
	}
	return n
}

// Between returns the overlay that makes an effective configuration of a file's.
func Between(file, effective *Config) Overlay {
	var o Overlay
	from, to := file.node(), effective.node()
	for _, f := range to.fields {
		if was := from.field(f.name); !f.value.equal(was) {
			o.node(f.name, f)
		}
	}
	for _, f := range from.fields {
		if to.field(f.name) == nil {
			o.node(f.name, treeField{usual: true})
		}
	}
	before := make(map[string]*Service, len(file.Services))
	for i := range file.Services {
		before[file.Services[i].Name] = &file.Services[i]
	}
	for i := range effective.Services {
		s := &effective.Services[i]
		if was := before[s.Name]; was == nil {
			o.Services = append(o.Services, ServiceOverlay{Name: s.Name, Action: ActionAdd, Settings: s})
		} else if was.Same(s) { // as most are
		} else if change := serviceOverlay(was, s); change.Action != "" || len(change.Backends) > 0 {
			o.Services = append(o.Services, change)
		}
		delete(before, s.Name)
	}
	for i := range file.Services {
		if name := file.Services[i].Name; before[name] != nil {
			o.Services = append(o.Services, ServiceOverlay{Name: name, Action: ActionRemove})
		}
	}
	return o
}

// node notes a field of the node.
func (o *Overlay) node(name string, f treeField) {
	var b bytes.Buffer
	if f.usual {
		b.WriteString("null")
	} else {
		f.value.json(&b)
	}
	if o.Node == nil {
		o.Node = make(map[string]json.RawMessage)
	}
	o.Node[name] = b.Bytes()
}

func serviceOverlay(file, effective *Service) ServiceOverlay {
	o := ServiceOverlay{Name: file.Name}
	if !effective.settings(0).equal(file.settings(0)) {
		settings := *effective
		settings.Backends = nil
		o.Action, o.Settings = ActionChange, &settings
	}
	before := make(map[string]*Backend, len(file.Backends))
	for i := range file.Backends {
		before[file.Backends[i].Name] = &file.Backends[i]
	}
	for i := range effective.Backends {
		b := &effective.Backends[i]
		if was := before[b.Name]; was == nil {
			o.Backends = append(o.Backends, BackendOverlay{b.Name, ActionAdd, b})
		} else if !b.tree().equal(was.tree()) {
			o.Backends = append(o.Backends, BackendOverlay{b.Name, ActionChange, b})
		}
		delete(before, b.Name)
	}
	for i := range file.Backends {
		if name := file.Backends[i].Name; before[name] != nil {
			o.Backends = append(o.Backends, BackendOverlay{Name: name, Action: ActionRemove})
		}
	}
	return o
}

// Merge returns the effective configuration of a file's and what was changed at
// run time. Changes of what the file no longer has drop out, and the notes say
// so. The result is validated as a whole: the error is that of Validate. Neither
// the file's configuration nor the overlay is changed, but the result shares
// values with them.
func Merge(file *Config, o Overlay) (effective *Config, notes []string, err error) {
	effective, err = file.withNode(o.Node)
	if err != nil {
		return nil, nil, err
	}
	m := merger{services: slices.Clone(file.Services), index: make(map[string]int, len(file.Services))}
	for i, s := range file.Services {
		m.index[s.Name] = i
	}
	for _, s := range o.Services {
		m.service(s)
	}
	effective.Services = slices.DeleteFunc(m.services, func(s Service) bool { return s.Name == "" })
	if err := effective.Validate(); err != nil {
		return nil, nil, fmt.Errorf("with what was changed at run time: %w", err)
	}
	return effective, m.notes, nil
}

// withNode returns the configuration with some fields of the node replaced, and
// without services.
func (c *Config) withNode(fields map[string]json.RawMessage) (*Config, error) {
	if len(fields) == 0 {
		merged := *c
		return &merged, nil
	}
	node := c.node()
	node.add("services", newList(), false)
	for name, value := range fields {
		i := slices.IndexFunc(node.fields, func(f treeField) bool { return f.name == name })
		if i < 0 {
			node.add(name, nil, false)
			i = len(node.fields) - 1
		}
		node.fields[i].usual = bytes.Equal(bytes.TrimSpace(value), []byte("null"))
		node.fields[i].value = &tree{kind: plainTree, text: string(value)}
	}
	var text bytes.Buffer
	node.json(&text)
	merged, err := Parse("the settings of the node as changed at run time", text.Bytes())
	if err != nil {
		return nil, err
	}
	merged.File = c.File
	for i := range merged.Interfaces {
		merged.Interfaces[i].At = Position{}
	}
	if _, own := fields["interfaces"]; !own {
		merged.Interfaces = c.Interfaces
	}
	return merged, nil
}

// merger applies overlays of services. One that is removed has no name until the end.
type merger struct {
	services []Service
	index    map[string]int
	notes    []string
}

func (m *merger) note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

func (m *merger) service(o ServiceOverlay) {
	i, known := m.index[o.Name]
	switch {
	case o.Action == ActionAdd && o.Settings != nil:
		if !known {
			m.services = append(m.services, *o.Settings)
			return
		}
		if s := &m.services[i]; !s.tree(0).equal(o.Settings.tree(0)) {
			m.note("service %s was added at run time and is in the file by now: what was added holds", o.Name)
			*s = *o.Settings
		}
	case !known && o.Action != ActionRemove:
		m.note("service %s is not in the file any more: what was changed of it at run time is dropped", o.Name)
	case !known:
	case o.Action == ActionRemove:
		m.services[i].Name = ""
	default:
		s := &m.services[i]
		backends := s.Backends
		if o.Action == ActionChange && o.Settings != nil {
			at := s.At
			*s = *o.Settings
			s.At = at
		}
		s.Backends = m.backends(o, backends)
	}
}

// backends returns a service's backends with what was changed of them.
func (m *merger) backends(o ServiceOverlay, file []Backend) []Backend {
	list, index := slices.Clone(file), make(map[string]int, len(file))
	for i, b := range file {
		index[b.Name] = i
	}
	for _, b := range o.Backends {
		i, known := index[b.Name]
		switch {
		case !known && b.Action == ActionAdd && b.Settings != nil:
			list = append(list, *b.Settings)
		case !known && b.Action == ActionChange:
			m.note("backend %s/%s is not in the file any more: what was changed of it at run time is dropped", o.Name, b.Name)
		case !known:
		case b.Action == ActionRemove:
			list[i].Name = ""
		case b.Settings != nil:
			if b.Action == ActionAdd && !list[i].tree().equal(b.Settings.tree()) {
				m.note("backend %s/%s was added at run time and is in the file by now: what was added holds", o.Name, b.Name)
			}
			list[i] = *b.Settings
		}
	}
	return slices.DeleteFunc(list, func(b Backend) bool { return b.Name == "" })
}
