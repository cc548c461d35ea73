package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxIncluded is how many files a configuration may include.
const maxIncluded = 10000

// directory is one whose files a configuration includes.
type directory struct {
	path string // of the field that names it
	node *yaml.Node
	name string
}

func (d *decoder) directories(to *[]directory) read {
	return func(n *yaml.Node, path string) {
		d.oneOrMore(n, path, wantInclude, func(n *yaml.Node, path string) {
			dir := directory{path: path, node: n}
			text(d, &dir.name, wantInclude)(n, path)
			*to = append(*to, dir)
		})
	}
}

// include reads the files of a directory whose names end in .yaml, in the order
// of their names. Names that begin with a dot are those of editors.
func (d *decoder) include(c *Config, dir directory, deny *prefixes) {
	if d.unread[dir.path] || d.full() {
		return
	}
	if d.lists.dir == "" {
		d.refuse(dir.node, dir.path, "only a configuration that is read from a file may include others", "write the services into the configuration")
		return
	}
	path := d.lists.path(dir.name)
	entries, err := os.ReadDir(path)
	if err != nil {
		d.refuse(dir.node, dir.path, fmt.Sprintf("%s cannot be read: %s", quote(dir.name), cause(err)),
			"name a directory; its path begins at the folder of this file")
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || filepath.Ext(e.Name()) != ".yaml" {
			continue
		}
		if len(d.parts) > maxIncluded {
			d.refuse(dir.node, dir.path, fmt.Sprintf("more than %d files are included", maxIncluded), "put several services into each")
			return
		}
		d.includeFile(c, filepath.Join(path, e.Name()), deny)
	}
}

// includeFile reads services and deny lists of another file.
func (d *decoder) includeFile(c *Config, file string, deny *prefixes) {
	data, err := readFile(file)
	if err != nil {
		d.addAt(place{Position: Position{File: file}}, fmt.Sprintf("the file cannot be read: %s", cause(err)), "repair it, or give it a name that does not end in .yaml")
		return
	}
	own := newProblems(file)
	doc := readText(own, data, "write at least services: []")
	d.problems.list = append(d.problems.list, own.list...)
	if doc == nil || len(own.list) > 0 {
		return
	}
	outer, dir := d.file, d.lists.dir
	d.file, d.lists.dir = file, filepath.Dir(file)
	d.parts = append(d.parts, part{file, doc, len(c.Services)})
	d.mapping(doc, "", wantIncluded, d.included(c, deny)...)
	d.file, d.lists.dir = outer, dir
}

// included are the fields of files that a configuration includes.
func (d *decoder) included(c *Config, deny *prefixes) []field {
	return []field{
		{name: "deny", read: d.prefixes(deny)},
		{name: "deny_file", read: d.prefixFile(deny)},
		{name: "services", read: d.services(c)},
	}
}
