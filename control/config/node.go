package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxValues bounds how many values a file may hold, an alias counting each time
// it is used: nested aliases would else grow a small file without end. Plain
// files of the permitted size stay far below.
const maxValues = 1 << 22

// decoder turns YAML nodes into values and collects what does not fit.
// Asked to, it describes what it would read instead: every read below says so
// with a nil node, which makes the schema of exactly what is decoded.
type decoder struct {
	*problems
	file   string // that is being read, if it is an included one
	values int
	lists  lists
	weight int     // of backends without one
	schema *Schema // describing: of the value that is read next
}

// read takes over the value of a field, at a path for messages.
type read func(n *yaml.Node, path string)

// field is one field of a mapping. A field with a remedy for its absence is
// required, unless another one takes its place.
type field struct {
	name    string
	missing string
	read    read
	unless  string
}

// place returns where n is written.
func (d *decoder) place(n *yaml.Node) Position {
	if n == nil {
		return Position{}
	}
	return Position{n.Line, n.Column, d.file}
}

// refuse records that n cannot be read at all.
func (d *decoder) refuse(n *yaml.Node, path, message, remedy string) {
	d.reject(d.place(n), path, message, remedy)
}

func (d *decoder) fail(n *yaml.Node, path string, w want) {
	d.refuse(n, path, show(n)+" is not "+w.what, w.remedy)
}

// count adds values that n stands for, and reports whether there may be so many.
func (d *decoder) count(n *yaml.Node, values int) bool {
	before := d.values
	d.values += values
	if before <= maxValues && d.values > maxValues {
		d.refuse(n, "", fmt.Sprintf("more than %d values up to here", maxValues),
			"use fewer aliases and lists in files, each counts whenever it is used")
	}
	return d.values <= maxValues
}

// open returns the node that n stands for, unless it can be no value at all.
func (d *decoder) open(n *yaml.Node, path string, w want) (*yaml.Node, bool) {
	if !d.count(n, 1) {
		return nil, false
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		d.refuse(n, path, fmt.Sprintf("the tag %s is not supported", printable(n.Tag)), "remove it")
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		d.refuse(n, path, "the value is missing", w.remedy)
	default:
		return n, true
	}
	return nil, false
}

// mapping reads the fields of the mapping n.
func (d *decoder) mapping(n *yaml.Node, path string, w want, fields ...field) {
	if d.schema != nil {
		d.describeFields(path, fields)
		return
	}
	n, ok := d.open(n, path, w)
	if !ok {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, w)
		return
	}
	lines := make([]int, len(fields)) // where each was seen; -1: another was likely meant for it
	for i := 0; i+1 < len(n.Content) && !d.full(); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		f := slices.IndexFunc(fields, func(f field) bool { return isKey(key, f.name) })
		switch {
		case f < 0:
			if meant := d.unknown(key, path, fields); meant >= 0 && lines[meant] == 0 {
				lines[meant] = -1
				d.unread[join(path, fields[meant].name)] = true
			}
		case lines[f] > 0:
			d.refuse(key, join(path, key.Value),
				fmt.Sprintf("the field is given twice, first in line %d", lines[f]), "keep one of them")
		default:
			lines[f] = key.Line
			fields[f].read(value, join(path, key.Value))
		}
	}
	for i, f := range fields {
		instead := func(g field) bool { return g.name == f.unless }
		if other := slices.IndexFunc(fields, instead); lines[i] == 0 && f.missing != "" && (other < 0 || lines[other] == 0) {
			d.refuse(n, join(path, f.name), "the field is missing", f.missing)
		}
	}
}

// unknown refuses a field and proposes the one that was meant. It returns its
// index, or -1.
func (d *decoder) unknown(key *yaml.Node, path string, fields []field) int {
	if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
		d.refuse(key, join(path, "<<"), "merging mappings is not supported", "write the fields out")
		return -1
	}
	if key.Kind != yaml.ScalarNode {
		d.add(d.place(key), path, show(key)+" is not the name of a field", "write name: value")
		return -1
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	remedy, meant := "remove it", nearest(key.Value, names)
	if meant >= 0 {
		remedy = "write " + names[meant]
	}
	known := "the fields here are " + strings.Join(names, ", ")
	switch len(names) {
	case 0:
		known = "there are no fields here"
	case 1:
		known = "the only field here is " + names[0]
	}
	d.refuse(key, join(path, printable(key.Value)), "unknown field", remedy+"; "+known)
	return meant
}

