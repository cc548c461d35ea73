package maps

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// layout is a C struct, taken apart into the numbers that it consists of.
// Padding, which means nothing, is left out.
type layout []field

// field is a number, or an array of numbers.
type field struct {
	name   string // path.of[0].members
	offset int    // in bytes
	size   int    // of one number, in bytes
	count  int
}

// layoutOf takes a type of BTF apart.
func layoutOf(t btf.Type) (layout, error) {
	var l layout
	if err := l.add("", t, 0); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *layout) add(name string, t btf.Type, offset int) error {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return l.addMembers(name, t, offset)
	case *btf.Datasec:
		for _, v := range t.Vars {
			if err := l.add(name, v.Type, offset+int(v.Offset)); err != nil {
				return err
			}
		}
		return nil
	case *btf.Var:
		return l.add(name, t.Type, offset)
	case *btf.Array:
		return l.addArray(name, t, offset)
	case *btf.Int, *btf.Enum:
		size, err := btf.Sizeof(t)
		if err != nil {
			return fmt.Errorf("field %s: %w", name, err)
		}
		*l = append(*l, field{name, offset, size, 1})
		return nil
	default:
		return fmt.Errorf("field %s: rows have no %s", name, t)
	}
}

func (l *layout) addMembers(name string, s *btf.Struct, offset int) error {
	for _, m := range s.Members {
		if m.BitfieldSize != 0 {
			return fmt.Errorf("field %s.%s: rows have no bit fields", name, m.Name)
		}
		if strings.HasPrefix(m.Name, "pad") {
			continue
		}
		path := m.Name
		if name != "" {
			path = name + "." + m.Name
		}
		if err := l.add(path, m.Type, offset+int(m.Offset.Bytes())); err != nil {
			return err
		}
	}
	return nil
}

// addArray keeps arrays of numbers whole, and takes others apart.
func (l *layout) addArray(name string, a *btf.Array, offset int) error {
	size, err := btf.Sizeof(a.Type)
	if err != nil {
		return fmt.Errorf("field %s: %w", name, err)
	}
	switch btf.UnderlyingType(a.Type).(type) {
	case *btf.Int, *btf.Enum:
		*l = append(*l, field{name, offset, size, int(a.Nelems)})
		return nil
	}
	for i := range int(a.Nelems) {
		if err := l.add(fmt.Sprintf("%s[%d]", name, i), a.Type, offset+i*size); err != nil {
			return err
		}
	}
	return nil
}

func (l layout) equal(other layout) bool { return slices.Equal(l, other) }

func (l layout) field(name string) (field, bool) {
	i := slices.IndexFunc(l, func(f field) bool { return f.name == name })
	if i < 0 {
		return field{}, false
	}
	return l[i], true
}

// converter turns rows of one layout into rows of another.
type converter struct{ pairs [][2]field }

// newConverter pairs fields by name. What the new layout does not have is lost,
// what the old one did not have is 0.
func newConverter(from, to layout) converter {
	var c converter
	for _, new := range to {
		if old, ok := from.field(new.name); ok {
			c.pairs = append(c.pairs, [2]field{old, new})
		}
	}
	return c
}

// convert fills a row of zeros. A number that its new field is too narrow for is
// an error.
func (c converter) convert(to, from []byte) error {
	for _, pair := range c.pairs {
		old, new := pair[0], pair[1]
		for i := range min(old.count, new.count) {
			src := from[old.offset+i*old.size:][:old.size]
			dst := to[new.offset+i*new.size:][:new.size]
			if n := copy(dst, src); len(bytes.Trim(src[n:], "\x00")) > 0 {
				return fmt.Errorf("field %s: %d does not fit into %d bytes", new.name, number(src), new.size)
			}
		}
	}
	return nil
}

func number(b []byte) uint64 {
	var wide [8]byte
	copy(wide[:], b)
	return binary.NativeEndian.Uint64(wide[:])
}

// rowTypes returns the types of a map's key and value in the kernel, nil where
// they cannot be told. Structs of the map's BTF are those that the program's map
// has by name: that is how a release finds the rows of another.
func rowTypes(m *ebpf.Map, spec *ebpf.MapSpec) (key, value btf.Type, err error) {
	handle, err := m.Handle()
	if err != nil {
		return nil, nil, fmt.Errorf("read the layout of map %s: %w", spec.Name, err)
	}
	defer handle.Close()
	types, err := handle.Spec(nil)
	if err != nil {
		return nil, nil, fmt.Errorf("read the layout of map %s: %w", spec.Name, err)
	}
	return typeLike(types, spec.Key, m.KeySize()), typeLike(types, spec.Value, m.ValueSize()), nil
}

// typeLike finds a type by its name and size. Numbers have no layout but their size.
func typeLike(types *btf.Spec, like btf.Type, size uint32) btf.Type {
	if like == nil {
		return nil
	}
	candidates := []btf.Type{like}
	switch btf.UnderlyingType(like).(type) {
	case *btf.Struct, *btf.Datasec:
		found, err := types.AnyTypesByName(like.TypeName())
		if err != nil {
			return nil
		}
		candidates = found
	}
	for _, t := range candidates {
		if n, err := btf.Sizeof(t); err == nil && uint32(n) == size {
			return t
		}
	}
	return nil
}
