package config

import (
	"fmt"
	"slices"
	"strings"
)

// Action says what becomes of an object.
type Action string

// The actions.
const (
	ActionAdd    Action = "add"
	ActionChange Action = "change"
	ActionRemove Action = "remove"
)

// Change is one difference between two configurations.
type Change struct {
	Action  Action `json:"action"`
	Object  string `json:"object"`            // "service web", "backend web/10.0.0.1" or "node"
	Field   string `json:"field,omitempty"`   // of the configuration file; empty: the whole object
	From    string `json:"from,omitempty"`    // as a file writes it; empty: nothing
	To      string `json:"to,omitempty"`      // likewise
	Restart bool   `json:"restart,omitempty"` // only a new daemon can do it
	Reason  string `json:"reason,omitempty"`  // why
}

// restarts are the node's fields that a running daemon cannot change, and why.
var restarts = map[string]string{
	"hash_key":          "every connection would move to another backend",
	"instance":          "it names what the daemon has in the kernel and on disk",
	"state_dir":         "the state of this daemon would stay behind",
	"api.socket":        "clients are connected to the former one",
	"metrics.listen":    "the address is bound when the daemon starts",
	"health.allow_exec": "who may change the configuration of a running node may not thereby run programs on it",
}

// Diff returns what differs between two configurations: the node's fields in the
// order of the documentation, then services and their backends in the order of the
// new configuration, each before those that are gone. The order of what has none,
// such as prefixes, services and backends, is no difference.
func Diff(from, to *Config) []Change {
	d := &differ{object: "node"}
	d.fields("", from.node(), to.node())
	services := func(c *Config) (list []named) {
		for i := range c.Services {
			s := &c.Services[i]
			list = append(list, named{s.Name, s})
		}
		return list
	}
	d.objects("service ", services(from), services(to), func(a, b any) {
		d.service(a.(*Service), b.(*Service), from.GUE.Port, to.GUE.Port)
	})
	return d.changes
}

type differ struct {
	object  string
	changes []Change
}

func (d *differ) service(a, b *Service, aPort, bPort uint16) {
	if aPort == bPort && a.Same(b) {
		return
	}
	d.fields("", a.settings(aPort), b.settings(bPort))
	backends := func(s *Service) (list []named) {
		for i := range s.Backends {
			list = append(list, named{s.Backends[i].Name, &s.Backends[i]})
		}
		return list
	}
	d.objects("backend "+b.Name+"/", backends(a), backends(b), func(a, b any) {
		if a, b := a.(*Backend), b.(*Backend); !a.Same(b) {
			d.fields("", a.tree(), b.tree())
		}
	})
}

// named is a service or a backend with its name.
type named struct {
	name  string
	value any
}

// line is what a plan says of an object that comes or goes.
func (n named) line() string {
	if s, ok := n.value.(*Service); ok {
		return fmt.Sprintf("%s by %s, %s", s.Listens(), s.Forward, count(len(s.Backends), "backend"))
	}
	return n.value.(*Backend).tree().line()
}

// objects compares two lists of objects by name.
func (d *differ) objects(kind string, from, to []named, compare func(a, b any)) {
	old, kept := make(map[string]any, len(from)), make(map[string]bool, len(to))
	for _, a := range from {
		old[a.name] = a.value
	}
	for _, b := range to {
		kept[b.name] = true
		if a, known := old[b.name]; known {
			d.object = kind + b.name
			compare(a, b.value)
		} else {
			d.changes = append(d.changes, Change{Action: ActionAdd, Object: kind + b.name, To: b.line()})
		}
	}
	for _, a := range from {
		if !kept[a.name] {
			d.changes = append(d.changes, Change{Action: ActionRemove, Object: kind + a.name, From: a.line()})
		}
	}
}

// fields compares two mappings.
func (d *differ) fields(path string, a, b *tree) {
	for _, f := range b.fields {
		d.value(join(path, f.name), a.field(f.name), f.value)
	}
	for _, f := range a.fields {
		if b.field(f.name) == nil {
			d.value(join(path, f.name), f.value, nil)
		}
	}
}

// value compares two values of a field, which may be missing on one side.
func (d *differ) value(path string, a, b *tree) {
	if a != nil && b != nil && a.kind == mappingTree && b.kind == mappingTree {
		d.fields(path, a, b)
		return
	}
	if a.equal(b) {
		return
	}
	c := Change{Action: ActionChange, Object: d.object, Field: path, From: a.brief(), To: b.brief()}
	if added, removed := a.without(b), b.without(a); a != nil && b != nil && a.long && b.long {
		c.To += fmt.Sprintf(": %d added, %d removed", removed, added)
	}
	if d.object == "node" {
		c.Reason, c.Restart = restarts[path]
	}
	d.changes = append(d.changes, c)
}

// equal reports whether two values mean the same; a missing one is nil.
func (t *tree) equal(o *tree) bool {
	switch {
	case t == nil || o == nil:
		return t == o
	case t.kind != o.kind || t.text != o.text || len(t.items) != len(o.items) || len(t.fields) != len(o.fields):
		return false
	case t.kind == listTree && !t.order:
		return t.without(o) == 0 && o.without(t) == 0
	}
	for i := range t.items {
		if !t.items[i].equal(o.items[i]) {
			return false
		}
	}
	return !slices.ContainsFunc(t.fields, func(f treeField) bool { return !f.value.equal(o.field(f.name)) })
}

// without counts the items of a list that another one lacks.
func (t *tree) without(o *tree) int {
	if t == nil || o == nil {
		return 0
	}
	there := make(map[string]bool, len(o.items))
	for _, item := range o.items {
		there[item.line()] = true
	}
	n := 0
	for _, item := range t.items {
		if !there[item.line()] {
			n++
		}
	}
	return n
}

// brief writes a value for people.
func (t *tree) brief() string {
	switch {
	case t == nil:
		return ""
	case t.secret:
		return "(secret)"
	case t.long:
		return count(len(t.items), "prefix")
	}
	return t.line()
}

func count(n int, what string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(what, "x"):
		what += "es"
	default:
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
