// Package trace executes a loaded XDP program in Go, instruction by instruction as the verifier left them, and says which
// source lines they belong to. What it counts does not depend on the machine's speed or on what else runs there, and is
// the same in every run: a guard that noise cannot fool, and a profile where the processor has no counters to offer.
//
// Maps are read as they are, and what the program writes is kept here: its traces see what those before them wrote, the
// kernel does not. It knows what xlb's program uses on the way of common packets: arrays, the trie of rules, adjust_head,
// redirect_map, the clock.
package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// Program is a loaded program, ready to be traced.
type Program struct {
	code    []asm.Instruction
	index   map[int]int // of the instruction that starts at a slot of eight bytes
	slots   []int       // the other way round
	maps    map[uint32]*table
	helpers map[int64]helper
	written map[uint64]byte // by address
}

// table is a map of the program: its values in memory, which the kernel shares.
type table struct {
	m      *ebpf.Map // kept, and with it the mapping
	values io.ReaderAt
	header uint64 // bytes of the kernel's structure before the values
}

// Line is a line of the program's source.
type Line struct {
	File   string
	Number uint32
	Text   string
}

// Trace is the way of one packet.
type Trace struct {
	Verdict      uint32
	Frame        []byte // as it left
	Instructions int    // of BPF, those of helpers not counted
	Kinds        map[Kind]int
	Lines        map[Line]int
}

// Kind says what an instruction does.
type Kind string

// Kinds of instructions.
const (
	Arithmetic Kind = "arithmetic"
	Load       Kind = "load"
	Store      Kind = "store"
	Branch     Kind = "branch"
	Call       Kind = "call"
)

// New reads a program back from the kernel.
func New(prog *ebpf.Program) (*Program, error) {
	info, err := prog.Info()
	if err != nil {
		return nil, fmt.Errorf("ask for the program: %w", err)
	}
	code, err := info.Instructions()
	if err != nil {
		return nil, fmt.Errorf("read the program's instructions: %w", err)
	}
	p := &Program{code: code, index: map[int]int{}, maps: map[uint32]*table{}, written: map[uint64]byte{}}
	slot := 0
	for i := range code {
		p.index[slot], p.slots = i, append(p.slots, slot)
		slot += int(code[i].Width())
	}
	if p.helpers, err = knownHelpers(); err != nil {
		return nil, err
	}
	for i := range code {
		if err := p.openMap(i); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// openMap maps the map that an instruction names.
func (p *Program) openMap(i int) error {
	ins := &p.code[i]
	if !ins.IsLoadFromMap() {
		return nil
	}
	id := uint32(ins.Constant)
	t := p.maps[id]
	if t == nil {
		m, err := ebpf.NewMapFromID(ebpf.MapID(id))
		if err != nil {
			return fmt.Errorf("open map %d of the program: %w", id, err)
		}
		t = &table{m: m}
		if m.Flags()&mmapable != 0 {
			if t.values, err = m.Memory(); err != nil {
				return fmt.Errorf("map the memory of %s: %w", m, err)
			}
		}
		p.maps[id] = t
	}
	// The kernel inlines a lookup as the map's address, plus where its values begin, plus the row.
	if next := i + 1; ins.Src == asm.PseudoMapFD && next < len(p.code) && p.code[next].OpCode == asm.Add.Op(asm.ImmSource) && p.code[next].Dst == ins.Dst {
		t.header = uint64(p.code[next].Constant)
	}
	return nil
}

const mmapable = 1 << 10 // BPF_F_MMAPABLE

// maxInstructions ends a program that runs in circles.
const maxInstructions = 1 << 20

var errEnd = errors.New("end of the program")

// Run sends a frame that arrives on an interface through the program.
func (p *Program) Run(frame []byte, ifindex uint32) (*Trace, error) {
	m := newMachine(p, frame, ifindex)
	t := &Trace{Kinds: map[Kind]int{}, Lines: map[Line]int{}}
	var line Line
	for {
		if t.Instructions++; t.Instructions > maxInstructions {
			return nil, errors.New("trace: the program does not end")
		}
		ins := &p.code[m.at]
		if src, ok := ins.Source().(*btf.Line); ok {
			line = Line{src.FileName(), src.LineNumber(), src.Line()}
		}
		t.Lines[line]++
		t.Kinds[kindOf(ins)]++
		err := m.step(ins)
		if err == errEnd {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("trace: instruction %d, %v: %w", p.slots[m.at], ins, err)
		}
	}
	t.Verdict = uint32(m.reg[0])
	t.Frame = append(t.Frame, m.packet[m.data-packetBase:]...)
	return t, nil
}

func kindOf(ins *asm.Instruction) Kind {
	switch class := ins.OpCode.Class(); {
	case class.IsStore():
		return Store
	case class == asm.LdXClass:
		return Load
	case class.IsJump() && ins.OpCode.JumpOp() == asm.Call:
		return Call
	case class.IsJump():
		return Branch
	}
	return Arithmetic // loads of constants as well
}

func order() binary.ByteOrder { return binary.NativeEndian }
