package trace

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

func (m *machine) jump(ins *asm.Instruction) error {
	switch ins.OpCode.JumpOp() {
	case asm.Exit:
		return m.exit()
	case asm.Call:
		return m.call(ins)
	case asm.Ja:
		offset := int(ins.Offset)
		if ins.OpCode.Class() == asm.Jump32Class {
			offset = int(ins.Constant)
		}
		return m.jumpBy(offset)
	}
	taken, err := m.taken(ins)
	if err != nil {
		return err
	}
	if taken {
		return m.jumpBy(int(ins.Offset))
	}
	m.at++
	return nil
}

// jumpBy goes on at a distance in slots from the next instruction.
func (m *machine) jumpBy(offset int) error {
	next, ok := m.p.index[m.p.slots[m.at]+1+offset]
	if !ok {
		return errors.New("a jump to no instruction")
	}
	m.at = next
	return nil
}

func (m *machine) taken(ins *asm.Instruction) (bool, error) {
	a, b := m.reg[ins.Dst], m.operand(ins)
	if ins.OpCode.Class() == asm.Jump32Class { // the high half keeps the order of both kinds of numbers
		a, b = a<<32, b<<32
	}
	switch ins.OpCode.JumpOp() {
	case asm.JEq:
		return a == b, nil
	case asm.JNE:
		return a != b, nil
	case asm.JGT:
		return a > b, nil
	case asm.JGE:
		return a >= b, nil
	case asm.JLT:
		return a < b, nil
	case asm.JLE:
		return a <= b, nil
	case asm.JSet:
		return a&b != 0, nil
	case asm.JSGT:
		return int64(a) > int64(b), nil
	case asm.JSGE:
		return int64(a) >= int64(b), nil
	case asm.JSLT:
		return int64(a) < int64(b), nil
	case asm.JSLE:
		return int64(a) <= int64(b), nil
	}
	return false, errors.New("unknown branch")
}

func (m *machine) call(ins *asm.Instruction) error {
	if ins.Src != asm.PseudoCall {
		h, ok := m.p.helpers[ins.Constant]
		if !ok {
			return errors.New("unknown helper")
		}
		r, err := h(m)
		m.reg[0] = r
		m.at++
		return err
	}
	if len(m.calls) == frames-1 {
		return errors.New("too many calls")
	}
	f := frame{at: m.at + 1}
	copy(f.saved[:], m.reg[6:])
	m.calls = append(m.calls, f)
	m.reg[10] += stackFrame
	return m.jumpBy(int(ins.Offset)) // the constant is the function's number
}

func (m *machine) exit() error {
	if len(m.calls) == 0 {
		return errEnd
	}
	last := len(m.calls) - 1
	copy(m.reg[6:], m.calls[last].saved[:])
	m.at, m.calls = m.calls[last].at, m.calls[:last]
	return nil
}

// helper is a function of the kernel.
type helper func(m *machine) (uint64, error)

func adjustHead(m *machine) (uint64, error) {
	data := m.data + uint64(int64(int32(m.reg[2])))
	if data < packetBase || data >= packetBase+uint64(len(m.packet)) {
		return ^uint64(0), nil
	}
	m.data = data
	m.setContext()
	return 0, nil
}

const xdpRedirect = 4 // XDP_REDIRECT

func redirectMap(*machine) (uint64, error) { return xdpRedirect, nil }

func clock(*machine) (uint64, error) { return 1, nil }

// lookup asks the kernel for the value of a key, which is a word.
func lookup(m *machine) (uint64, error) {
	t := m.p.maps[uint32(m.reg[1]>>mapShift)]
	if t == nil {
		return 0, errors.New("a lookup in no map")
	}
	key, value := make([]byte, t.m.KeySize()), make([]byte, t.m.ValueSize())
	if err := m.read(m.reg[2], key); err != nil {
		return 0, err
	}
	err := t.m.Lookup(key, value)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, nil
	}
	copy(m.scratch[:], value)
	return scratchBase, err
}

// knownHelpers returns helpers by how a call names them: their distance from a symbol of the kernel.
func knownHelpers() (map[int64]helper, error) {
	byName := map[string]helper{
		"bpf_xdp_adjust_head":  adjustHead,
		"bpf_xdp_redirect_map": redirectMap,
		"dev_map_redirect":     redirectMap,
		"trie_lookup_elem":     lookup,
		"bpf_ktime_get_ns":     clock,
	}
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return nil, fmt.Errorf("read the kernel's symbols: %w", err)
	}
	defer f.Close()
	base, found := int64(0), map[int64]helper{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			continue
		}
		h, known := byName[fields[2]]
		if !known && fields[2] != "__bpf_call_base" {
			continue
		}
		address, err := strconv.ParseUint(fields[0], 16, 64)
		if err != nil || address == 0 {
			return nil, fmt.Errorf("the kernel hides the address of %s: this needs root", fields[2])
		}
		if known {
			found[int64(address)] = h
		} else {
			base = int64(address)
		}
	}
	relative := map[int64]helper{}
	for address, h := range found {
		relative[address-base] = h
	}
	return relative, nil
}
