package main

import (
	"regexp"
	"strings"
)

// decl is one top-level declaration of the dump.
type decl struct {
	text string
	uses []use
}

// use is a reference to another type: "struct iphdr", "enum xdp_action", or a typedef's bare name.
type use struct {
	name    string
	pointer bool // only pointed to, so that a forward declaration is enough
}

// dump is a parsed C dump: the declarations in order, and where each name is defined.
type dump struct {
	decls   []decl
	defined map[string]int // "struct x", "enum x", "typedef x" or "has MEMBER" -> index into decls
}

var (
	tagged   = regexp.MustCompile(`^(struct|union|enum) (\w+) \{`)
	function = regexp.MustCompile(`^typedef .*?\(\*?(\w+)\)\(`)
	alias    = regexp.MustCompile(`(\w+)(?:\[\d+\])*(?: __attribute__\(.*\))?;$`)
	member   = regexp.MustCompile(`(?m)^\t(\w+) = `)
	token    = regexp.MustCompile(`\w+|[^\s\w]`)
	word     = regexp.MustCompile(`^[A-Za-z_]`)
)

// parseDump splits bpftool's output, which separates declarations by blank lines, and indexes it.
func parseDump(text string) dump {
	d := dump{defined: map[string]int{}}
	for block := range strings.SplitSeq(text, "\n\n") {
		block = strings.TrimSpace(block)
		name := definition(block)
		if name == "" {
			continue
		}
		index := len(d.decls)
		d.decls = append(d.decls, decl{text: block, uses: uses(block)})
		if _, dup := d.defined[name]; !dup {
			d.defined[name] = index
		}
		if strings.HasPrefix(block, "enum {") {
			for _, m := range member.FindAllStringSubmatch(block, -1) {
				d.defined["has "+m[1]] = index
			}
		}
	}
	return d
}

// definition names what a block defines; a forward declaration or a preprocessor line defines nothing.
func definition(block string) string {
	switch m := tagged.FindStringSubmatch(block); {
	case m != nil:
		return m[1] + " " + m[2]
	case strings.HasPrefix(block, "enum {"):
		return "enum"
	case !strings.HasPrefix(block, "typedef "):
		return ""
	}
	if m := function.FindStringSubmatch(block); m != nil {
		return "typedef " + m[1]
	}
	if m := alias.FindStringSubmatch(block); m != nil {
		return "typedef " + m[1]
	}
	return ""
}

// uses lists the types a declaration refers to. An identifier is taken for a typedef only where a type can stand, so
// that a member that happens to share a typedef's name pulls nothing in.
func uses(block string) []use {
	var out []use
	tokens := token.FindAllString(block, -1)
	for i := 0; i < len(tokens); i++ {
		t := tokens[i]
		switch {
		case (t == "struct" || t == "union" || t == "enum") && i+1 < len(tokens):
			i++
			if tokens[i] == "{" || i+1 < len(tokens) && tokens[i+1] == "{" {
				continue // the definition itself, or an anonymous one
			}
			pointer := t != "enum" && i+1 < len(tokens) && tokens[i+1] == "*"
			out = append(out, use{name: t + " " + tokens[i], pointer: pointer})
		case startsType(tokens, i):
			out = append(out, use{name: "typedef " + t})
		}
	}
	return out
}

// startsType tells whether a declaration's type may begin at tokens[i].
func startsType(tokens []string, i int) bool {
	if i == 0 || !word.MatchString(tokens[i]) {
		return false
	}
	switch tokens[i-1] {
	case "typedef", "{", ";", "(", ",", "const", "volatile":
		return true
	}
	return false
}
