package maps

import (
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/xlb-project/xlb/bpf"
)

func TestSpecialisedProgramLoadsFewConstants(t *testing.T) {
	spec, err := bpf.LoadXlb()
	if err != nil {
		t.Fatal(err)
	}
	loads := func() (n int) {
		for _, ins := range spec.Programs[bpf.XlbProgXlb].Instructions {
			if ins.IsLoadFromMap() && ins.Reference() == constantSection {
				n++
			}
		}
		return n
	}
	size := func() (slots int) {
		for _, ins := range spec.Programs[bpf.XlbProgXlb].Instructions {
			slots += int(ins.Width())
		}
		return slots
	}
	loadsBefore, sizeBefore := loads(), size()
	if err := Specialise(spec, Settings{}, AllFeatures()); err != nil {
		t.Fatal(err)
	}
	if size() != sizeBefore {
		t.Errorf("%d slots of code became %d: jumps end elsewhere", sizeBefore, size())
	}
	if loads() > loadsBefore/2 {
		t.Errorf("of %d loads of constants %d are left, want less than half", loadsBefore, loads())
	}
}

func TestConstantThatIsJumpedToIsLoaded(t *testing.T) {
	address := asm.LoadMapValue(asm.R1, 0, 8).WithReference(constantSection)
	load := asm.LoadMem(asm.R1, asm.R1, 0, asm.Byte)
	section := map[uint32]byte{8: 1}
	if value, ok := constantOf(&address, &load, section); !ok || value != 1 {
		t.Errorf("constant %d (%v), want 1", value, ok)
	}
	skip := asm.JEq.Imm(asm.R2, 0, "")
	skip.Offset = 2 // past the address, to the load
	if code := (asm.Instructions{skip, address, load}); !jumpTargets(code)[2] || jumpTargets(code)[1] {
		t.Errorf("jumps end at %v, want at the load alone", jumpTargets(code))
	}
	for what, other := range map[string]asm.Instruction{
		"another register": asm.LoadMem(asm.R2, asm.R1, 0, asm.Byte),
		"eight bytes":      asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord),
		"no constant":      asm.LoadMem(asm.R1, asm.R1, 1, asm.Byte),
	} {
		if _, ok := constantOf(&address, &other, section); ok {
			t.Errorf("a load of %s counts as one of a constant", what)
		}
	}
}
