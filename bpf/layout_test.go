package bpf_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xlb-project/xlb/bpf"
)

// Go's rows are compared with the BTF of the very object that is loaded, so that
// neither a stale binding nor Go's own padding can go unseen.
func TestGoAndCAgreeOnEveryLayout(t *testing.T) {
	spec, err := bpf.LoadXlb()
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]any{
		"vip": bpf.XlbVip{}, "port": bpf.XlbPort{}, "service": bpf.XlbService{},
		"slot": bpf.XlbSlot{}, "backend": bpf.XlbBackend{}, "hop": bpf.XlbHop{}, "outer_dest": bpf.XlbOuterDest{}, "counter": bpf.XlbCounter{},
	} {
		var c *btf.Struct
		if err := spec.Types.TypeByName(name, &c); err != nil {
			t.Fatalf("struct %s: %v", name, err)
		}
		compareLayout(t, c, reflect.TypeOf(row))
	}
}

func compareLayout(t *testing.T, c *btf.Struct, g reflect.Type) {
	t.Helper()
	if uintptr(c.Size) != g.Size() {
		t.Errorf("struct %s: %d bytes in C, %d in Go", c.Name, c.Size, g.Size())
	}
	fields := 0
	for i := range g.NumField() {
		if g.Field(i).Name != "_" {
			fields++
		}
	}
	if fields != len(c.Members) {
		t.Errorf("struct %s: %d fields in C, %d in Go", c.Name, len(c.Members), fields)
	}
	for _, m := range c.Members {
		want := strings.ReplaceAll(m.Name, "_", "")
		f, ok := g.FieldByNameFunc(func(s string) bool { return strings.EqualFold(s, want) })
		if !ok {
			t.Errorf("struct %s: Go has no field for %s", c.Name, m.Name)
			continue
		}
		if uintptr(m.Offset.Bytes()) != f.Offset {
			t.Errorf("struct %s.%s: at %d in C, at %d in Go", c.Name, m.Name, m.Offset.Bytes(), f.Offset)
		}
		if size, err := btf.Sizeof(m.Type); err != nil || uintptr(size) != f.Type.Size() {
			t.Errorf("struct %s.%s: %d bytes in C (%v), %d in Go", c.Name, m.Name, size, err, f.Type.Size())
		}
	}
}

func TestEveryTableIsAnInlinedMmapableArray(t *testing.T) {
	spec, err := bpf.LoadXlb()
	if err != nil {
		t.Fatal(err)
	}
	const mmapable = 1 << 10 // BPF_F_MMAPABLE
	for _, name := range []string{
		bpf.XlbMapVips, bpf.XlbMapPorts, bpf.XlbMapServices, bpf.XlbMapSlots, bpf.XlbMapBackends, bpf.XlbMapHops, bpf.XlbMapOuter6,
		bpf.XlbMapCounters,
	} {
		m := spec.Maps[name]
		if m.Type != ebpf.Array || m.Flags&mmapable == 0 || m.ValueSize%8 != 0 {
			t.Errorf("map %s: type %s, flags %#x, value %d bytes; want an mmapable array of whole words", name, m.Type, m.Flags, m.ValueSize)
		}
	}
}
