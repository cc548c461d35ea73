package main

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// wrapper runs a program on varying packets.
type wrapper struct {
	coll *ebpf.Collection
	vary *ebpf.Program
}

// newWrapper loads a wrapper that ends in a program of its own, until [wrapper.into]
// says otherwise. Tables of references get the given entries.
func newWrapper(t traffic, target string, entries map[string]uint64) (*wrapper, error) {
	spec, err := LoadWrapper()
	if err != nil {
		return nil, fmt.Errorf("read embedded wrapper: %w", err)
	}
	o := t.offsets()
	err = errors.Join(
		spec.Variables[WrapperVarLink].Set([3]uint32{t.word(0), t.word(4), t.word(8)}),
		spec.Variables[WrapperVarEtherType].Set(uint16(t.word(12))),
		spec.Variables[WrapperVarHop].Set(t.word(o.hop)),
		spec.Variables[WrapperVarSource].Set(t.word(o.source)),
		spec.Variables[WrapperVarDest].Set(t.word(o.dest)),
		spec.Variables[WrapperVarHopAt].Set(o.hop),
		spec.Variables[WrapperVarSourceAt].Set(o.source),
		spec.Variables[WrapperVarDestAt].Set(o.dest),
		spec.Variables[WrapperVarPortAt].Set(o.port),
		spec.Variables[WrapperVarIdAt].Set(uint32(t.idAt)),
		spec.Variables[WrapperVarGrows].Set(t.grows),
		spec.Variables[WrapperVarFlows].Set(t.flows),
		spec.Variables[WrapperVarVips].Set(uint32(t.vips)),
		spec.Variables[WrapperVarServerIds].Set(uint32(t.serverIDs)),
	)
	if err != nil {
		return nil, fmt.Errorf("specialise wrapper: %w", err)
	}
	for name, n := range entries {
		spec.Maps[name].MaxEntries = uint32(n)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load wrapper: %w", err)
	}
	w := &wrapper{coll, coll.Programs[WrapperProgVary]}
	if err := w.into(coll.Programs[target]); err != nil {
		coll.Close()
		return nil, err
	}
	return w, nil
}

// into makes the wrapper end in a program.
func (w *wrapper) into(p *ebpf.Program) error {
	if err := w.coll.Maps[WrapperMapMeasured].Put(uint32(0), p); err != nil {
		return fmt.Errorf("put the program into the wrapper: %w", err)
	}
	return nil
}

// run sends the next packets, of which it returns the last one as it left.
func (w *wrapper) run(frame []byte, packets uint32) (verdict uint32, out []byte, err error) {
	out = make([]byte, frameLen+256)
	opts := ebpf.RunOptions{Data: frame, DataOut: out, Repeat: packets}
	verdict, err = w.vary.Run(&opts)
	return verdict, opts.DataOut, err
}

// counter reads one of the wrapper's variables.
func (w *wrapper) counter(name string) (n uint32, err error) {
	if err := w.coll.Variables[name].Get(&n); err != nil {
		return 0, fmt.Errorf("read the wrapper's %s: %w", name, err)
	}
	return n, nil
}
