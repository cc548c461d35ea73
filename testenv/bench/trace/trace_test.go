package trace

import (
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// TestArithmeticIsTheKernels lets kernel and machine compute the same random things.
func TestArithmeticIsTheKernels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		code := randomProgram(r)
		prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: code, License: "GPL"})
		if err != nil {
			t.Fatalf("load (this needs root): %v\n%v", err, code)
		}
		frame := make([]byte, 64)
		want, err := prog.Run(&ebpf.RunOptions{Data: frame})
		if err != nil {
			t.Fatal(err)
		}
		p, err := New(prog)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Run(frame, 1)
		if err != nil {
			t.Fatalf("%v\n%v", err, code)
		}
		if got.Verdict != want {
			t.Fatalf("the machine says %#x, the kernel %#x, of\n%v", got.Verdict, want, code)
		}
		if most := 3 * len(code); got.Instructions > most { // the kernel puts checks in front of divisions
			t.Errorf("%d instructions were executed of a program of %d without a loop", got.Instructions, len(code))
		}
		prog.Close()
	}
}

// randomProgram computes on two registers, with branches over single instructions and a trip over the stack.
func randomProgram(r *rand.Rand) asm.Instructions {
	ops := []asm.ALUOp{asm.Add, asm.Sub, asm.Mul, asm.Or, asm.And, asm.Xor, asm.LSh, asm.RSh, asm.ArSh, asm.Mov, asm.Div, asm.Mod}
	code := asm.Instructions{
		asm.LoadImm(asm.R0, int64(r.Uint64()), asm.DWord),
		asm.LoadImm(asm.R2, int64(r.Uint64()), asm.DWord),
	}
	for range 40 {
		op, dst, src := ops[r.IntN(len(ops))], asm.R0, asm.R2
		if r.IntN(2) == 0 {
			dst, src = src, dst
		}
		if shift := op == asm.LSh || op == asm.RSh || op == asm.ArSh; shift || r.IntN(2) == 0 {
			n := int32(1 + r.IntN(31))
			if !shift {
				n = int32(1 + r.Uint32()>>1)
			}
			if r.IntN(2) == 0 {
				code = append(code, op.Imm(dst, n))
			} else {
				code = append(code, op.Imm32(dst, n))
			}
		} else if r.IntN(2) == 0 {
			code = append(code, op.Reg(dst, src))
		} else {
			code = append(code, op.Reg32(dst, src))
		}
		switch r.IntN(6) {
		case 0:
			jump := []asm.JumpOp{asm.JEq, asm.JGT, asm.JSGT, asm.JLE, asm.JSLT, asm.JNE, asm.JSet}[r.IntN(7)].Imm(dst, int32(r.Uint32()), "")
			jump.Offset = 1
			code = append(code, jump, asm.Add.Imm(asm.R0, 7))
		case 1:
			code = append(code, asm.HostTo(asm.BE, dst, []asm.Size{asm.Half, asm.Word, asm.DWord}[r.IntN(3)]))
		case 2:
			size := []asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord}[r.IntN(4)]
			code = append(code, asm.StoreMem(asm.RFP, -8, dst, size), asm.LoadMem(src, asm.RFP, -8, size))
		}
	}
	return append(code, asm.Xor.Reg(asm.R0, asm.R2), asm.Return())
}
