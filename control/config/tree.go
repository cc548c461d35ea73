package config

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tree is a value as a file writes it. Write, Diff and the JSON forms of objects
// are made of trees that hold every field; those that have their defaults are
// marked, so that they can be left out.
type tree struct {
	kind   treeKind
	text   string // of a scalar
	fields []treeField
	items  []*tree
	tall   bool // of a list or mapping: never in one line
	order  bool // of a list: the order of its items means something
	long   bool // of a list: too long to be shown, so Diff counts
	secret bool // of a scalar: Diff does not show it
}

type treeKind uint8

const (
	textTree  treeKind = iota
	plainTree          // a number or a truth value
	listTree
	mappingTree
)

type treeField struct {
	name  string
	value *tree
	usual bool // the value is the default
}

func newText(s string) *tree   { return &tree{kind: textTree, text: s} }
func newNumber(n int) *tree    { return &tree{kind: plainTree, text: strconv.Itoa(n)} }
func newMapping() *tree        { return &tree{kind: mappingTree} }
func newList(t ...*tree) *tree { return &tree{kind: listTree, items: t} }
func truth(b bool) *tree       { return &tree{kind: plainTree, text: strconv.FormatBool(b)} }
func either(b bool, no, yes string) *tree {
	if b {
		return newText(yes)
	}
	return newText(no)
}

// texts is a list of texts.
func texts[T any](list []T, text func(T) string) *tree {
	t := newList()
	for _, v := range list {
		t.items = append(t.items, newText(text(v)))
	}
	return t
}

// oneOrMany is a list, or its only item.
func oneOrMany(list *tree) *tree {
	if len(list.items) == 1 {
		return list.items[0]
	}
	return list
}

func span(d time.Duration) *tree { return newText(spanText(d)) }

// spanText writes a duration without the zeroes that time.Duration writes.
func spanText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// add appends a field; usual says that a file may leave it out.
func (t *tree) add(name string, value *tree, usual bool) {
	t.fields = append(t.fields, treeField{name, value, usual})
}

// put appends a field that has the same default always.
func (t *tree) put(name string, value, def *tree) { t.add(name, value, value.text == def.text) }

// section appends a mapping that may be left out if all its fields may.
func (t *tree) section(name string, value *tree) { t.add(name, value, len(value.needed()) == 0) }

// needed returns the fields that a file cannot leave out.
func (t *tree) needed() []treeField {
	return slices.DeleteFunc(slices.Clone(t.fields), func(f treeField) bool { return f.usual })
}

// field returns the value of a field, or nil.
func (t *tree) field(name string) *tree {
	for _, f := range t.fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// maxLine is the length up to which a value is written in its line.
const maxLine = 100

// block writes a value below the line of its name, each line after indent.
func (t *tree) block(b *bytes.Buffer, indent string) {
	switch t.kind {
	case mappingTree:
		for i, f := range t.needed() {
			if i > 0 {
				b.WriteString(indent)
			}
			b.WriteString(f.name + ":")
			f.value.behind(b, indent+"  ")
		}
	case listTree:
		for i, item := range t.items {
			if i > 0 {
				b.WriteString(indent)
			}
			b.WriteString("- ")
			if line, fits := item.short(indent); fits || item.kind != mappingTree {
				b.WriteString(line + "\n")
			} else {
				item.block(b, indent+"  ")
			}
		}
	}
}

// behind writes a value behind the name of its field, in this line if it fits.
func (t *tree) behind(b *bytes.Buffer, indent string) {
	if line, fits := t.short(indent); fits {
		b.WriteString(" " + line + "\n")
		return
	}
	b.WriteString("\n" + indent)
	t.block(b, indent)
}

// short returns a value in one line, if it fits there.
func (t *tree) short(indent string) (line string, fits bool) {
	switch {
	case len(t.items)+len(t.fields) == 0:
		return t.line(), true
	case t.tall:
		return "", false
	}
	line = t.line()
	return line, len(indent)+len(line) <= maxLine
}

// line writes a value in one line, without fields that have their defaults.
func (t *tree) line() string {
	switch t.kind {
	case textTree:
		return scalarText(t.text)
	case plainTree:
		return t.text
	}
	var parts []string
	for _, item := range t.items {
		parts = append(parts, item.line())
	}
	if t.kind == listTree {
		return "[" + strings.Join(parts, ", ") + "]"
	}
	for _, f := range t.needed() {
		parts = append(parts, scalarText(f.name)+": "+f.value.line())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// plainText are texts that mean the same to every reader without quotes: no
// numbers, truth values or nothing, and no colon at an end.
var (
	plainText = regexp.MustCompile(`^([a-zA-Z/._][-a-zA-Z0-9_./]*( [-a-zA-Z0-9_./]+)*|[0-9]+(\.[0-9]+){3}(/[0-9]+)?|[0-9]+-[0-9]+|[0-9]+(h|m|s|ms|us|ns))$`)
	otherText = regexp.MustCompile(`(?i)^(true|false|yes|no|on|y|n|null|\.inf|\.nan|[._]*|\.\d.*)$`)
)

func scalarText(s string) string {
	if plainText.MatchString(s) && !otherText.MatchString(s) {
		return s
	}
	var b strings.Builder
	e := json.NewEncoder(&b) // JSON's quotes are YAML's
	e.SetEscapeHTML(false)
	e.Encode(s)
	return strings.TrimSuffix(b.String(), "\n")
}

// json writes a value as JSON, without fields that have their defaults.
func (t *tree) json(b *bytes.Buffer) {
	switch t.kind {
	case textTree:
		text, _ := json.Marshal(t.text)
		b.Write(text)
	case plainTree:
		b.WriteString(t.text)
	case listTree:
		b.WriteByte('[')
		for i, item := range t.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.json(b)
		}
		b.WriteByte(']')
	case mappingTree:
		b.WriteByte('{')
		for i, f := range t.needed() {
			if i > 0 {
				b.WriteByte(',')
			}
			newText(f.name).json(b)
			b.WriteByte(':')
			f.value.json(b)
		}
		b.WriteByte('}')
	}
}
