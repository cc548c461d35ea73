package loader

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/maps"
)

// schema is the version of what tables mean. It rises when the same field of the
// same name says something else than before, which BTF cannot tell.
const schema = 1

// record says who pinned a generation and what it is made of.
type record struct {
	Schema  int       `json:"schema"`
	Version string    `json:"version"` // of xlb
	Object  string    `json:"object"`  // hash of the compiled data path
	Program string    `json:"program"` // hash of what is loaded of it
	Since   time.Time `json:"since"`
}

// recordMap keeps the record beside the maps, as JSON: bpffs has no files.
const (
	recordMap  = "record"
	recordSize = 1024
)

// generation is a program with its maps. Each has a directory of its own, by
// number, in which the program is pinned last: without it the directory is of no
// meaning. Maps that serve two generations are pinned in both.
type generation struct {
	number int
	prog   *ebpf.Program
	maps   map[string]*ebpf.Map
	record record
}

func (i Instance) generationDir(number int) string {
	return filepath.Join(i.dir(), strconv.Itoa(number))
}

// programPin is the name of a generation's program.
const programPin = "program"

// pinName is a map's name in a directory, where dots are not allowed.
func pinName(name string) string {
	return strings.ReplaceAll(strings.TrimPrefix(name, "."), ".", "_")
}

// pinned says which maps of a program outlive it. Constants are its own.
func pinned(name string) bool { return !strings.HasPrefix(name, ".rodata") }

// pin writes a generation's directory.
func (g *generation) pin(i Instance) error {
	dir := i.generationDir(g.number)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("pin program and maps: %w", err)
	}
	for name, m := range g.maps {
		if err := m.Pin(filepath.Join(dir, pinName(name))); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	if err := g.pinRecord(dir); err != nil {
		return fmt.Errorf("pin record: %w", err)
	}
	if err := i.step("pin program"); err != nil {
		return err
	}
	if err := g.prog.Pin(filepath.Join(dir, programPin)); err != nil {
		return fmt.Errorf("pin program: %w", err)
	}
	return nil
}

func (g *generation) pinRecord(dir string) error {
	text, err := json.Marshal(g.record)
	if err != nil {
		return err
	}
	value := make([]byte, recordSize)
	if copy(value, text) < len(text) {
		return fmt.Errorf("%d bytes are more than %d", len(text), recordSize)
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "xlb_record", Type: ebpf.Array, KeySize: 4, ValueSize: recordSize, MaxEntries: 1})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Put(uint32(0), value); err != nil {
		return err
	}
	return m.Pin(filepath.Join(dir, recordMap))
}

func readRecord(dir string) (r record, err error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, recordMap), nil)
	if err != nil {
		return r, err
	}
	defer m.Close()
	value, err := m.LookupBytes(uint32(0))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(bytes.TrimRight(value, "\x00"), &r)
}

// openGeneration opens what a directory has, maps by the names that they have in
// a program. It returns an error that wraps os.ErrNotExist for a directory that
// was not finished, or was being removed.
func (i Instance) openGeneration(number int, spec *ebpf.CollectionSpec) (*generation, error) {
	dir := i.generationDir(number)
	prog, err := ebpf.LoadPinnedProgram(filepath.Join(dir, programPin), nil)
	if err != nil {
		return nil, fmt.Errorf("open pinned program: %w", err)
	}
	g := &generation{number: number, prog: prog, maps: map[string]*ebpf.Map{}}
	if g.record, err = readRecord(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("read the record in %s: %w (%w)", dir, maps.ErrDamaged, err), g.close())
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	names := map[string]string{}
	for name := range spec.Maps {
		names[pinName(name)] = name
	}
	for _, e := range entries {
		if e.Name() == programPin || e.Name() == recordMap {
			continue
		}
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, e.Name()), nil)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open pinned map %s: %w", e.Name(), err), g.close())
		}
		name, known := names[e.Name()]
		if !known {
			name = e.Name() // another release's
		}
		g.maps[name] = m
	}
	return g, nil
}

func (g *generation) id() ebpf.ProgramID {
	info, err := g.prog.Info()
	if err != nil {
		return 0
	}
	id, _ := info.ID()
	return id
}

func (g *generation) close() error {
	err := g.prog.Close()
	for _, m := range g.maps {
		err = errors.Join(err, m.Close())
	}
	return err
}

// removeGeneration takes a directory away, the program first: what is left of it
// after a crash is of no meaning.
func (i Instance) removeGeneration(number int) error {
	if err := i.unpinProgram(number); err != nil {
		return err
	}
	if err := os.RemoveAll(i.generationDir(number)); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}

func (i Instance) unpinProgram(number int) error {
	err := os.Remove(filepath.Join(i.generationDir(number), programPin))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the pin of a program: %w", err)
	}
	return nil
}

// generations returns the numbers of the directories that there are.
func (i Instance) generations() ([]int, error) {
	entries, err := os.ReadDir(i.dir())
	if err != nil {
		return nil, fmt.Errorf("list the pins of instance %s: %w", i.Name, err)
	}
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// object is a compiled data path.
type object struct {
	spec *ebpf.CollectionSpec
	sum  string
}

func (i Instance) load() (object, error) {
	if i.object != nil {
		return i.object()
	}
	spec, err := bpf.LoadXlb()
	if err != nil {
		return object{}, fmt.Errorf("read embedded program: %w", err)
	}
	return object{spec, bpf.Sum()}, nil
}

// fingerprint tells programs apart that differ in code or constants.
func (o object) fingerprint() string {
	h := sha256.New()
	for _, in := range o.spec.Programs[bpf.XlbProgXlb].Instructions {
		fmt.Fprintln(h, uint16(in.OpCode), in.Dst, in.Src, in.Offset, in.Constant, in.Reference(), in.Symbol())
	}
	var names []string
	for name, v := range o.spec.Variables {
		if v.Constant() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(h, "%s %x\n", name, o.spec.Variables[name].Value)
	}
	return hex.EncodeToString(h.Sum(nil))
}
