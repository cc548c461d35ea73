package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"

	"go.yaml.in/yaml/v4"
)

// prefixes are what a list of prefixes and a file of them hold together.
type prefixes struct {
	given      bool
	list, file []entry
}

// entry is a prefix and where it is written.
type entry struct {
	prefix netip.Prefix
	place
}

// lists reads files of prefixes, each once.
type lists struct {
	dir  string // where paths begin; empty: no file may be read
	read map[string][]entry
}

// path returns where the file is that a configuration calls name.
func (l lists) path(name string) string {
	if filepath.IsAbs(name) || l.dir == "" {
		return name
	}
	return filepath.Join(l.dir, name)
}

// prefixes reads a list of prefixes; which are permitted, validate says.
func (d *decoder) prefixes(to *prefixes) read {
	return func(n *yaml.Node, path string) {
		to.given = true
		d.list(n, path, wantPrefixes, func(n *yaml.Node, path string) {
			e := entry{place: place{path, d.place(n)}}
			d.prefix(&e.prefix, wantPrefix)(n, path)
			if !d.unread[path] {
				to.list = append(to.list, e)
			}
		})
	}
}

// prefixFile reads the prefixes of the file that a field names.
func (d *decoder) prefixFile(to *prefixes) read {
	return func(n *yaml.Node, path string) {
		to.given = true
		var name string
		text(d, &name, wantList)(n, path)
		if d.schema != nil || d.unread[path] {
			return
		}
		if d.lists.dir == "" {
			d.refuse(n, path, "only a configuration that is read from a file may name others",
				"write the prefixes into the configuration")
			return
		}
		file := d.lists.path(name)
		entries, known := d.lists.read[file]
		if !known {
			data, err := readFile(file)
			if err != nil {
				d.refuse(n, path, fmt.Sprintf("%s cannot be read: %s", quote(name), cause(err)),
					"name a file with one prefix in each line; its path begins at the folder of this one")
				return
			}
			entries = readPrefixes(d.problems, path, file, data)
			if d.lists.read == nil {
				d.lists.read = make(map[string][]entry)
			}
			d.lists.read[file] = entries
		}
		if d.count(n, len(entries)) {
			to.file = entries
		}
	}
}

// cause says what is wrong with a file without naming it.
func cause(err error) error {
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		return file.Err
	}
	return err
}

// readPrefixes returns the prefixes in data, which a field at path calls for from
// file: one in each line, and comments behind #.
func readPrefixes(p *problems, path, file string, data []byte) []entry {
	if len(data) > maxFile {
		p.addAt(place{path, Position{File: file}}, "the file is larger than 16 MiB", "write a shorter one")
		return nil
	}
	var entries []entry
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	for line := 1; len(data) > 0 && !p.full(); line++ {
		var text []byte
		text, data, _ = bytes.Cut(data, []byte("\n"))
		text, _, _ = bytes.Cut(text, []byte("#"))
		word := bytes.TrimSpace(text)
		if len(word) == 0 {
			continue
		}
		at := place{path, Position{line, 1 + bytes.Index(text, word), file}}
		if prefix, ok := parsePrefix(string(word)); ok {
			entries = append(entries, entry{prefix, at})
		} else {
			p.addAt(at, quote(string(word))+" is not "+wantPrefix.what, wantPrefix.remedy+", one in each line")
		}
	}
	return entries
}

// merge returns each prefix once, and remembers for the messages of validate
// where the entries of the list at path are written.
func (d *decoder) merge(path string, from prefixes) []netip.Prefix {
	if len(from.list)+len(from.file) == 0 {
		return nil
	}
	var list []netip.Prefix
	seen := make(map[netip.Prefix]bool, len(from.list)+len(from.file))
	for _, entries := range [][]entry{from.list, from.file} {
		for _, e := range entries {
			if !seen[e.prefix] {
				seen[e.prefix] = true
				list = append(list, e.prefix)
				d.entries[path] = append(d.entries[path], e.place)
			}
		}
	}
	return list
}
