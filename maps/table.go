package maps

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// table is a map whose rows are read by the names of their fields. Arrays are
// mmapped; of others, entries can be gone through.
type table struct {
	m      *ebpf.Map
	memory []byte
	rows   int
	size   int // of a row, a multiple of 8
	key    layout
	value  layout
}

// openTable opens a map and says whether its rows have another layout than those
// of the program's map.
func openTable(m *ebpf.Map, spec *ebpf.MapSpec, same bool) (t *table, changed bool, err error) {
	t = &table{m: m}
	if m.Type() == ebpf.DevMap {
		return t, false, nil
	}
	key, value := spec.Key, spec.Value
	if !same {
		if key, value, err = rowTypes(m, spec); err != nil {
			return nil, false, err
		}
	}
	if value == nil || spec.Value == nil {
		return nil, false, fmt.Errorf("map %s: the kernel's rows are not those of this program, which cannot tell what they mean", spec.Name)
	}
	if t.value, err = layoutOf(value); err != nil {
		return nil, false, fmt.Errorf("map %s: %w", spec.Name, err)
	}
	want, err := layoutOf(spec.Value)
	if err != nil {
		return nil, false, fmt.Errorf("map %s: %w", spec.Name, err)
	}
	changed = !t.value.equal(want) || m.ValueSize() != spec.ValueSize
	if m.Type() != ebpf.Array {
		if t.key, err = layoutOf(key); err != nil {
			return nil, false, fmt.Errorf("map %s: %w", spec.Name, err)
		}
		wantKey, err := layoutOf(spec.Key)
		if err != nil {
			return nil, false, fmt.Errorf("map %s: %w", spec.Name, err)
		}
		return t, changed || !t.key.equal(wantKey), nil
	}
	return t, changed, t.mmap()
}

func (t *table) mmap() error {
	t.size, t.rows = (int(t.m.ValueSize())+7)&^7, int(t.m.MaxEntries())
	page := unix.Getpagesize()
	memory, err := unix.Mmap(t.m.FD(), 0, (t.rows*t.size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap map %s: %w", t.m, err)
	}
	t.memory = memory
	return nil
}

func (t *table) close() error {
	if t.memory == nil {
		return nil
	}
	err := unix.Munmap(t.memory)
	t.memory = nil
	return err
}

func (t *table) row(i int) []byte { return t.memory[i*t.size:][:t.size] }

// number reads a number of a row, one of several in an array. What the rows do
// not have is 0.
func (t *table) number(i int, name string, at int) uint64 {
	f, ok := t.value.field(name)
	if !ok || at >= f.count {
		return 0
	}
	if f.size == 8 {
		return atomic.LoadUint64(t.word(i, f.offset+8*at))
	}
	return number(t.row(i)[f.offset+f.size*at:][:f.size])
}

// count returns how many numbers an array of a row has.
func (t *table) count(name string) int {
	f, _ := t.value.field(name)
	return f.count
}

// setWord writes an 8-byte number of a row.
func (t *table) setWord(i int, name string, value uint64) {
	if f, ok := t.value.field(name); ok && f.size == 8 {
		atomic.StoreUint64(t.word(i, f.offset), value)
	}
}

func (t *table) word(i, offset int) *uint64 {
	return (*uint64)(unsafe.Pointer(&t.memory[i*t.size+offset]))
}

// copyTo copies rows, by number, as far as both tables have them.
func (t *table) copyTo(to *table) error { return t.copyBlocks(to, 1) }

// copyBlocks copies tables of one block per CPU.
func (t *table) copyBlocks(to *table, cpus int) error {
	rows := min(t.rows, to.rows) / cpus
	same := t.value.equal(to.value) && t.size == to.size
	c := newConverter(t.value, to.value)
	for cpu := range cpus {
		src, dst := cpu*(t.rows/cpus), cpu*(to.rows/cpus)
		if same {
			copy(to.memory[dst*t.size:][:rows*t.size], t.memory[src*t.size:])
			continue
		}
		for i := range rows {
			clear(to.row(dst + i))
			if err := c.convert(to.row(dst+i), t.row(src+i)); err != nil {
				return fmt.Errorf("row %d: %w", src+i, err)
			}
		}
	}
	return nil
}

// entries goes through a map that is no array.
func (t *table) entries(f func(key, value []byte) error) error {
	key, value := make([]byte, t.m.KeySize()), make([]byte, t.m.ValueSize())
	it := t.m.Iterate()
	for it.Next(&key, &value) {
		if err := f(key, value); err != nil {
			return err
		}
	}
	return it.Err()
}

// copyEntries copies all entries into another map.
func (t *table) copyEntries(to *table) error {
	keys, values := newConverter(t.key, to.key), newConverter(t.value, to.value)
	return t.entries(func(key, value []byte) error {
		newKey, newValue := make([]byte, to.m.KeySize()), make([]byte, to.m.ValueSize())
		if err := errors.Join(keys.convert(newKey, key), values.convert(newValue, value)); err != nil {
			return err
		}
		return to.m.Put(newKey, newValue)
	})
}
