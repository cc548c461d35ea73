package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

const (
	maxFile  = 16 << 20 // bytes, also of a list
	maxParts = 1 << 21  // commas and lines: the tree takes up to a kilobyte for each
	maxDepth = 64       // of nested values; the fields need a tenth of it
)

// Load reads the file at path and the files that it names, whose paths begin at
// its folder, and returns its configuration with all defaults filled in. It
// returns Errors if the file is read but cannot be accepted.
func Load(path string) (*Config, error) {
	data, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read configuration: %w: write it first, see docs/configuration.md", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parseIn(path, data, filepath.Dir(path))
}

// readFile returns what the file at path holds: of one larger than maxFile, one
// byte too many.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Parse returns the configuration that data holds, with all defaults filled in,
// or Errors. Errors call the file name. Fields that name other files are
// refused: Parse reads nothing.
func Parse(name string, data []byte) (*Config, error) {
	return parseIn(name, data, "")
}

// parseIn is Parse with the folder where the paths of other files begin.
func parseIn(name string, data []byte, dir string) (*Config, error) {
	p := newProblems(name)
	doc := readText(p, data, "write at least interfaces and services, see docs/configuration.md")
	if err := p.err(); err != nil {
		return nil, err
	}
	p.parts[0].doc = doc
	d := &decoder{problems: p, lists: lists{dir: dir}, weight: DefaultWeight}
	c := d.config(doc)
	if !p.unread[""] {
		validate(c, p)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// readText returns the root value of the one document in data, or nil; empty
// says what to write into a file without one.
func readText(p *problems, data []byte, empty string) *yaml.Node {
	checkText(p, data)
	if len(p.list) > 0 {
		return nil
	}
	return readTree(p, data, empty)
}

// checkText refuses what is not plain text: positions in it would be guesses.
func checkText(p *problems, data []byte) {
	if len(data) > maxFile {
		p.add(Position{}, "", "the file is larger than 16 MiB", "write a shorter one")
		return
	}
	if bytes.Count(data, []byte(","))+bytes.Count(data, []byte("\n")) > maxParts {
		p.add(Position{}, "", fmt.Sprintf("the file has more than %d commas and lines", maxParts), "write a shorter one")
		return
	}
	line, column := 1, 1
	tabbed := 0 // last line with a tab: one problem for each line is enough
	for rest := bytes.TrimPrefix(data, []byte("\ufeff")); len(rest) > 0 && !p.full(); {
		r, size := utf8.DecodeRune(rest)
		at := Position{Line: line, Column: column}
		switch {
		case r == '\n':
			line, column = line+1, 0
		case r == '\r' && bytes.HasPrefix(rest, []byte("\r\n")):
		case r == '\t':
			if line != tabbed {
				p.add(at, "", "a tab", "write spaces")
				tabbed = line
			}
		case r == utf8.RuneError && size == 1:
			p.add(at, "", "the text is not UTF-8", "save the file as UTF-8")
			return
		case r < 0x20, r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r == '\ufeff', r == '\ufffe', r == '\uffff':
			p.add(at, "", fmt.Sprintf("invisible character U+%04X", r), "remove it")
		}
		column++
		rest = rest[size:]
	}
}

// readTree is readText for data that is plain text.
func readTree(p *problems, data []byte, empty string) *yaml.Node {
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithV4Defaults(),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		p.add(Position{}, "", err.Error(), "")
		return nil
	}
	var doc, second yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		p.add(Position{}, "", "the file is empty", empty)
		return nil
	case err != nil:
		addSyntax(p, err)
		return nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		p.add(Position{}, "", "the file is empty", empty)
		return nil
	}
	switch err := loader.Load(&second); {
	case err == nil:
		p.add(position(&second), "", "a second document begins here", "keep one in a file and remove the line ---")
	case !errors.Is(err, io.EOF):
		addSyntax(p, err)
	}
	return root
}

// addSyntax says in our words what the YAML library could not read.
func addSyntax(p *problems, err error) {
	var syntax *yaml.LoadError
	if !errors.As(err, &syntax) {
		p.add(Position{}, "", "not YAML: "+err.Error(), "")
		return
	}
	at := Position{Line: syntax.Mark.Line, Column: syntax.Mark.Column}
	opened := Position{Line: syntax.ContextMark.Line, Column: syntax.ContextMark.Column}
	if opened.Line == 0 {
		opened = at
	}
	switch text := syntax.Message; {
	case strings.Contains(text, "expected ',' or"), text == "did not find expected node content":
		p.add(opened, "", "a list or mapping in brackets is not closed or lacks a comma", "write it as [a, b] or {a: b, c: d}")
	case strings.Contains(text, "unexpected end of stream"):
		p.add(opened, "", "a quoted text is not closed", "write the closing quote")
	case strings.Contains(text, "unknown escape"), strings.Contains(text, "escape code"):
		p.add(at, "", "a backslash in double quotes means something else here", "write single quotes")
	case strings.Contains(text, "cannot start any token"):
		p.add(at, "", "a value cannot begin with this character", "write the value in quotes")
	case strings.Contains(text, "mapping values are not allowed"):
		p.add(at, "", "a field cannot begin here",
			"indent it like the fields beside it, or write a value that holds a colon in quotes")
	case strings.Contains(text, "unknown anchor"):
		p.add(at, "", "an alias without an anchor before it", "write the value itself")
	case strings.Contains(text, "YAML document"), strings.Contains(text, "directive"):
		p.add(at, "", "directives are not supported", "remove the line that begins with %")
	case strings.Contains(text, "did not find expected"), strings.Contains(text, "could not find expected ':'"):
		p.add(at, "", "the line does not continue what stands above it",
			"indent it like the fields beside it, each as name: value")
	case strings.Contains(text, "exceeded max depth"):
		p.add(at, "", fmt.Sprintf("values are nested more than %d deep", maxDepth), "write no more than the fields need")
	default:
		p.add(at, "", "not YAML: "+text, "")
	}
}

// position returns the place where n is written.
func position(n *yaml.Node) Position { return Position{Line: n.Line, Column: n.Column} }
