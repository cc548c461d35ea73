package maps

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// constantSection holds what is fixed when a program is loaded.
const constantSection = ".rodata"

// inlineConstants turns loads of constants into the constants themselves. The
// verifier removes the branches that they decide either way, but not the loads: two
// instructions at each place where a stage asks for a feature.
func inlineConstants(spec *ebpf.CollectionSpec) {
	section := map[uint32]byte{}
	for _, v := range spec.Variables {
		if v.SectionName == constantSection {
			for i, b := range v.Value {
				section[v.Offset+uint32(i)] = b
			}
		}
	}
	for _, prog := range spec.Programs {
		targets := jumpTargets(prog.Instructions)
		code := make(asm.Instructions, 0, len(prog.Instructions))
		for i := 0; i < len(prog.Instructions); i++ {
			address := prog.Instructions[i]
			if i+1 < len(prog.Instructions) && !targets[i+1] {
				if value, ok := constantOf(&address, &prog.Instructions[i+1], section); ok {
					move := asm.Mov.Imm32(address.Dst, value)
					move.Metadata = address.Metadata
					// three slots of eight bytes, as before: jumps count them
					code = append(code, move.WithReference(""), nothing(), nothing())
					i++
					continue
				}
			}
			code = append(code, address)
		}
		prog.Instructions = code
	}
}

// nothing is a jump to the next instruction, which the verifier removes.
func nothing() asm.Instruction {
	return asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)}
}

// constantOf returns what two instructions load into the register that holds its
// address before, if that is a constant of 32 bits at most.
func constantOf(address, load *asm.Instruction, section map[uint32]byte) (int32, bool) {
	const movable = 4
	size := load.OpCode.Size().Sizeof()
	if !address.IsLoadFromMap() || address.Reference() != constantSection || address.Src != asm.PseudoMapValue ||
		load.OpCode.Class() != asm.LdXClass || load.OpCode.Mode() != asm.MemMode ||
		load.Src != address.Dst || load.Dst != address.Dst || size > movable {
		return 0, false
	}
	var value [movable]byte
	for i := range size {
		b, ok := section[uint32(address.Constant>>32)+uint32(int32(load.Offset))+uint32(i)]
		if !ok {
			return 0, false
		}
		value[i] = b
	}
	return int32(binary.LittleEndian.Uint32(value[:])), true
}

// jumpTargets says which instructions are jumped to.
func jumpTargets(code asm.Instructions) map[int]bool {
	index, slots := map[int]int{}, make([]int, len(code))
	slot := 0
	for i := range code {
		index[slot], slots[i] = i, slot
		slot += int(code[i].Width())
	}
	targets := map[int]bool{}
	for i := range code {
		if op := code[i].OpCode; op.Class().IsJump() && op.JumpOp() != asm.Call && op.JumpOp() != asm.Exit {
			targets[index[slots[i]+1+int(code[i].Offset)]] = true
		}
	}
	return targets
}
