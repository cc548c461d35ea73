package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	maxShown    = 20   // problems that Errors prints
	maxProblems = 1000 // problems after which the rest of a file is not looked at
)

// Position is a place in a file, counted from 1. The zero Position is unknown.
type Position struct {
	Line, Column int
	File         string // that the configuration includes; empty: its own
}

// Error is one problem of a configuration: what is wrong, and what to write instead.
type Error struct {
	File         string
	Line, Column int // 0: unknown
	Message      string
	Remedy       string
}

// Error returns "xlb.yaml:7:5: services[0].port: 70000 is not a port: write 1 to 65535, without quotes".
func (e Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	if e.Remedy != "" {
		b.WriteString(": ")
		b.WriteString(e.Remedy)
	}
	return b.String()
}

// Errors are all problems of a configuration in the order of the file, those of
// the files that it names behind them; never empty.
type Errors []Error

// Error returns one line for each of the first 20 problems and the number of the others.
func (es Errors) Error() string {
	lines := make([]string, 0, maxShown+1)
	for _, e := range es[:min(len(es), maxShown)] {
		lines = append(lines, e.Error())
	}
	switch more := len(es) - maxShown; {
	case len(es) >= maxProblems:
		lines = append(lines, fmt.Sprintf("and at least %d more", more))
	case more > 0:
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems one by one.
func (es Errors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}

// problems collects the errors of one configuration. A path such as
// services[0].port names the value that is wrong; services are counted over all
// files.
type problems struct {
	file    string
	parts   []part
	list    Errors
	unread  map[string]bool
	entries map[string][]place // of lists that are put together, where each entry is written
}

// part is a file of the configuration: its own first, then those it includes.
type part struct {
	file  string // empty: the configuration's own
	doc   *yaml.Node
	first int // number of its first service
}

// place is where a value is written.
type place struct {
	path string
	Position
}

func newProblems(file string) *problems {
	return &problems{file: file, parts: []part{{}}, unread: make(map[string]bool), entries: make(map[string][]place)}
}

// add records a problem of the value at path.
func (p *problems) add(at Position, path, message, remedy string) {
	p.addAt(place{path: path, Position: at}, message, remedy)
}

// addAt is add for a value that may be written in another file.
func (p *problems) addAt(at place, message, remedy string) {
	if p.full() {
		return
	}
	if path := strings.TrimPrefix(p.shown(at.path), "."); path != "" {
		message = path + ": " + message
	}
	p.list = append(p.list, Error{cmp.Or(at.File, p.file), at.Line, at.Column, message, remedy})
}

// home returns the file that the value at path is written in.
func (p *problems) home(path string) part {
	home := p.parts[0]
	if i, _, ok := serviceNumber(path); ok {
		for _, part := range p.parts[1:] {
			if part.first <= i {
				home = part
			}
		}
	}
	return home
}

// shown returns a path as the file counts that the value is written in.
func (p *problems) shown(path string) string {
	if i, rest, ok := serviceNumber(path); ok {
		return fmt.Sprintf("services[%d]%s", i-p.home(path).first, rest)
	}
	return path
}

// serviceNumber splits the path of a value of a service.
func serviceNumber(path string) (number int, rest string, ok bool) {
	digits, rest, ok := strings.Cut(strings.TrimPrefix(path, "services["), "]")
	number, err := strconv.Atoi(digits)
	return number, rest, ok && err == nil && strings.HasPrefix(path, "services[")
}

// reject is add for a value that cannot be read at all.
func (p *problems) reject(at Position, path, message, remedy string) {
	p.unread[path] = true
	p.add(at, path, message, remedy)
}

// full reports whether looking for more problems helps nobody.
func (p *problems) full() bool { return len(p.list) >= maxProblems }

// rejected reports whether the value at path, or one that holds it, could not be
// read: what follows from that is not a problem of its own.
func (p *problems) rejected(path string) bool {
	for path != "" {
		if p.unread[path] {
			return true
		}
		path, _ = splitPath(path)
	}
	return false
}

// err returns the problems in the order of the file, then those of other files,
// or nil if there are none.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	other := func(e Error) string {
		if e.File == p.file {
			return ""
		}
		return e.File
	}
	slices.SortStableFunc(p.list, func(a, b Error) int {
		return cmp.Or(cmp.Compare(other(a), other(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return p.list
}

// splitPath splits off the last step: "services[0]" into "services" and "[0]",
// "services[0].port" into "services[0]" and ".port".
func splitPath(path string) (parent, step string) {
	i := max(strings.LastIndexAny(path, ".["), 0)
	return path[:i], path[i:]
}