// list reads the items of the list n one by one.
func (d *decoder) list(n *yaml.Node, path string, w want, item read) {
	if d.schema != nil {
		d.describeItems(path, item)
		return
	}
	n, ok := d.open(n, path, w)
	if !ok {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.fail(n, path, w)
		return
	}
	for i, c := range n.Content {
		if d.full() {
			return
		}
		item(c, path+"["+strconv.Itoa(i)+"]")
	}
}

// oneOrMore reads the items of the list n, or n itself as the only one. A single
// item goes by the path of the whole.
func (d *decoder) oneOrMore(n *yaml.Node, path string, w want, item read) {
	if d.schema != nil {
		d.describeChoice(path, item, func(n *yaml.Node, path string) {
			d.list(n, path, w, item)
			d.schema.MinItems = 1
		})
		return
	}
	list := n
	if n.Kind == yaml.AliasNode {
		list = n.Alias
	}
	switch {
	case list.Kind != yaml.SequenceNode || len(list.Content) == 0:
		item(n, path)
	case len(list.Content) == 1:
		d.list(n, path, w, func(n *yaml.Node, _ string) { item(n, path) })
	default:
		d.list(n, path, w, item)
	}
}

// exactlyOne checks that of some fields of the mapping n, which are the kinds of
// something, one is there.
func (d *decoder) exactlyOne(n *yaml.Node, path, what, remedy string, kinds []string) {
	if d.schema != nil {
		d.schema.OneOf = requireOne(kinds)
		return
	}
	given := slices.DeleteFunc(slices.Clone(kinds), func(k string) bool { return lookup(n, k) == nil })
	if len(given) > 1 {
		d.refuse(n, path, fmt.Sprintf("both %s and %s are given", given[0], given[1]), "keep one of them")
	}
	d.atLeastOne(n, path, what+" is missing", remedy, kinds...)
}

// atLeastOne checks that one of some fields of the mapping n is there.
func (d *decoder) atLeastOne(n *yaml.Node, path, message, remedy string, names ...string) {
	if d.schema != nil {
		d.schema.AnyOf = requireOne(names)
		return
	}
	there := func(name string) bool { return lookup(n, name) != nil || d.unread[join(path, name)] }
	if !d.rejected(path) && !slices.ContainsFunc(names, there) {
		d.refuse(n, path, message, remedy)
	}
}

// atMostOne checks that not both of two fields of the mapping n are there.
func (d *decoder) atMostOne(n *yaml.Node, path, one, other string) {
	if d.schema != nil {
		d.schema.Not = &Schema{Required: []string{one, other}}
		return
	}
	if lookup(n, one) != nil && lookup(n, other) != nil {
		d.refuse(n, path, fmt.Sprintf("both %s and %s are given", one, other), "keep one of them")
	}
}

// wordOrMapping reads a value that is written as one or the other.
func (d *decoder) wordOrMapping(n *yaml.Node, path string, word, mapping read) {
	if d.schema != nil {
		d.describeChoice(path, word, mapping)
		return
	}
	target := n
	if n.Kind == yaml.AliasNode {
		target = n.Alias
	}
	if target.Kind == yaml.MappingNode {
		mapping(n, path)
	} else {
		word(n, path)
	}
}

// dictionary reads the mapping n, whose keys are anything.
func (d *decoder) dictionary(n *yaml.Node, path string, w want, entry func(key string, n *yaml.Node, path string)) {
	if d.schema != nil {
		d.describeAny(path, func(n *yaml.Node, path string) { entry("", n, path) })
		return
	}
	n, ok := d.open(n, path, w)
	if !ok {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(n, path, w)
		return
	}
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content) && !d.full(); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, printable(key.Value))
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
			d.unknown(key, path, nil)
		case lines[key.Value] > 0:
			d.refuse(key, at, fmt.Sprintf("the field is given twice, first in line %d", lines[key.Value]), "keep one of them")
		default:
			lines[key.Value] = key.Line
			entry(key.Value, value, at)
		}
	}
}

// isKey reports whether n is the plain name of a field.
func isKey(n *yaml.Node, name string) bool {
	return n.Kind == yaml.ScalarNode && n.Value == name
}

// lookup returns the value of a field of the mapping n, or nil. An alias is followed.
func lookup(n *yaml.Node, name string) *yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if isKey(n.Content[i], name) {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// join appends the name of a field to a path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// show names a value in a message.
func show(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.ScalarNode && n.Style == 0 && decimal.MatchString(n.Value):
		return n.Value
	}
	return quote(n.Value)
}

// quote shows a text in quotes, shortened if it would fill the screen and with
// escapes for what would garble it.
func quote(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return strconv.Quote(s)
}

// printable is quote without the quotes.
func printable(s string) string {
	s = quote(s)
	return s[1 : len(s)-1]
}
