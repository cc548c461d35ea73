package trace

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/cilium/ebpf/asm"
)

// Where things lie. Maps follow, each with room for its values.
const (
	contextBase = 0x1000_0000
	queueBase   = 0x2000_0000 // the receive queue, and behind it the device: every word is the interface's number
	perCPUBase  = 0x3000_0000 // reads as zero: CPU 0
	packetBase  = 0x4000_0000
	stackBase   = 0x5000_0000
	scratchBase = 0x6000_0000 // what helpers return
	mapShift    = 40

	headroom   = 256
	stackFrame = 512
	frames     = 8
)

// The kernel's struct xdp_buff, as far as the program sees it.
const (
	xdpData    = 0
	xdpDataEnd = 8
	xdpMeta    = 16
	xdpQueue   = 32
	xdpLen     = 64
)

// machine is the state of one run.
type machine struct {
	p       *Program
	reg     [11]uint64
	at      int // in the code
	calls   []frame
	context [xdpLen]byte
	packet  []byte
	data    uint64 // address of the packet's first byte
	stack   [stackFrame * frames]byte
	scratch [8]byte
	ifindex uint32
}

// frame is what a function leaves behind when it calls another.
type frame struct {
	at    int
	saved [5]uint64 // r6 to r9 and the frame pointer
}

func newMachine(p *Program, data []byte, ifindex uint32) *machine {
	m := &machine{p: p, packet: append(make([]byte, headroom), data...), data: packetBase + headroom, ifindex: ifindex}
	m.reg[1], m.reg[10] = contextBase, stackBase+stackFrame
	m.setContext()
	return m
}

func (m *machine) setContext() {
	order().PutUint64(m.context[xdpData:], m.data)
	order().PutUint64(m.context[xdpMeta:], m.data)
	order().PutUint64(m.context[xdpDataEnd:], packetBase+uint64(len(m.packet)))
	order().PutUint64(m.context[xdpQueue:], queueBase)
}

// step executes one instruction.
func (m *machine) step(ins *asm.Instruction) error {
	switch class := ins.OpCode.Class(); {
	case class == asm.LdClass:
		return m.loadConstant(ins)
	case class == asm.LdXClass:
		return m.load(ins)
	case class.IsStore():
		return m.store(ins)
	case class.IsALU():
		m.at++
		return m.compute(ins)
	}
	return m.jump(ins)
}

func (m *machine) loadConstant(ins *asm.Instruction) error {
	m.at++
	switch {
	case !ins.IsLoadFromMap():
		m.reg[ins.Dst] = uint64(ins.Constant)
	case ins.Src == asm.PseudoMapFD:
		m.reg[ins.Dst] = uint64(uint32(ins.Constant)) << mapShift
	default: // an address within a map's first value
		id := uint32(ins.Constant)
		m.reg[ins.Dst] = uint64(id)<<mapShift + m.p.maps[id].header + uint64(ins.Constant)>>32
	}
	return nil
}

// own is the machine's own memory at an address, nil if it is somebody else's.
func (m *machine) own(address uint64, size int) []byte {
	for _, region := range []struct {
		base  uint64
		bytes []byte
	}{{contextBase, m.context[:]}, {packetBase, m.packet}, {stackBase, m.stack[:]}, {scratchBase, m.scratch[:]}} {
		if at := address - region.base; address >= region.base && at+uint64(size) <= uint64(len(region.bytes)) {
			return region.bytes[at : at+uint64(size)]
		}
	}
	return nil
}

func (m *machine) read(address uint64, bytes []byte) error {
	if own := m.own(address, len(bytes)); own != nil {
		copy(bytes, own)
		return nil
	}
	t := m.p.maps[uint32(address>>mapShift)]
	switch {
	case t != nil && t.values != nil:
		if _, err := t.values.ReadAt(bytes, int64(address&(1<<mapShift-1))-int64(t.header)); err != nil {
			return err
		}
		for i := range bytes {
			if b, ok := m.p.written[address+uint64(i)]; ok {
				bytes[i] = b
			}
		}
	case address >= perCPUBase && address < packetBase:
		clear(bytes)
	case address >= queueBase && address < perCPUBase && len(bytes) == 8: // the queue's device
		order().PutUint64(bytes, queueBase)
	case address >= queueBase && address < perCPUBase:
		order().PutUint32(bytes, m.ifindex)
	default:
		return fmt.Errorf("nothing lies at address %#x", address)
	}
	return nil
}

