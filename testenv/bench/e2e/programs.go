package main

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// What programs answer: XDP_*, TCX_* of linux/bpf.h.
const (
	xdpDrop, xdpPass, xdpTX = 1, 2, 3
	tcxDrop, tcxNext        = 2, -1
)

// flows is how many source ports the generator uses.
const flows = 1024

// Offsets in a frame, and of the contexts' data and data_end.
const (
	etherTypeAt, protocolAt, sourcePortAt = 12, 14 + 9, 14 + 20
	headers                               = 14 + 20 + 8
	xdpData, xdpEnd                       = 0, 4
	skbData, skbEnd                       = 76, 80
)

// newCounter makes a word that programs count in. Its user runs on one CPU.
func newCounter() (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "bench_count", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("make counter: %w", err)
	}
	return m, nil
}

// count adds one to the counter, and leaves the former value in r5.
func count(counter *ebpf.Map) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapValue(asm.R1, counter.FD(), 0),
		asm.LoadMem(asm.R5, asm.R1, 0, asm.DWord),
		asm.Mov.Reg(asm.R0, asm.R5),
		asm.Add.Imm(asm.R0, 1),
		asm.StoreMem(asm.R1, 0, asm.R0, asm.DWord),
	}
}

// newGenerator loads an XDP program that turns every frame it is run on into one
// of the given headers, each with the next source port: what comes back from the
// page pool holds what became of an earlier frame.
func newGenerator(frame []byte, counter *ebpf.Map, verdict int32) (*ebpf.Program, error) {
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, xdpData, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, xdpEnd, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, headers),
		asm.JGT.Reg(asm.R4, asm.R3, "out"),
	}
	at := 0
	for ; at+4 <= headers; at += 4 {
		code = append(code, asm.StoreImm(asm.R2, int16(at), int64(int32(binary.LittleEndian.Uint32(frame[at:]))), asm.Word))
	}
	code = append(code, asm.StoreImm(asm.R2, int16(at), int64(binary.LittleEndian.Uint16(frame[at:])), asm.Half))
	code = append(code, count(counter)...)
	code = append(code,
		asm.And.Imm(asm.R5, flows-1),
		asm.Add.Imm(asm.R5, firstPort),
		asm.HostTo(asm.BE, asm.R5, asm.Half),
		asm.StoreMem(asm.R2, sourcePortAt, asm.R5, asm.Half),
		asm.Mov.Imm(asm.R0, verdict),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
		asm.Return(),
	)
	return load(ebpf.XDP, code)
}

// newSink loads a program that counts and drops UDP and IP-in-IP packets.
func newSink(kind ebpf.ProgramType, counter *ebpf.Map) (*ebpf.Program, error) {
	data, end, drop, pass := int16(xdpData), int16(xdpEnd), int32(xdpDrop), int32(xdpPass)
	if kind == ebpf.SchedCLS {
		data, end, drop, pass = skbData, skbEnd, tcxDrop, tcxNext
	}
	const ipv4, ipip, udp = 0x0008, 4, 17 // the first as memory has it
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, data, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, end, asm.Word),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, protocolAt+1),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"),
		asm.LoadMem(asm.R4, asm.R2, etherTypeAt, asm.Half),
		asm.JNE.Imm(asm.R4, ipv4, "pass"),
		asm.LoadMem(asm.R4, asm.R2, protocolAt, asm.Byte),
		asm.JEq.Imm(asm.R4, udp, "count"),
		asm.JNE.Imm(asm.R4, ipip, "pass"),
	}
	counting := count(counter)
	counting[0] = counting[0].WithSymbol("count")
	code = append(code, counting...)
	code = append(code,
		asm.Mov.Imm(asm.R0, drop),
		asm.Return(),
		asm.Mov.Imm(asm.R0, pass).WithSymbol("pass"),
		asm.Return(),
	)
	return load(kind, code)
}

func load(kind ebpf.ProgramType, code asm.Instructions) (*ebpf.Program, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "bench", Type: kind, Instructions: code, License: "Apache-2.0"})
	if err != nil {
		return nil, fmt.Errorf("load program of the benchmark: %w", err)
	}
	return p, nil
}