func (m *machine) write(address uint64, bytes []byte) error {
	if own := m.own(address, len(bytes)); own != nil {
		copy(own, bytes)
		return nil
	}
	if t := m.p.maps[uint32(address>>mapShift)]; t == nil || t.values == nil {
		return fmt.Errorf("nothing lies at address %#x", address)
	}
	for i, b := range bytes {
		m.p.written[address+uint64(i)] = b
	}
	return nil
}

func number(bytes []byte) uint64 {
	var wide [8]byte
	copy(wide[:], bytes) // little-endian, as the instructions
	return order().Uint64(wide[:])
}

func (m *machine) load(ins *asm.Instruction) error {
	if ins.OpCode.Mode() != asm.MemMode {
		return errors.New("unknown kind of load")
	}
	bytes := make([]byte, ins.OpCode.Size().Sizeof())
	if err := m.read(m.reg[ins.Src]+uint64(int64(ins.Offset)), bytes); err != nil {
		return err
	}
	m.reg[ins.Dst] = number(bytes)
	m.at++
	return nil
}

func (m *machine) store(ins *asm.Instruction) error {
	if ins.OpCode.Mode() != asm.MemMode {
		return errors.New("unknown kind of store")
	}
	var wide [8]byte
	value := uint64(ins.Constant)
	if ins.OpCode.Class() == asm.StXClass {
		value = m.reg[ins.Src]
	}
	order().PutUint64(wide[:], value)
	m.at++
	return m.write(m.reg[ins.Dst]+uint64(int64(ins.Offset)), wide[:ins.OpCode.Size().Sizeof()])
}

// operand is the right side of an operation.
func (m *machine) operand(ins *asm.Instruction) uint64 {
	if ins.OpCode.Source() == asm.RegSource {
		return m.reg[ins.Src]
	}
	return uint64(ins.Constant)
}

const perCPU = -1 // BPF_ADDR_PERCPU, the offset of a move that adds this CPU's base

func (m *machine) compute(ins *asm.Instruction) error {
	to, by, width := &m.reg[ins.Dst], m.operand(ins), uint64(64)
	from := *to
	if ins.OpCode.Class() == asm.ALUClass {
		from, by, width = uint64(uint32(from)), uint64(uint32(by)), 32
	}
	switch ins.OpCode.ALUOp() {
	case asm.Add:
		*to = from + by
	case asm.Sub:
		*to = from - by
	case asm.Mul:
		*to = from * by
	case asm.Div:
		*to = divide(from, by)
	case asm.Mod:
		*to = from - divide(from, by)*by
	case asm.Or:
		*to = from | by
	case asm.And:
		*to = from & by
	case asm.Xor:
		*to = from ^ by
	case asm.LSh:
		*to = from << (by & (width - 1))
	case asm.RSh:
		*to = from >> (by & (width - 1))
	case asm.ArSh:
		*to = uint64(int64(from<<(64-width)) >> (64 - width) >> (by & (width - 1)))
	case asm.Neg:
		*to = -from
	case asm.Mov:
		if *to = by; ins.Offset == perCPU {
			*to = perCPUBase
		}
	case asm.Swap:
		return m.swap(ins)
	default:
		return errors.New("unknown arithmetic")
	}
	if width == 32 {
		*to = uint64(uint32(*to))
	}
	return nil
}

func divide(a, b uint64) uint64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func (m *machine) swap(ins *asm.Instruction) error {
	to := &m.reg[ins.Dst]
	little := ins.OpCode.Class() == asm.ALUClass && ins.OpCode.Source() == asm.ImmSource
	switch {
	case ins.Constant == 64 && !little:
		*to = bits.ReverseBytes64(*to)
	case ins.Constant == 32 && !little:
		*to = uint64(bits.ReverseBytes32(uint32(*to)))
	case ins.Constant == 16 && !little:
		*to = uint64(bits.ReverseBytes16(uint16(*to)))
	default:
		return errors.New("unknown swap of bytes")
	}
	return nil
}
