package main

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf/model"
	"github.com/xlb-project/xlb/testenv/bench/trace"
)

// bench is a case ready to be timed: two wrappers that send the same packets, one
// into what is measured, one into nothing.
type bench struct {
	testCase
	measured, control *wrapper
	product           *product     // nil for references
	way               *trace.Trace // of one packet
	times             samples
}

// checkedPackets are compared with the model before a case is timed.
const checkedPackets = 1000

// prepare loads a case and checks that it does what its name says.
func prepare(st *stage, c testCase) (_ *bench, err error) {
	b := &bench{testCase: c}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.control, err = newWrapper(c.traffic, WrapperProgNothing, nil); err != nil {
		return nil, err
	}
	if c.reference != "" {
		return b, b.prepareReference()
	}
	state := c.state()
	if b.measured, err = newWrapper(c.traffic, WrapperProgNothing, nil); err != nil {
		return nil, err
	}
	if b.product, err = newProduct(&state, c.features); err != nil {
		return nil, err
	}
	if err = b.measured.into(b.product.program()); err != nil {
		return nil, err
	}
	return b, st.during(b.programs(), func() error {
		if err := b.compare(&state); err != nil {
			return err
		}
		return b.follow()
	})
}

// follow notes which instructions one packet executes, when those before it have left their traces.
func (b *bench) follow() error {
	const packets = 3
	in, verdict, out, err := b.inStep(packets)
	if err != nil {
		return err
	}
	p, err := trace.New(b.product.program())
	if err != nil {
		return err
	}
	for range packets {
		if b.way, err = p.Run(in, ifindex); err != nil {
			return err
		}
		if b.way.Verdict != verdict || !bytes.Equal(b.way.Frame, out) {
			return fmt.Errorf("traced, the program says %d, %x, but run in the kernel %d, %x", b.way.Verdict, b.way.Frame, verdict, out)
		}
	}
	return nil
}

func (b *bench) programs() [2]*ebpf.Program { return [2]*ebpf.Program{b.measured.vary, b.control.vary} }

// compare runs packets through the product and the model.
func (b *bench) compare(s *model.State) error {
	m, err := model.New(*s)
	if err != nil {
		return err
	}
	for range checkedPackets {
		// of two packets the second one shows that the wrapper undoes what became of the first
		const packets = 2
		in, verdict, out, err := b.inStep(packets)
		if err != nil {
			return err
		}
		want := m.Process(in, ifindex, 0)
		if want.Verdict != b.verdict || want.Reason != b.reason.String() {
			return fmt.Errorf("the model says %s %s, the case wants %s %s, of %s", want.Verdict, want.Reason, b.verdict, b.reason, hex.EncodeToString(in))
		}
		if verdict != uint32(want.Verdict) || !bytes.Equal(out, want.Frame) {
			return fmt.Errorf("the program says %s, the model %s %s\nin:      %x\nmodel:   %x\nprogram: %x",
				model.Verdict(verdict), want.Verdict, want.Reason, in, want.Frame, out)
		}
	}
	return b.settle()
}

// inStep runs the next packets through control and product, at least so many, and
// returns the last one as it went in and as it came out. A signal makes a test run
// start again with the wrapper a turn further, and the other has to catch up.
func (b *bench) inStep(packets uint32) (in []byte, verdict uint32, out []byte, err error) {
	for {
		behind, err := b.measured.counter(WrapperVarTurn)
		if err != nil {
			return nil, 0, nil, err
		}
		ahead, err := b.control.counter(WrapperVarTurn)
		if err != nil {
			return nil, 0, nil, err
		}
		switch {
		case in != nil && out != nil && ahead == behind:
			return in, verdict, out, nil
		case ahead <= behind:
			_, in, err = b.control.run(b.traffic.frame, max(behind-ahead, packets))
		default:
			verdict, out, err = b.measured.run(b.traffic.frame, ahead-behind)
		}
		if err != nil {
			return nil, 0, nil, err
		}
	}
}

// settle returns an error unless all packets so far went the case's way.
func (b *bench) settle() error {
	packets, err := b.measured.counter(WrapperVarTurn)
	if err != nil {
		return err
	}
	if b.product != nil {
		return b.product.everyPacket(packets, b.reason)
	}
	misses, err := b.measured.counter(WrapperVarMisses)
	if err == nil && misses > 0 {
		err = fmt.Errorf("%d of %d flows were not found: the result is void", misses, packets)
	}
	return err
}

// prepareReference fills the table of a reference with the flows of its traffic.
func (b *bench) prepareReference() (err error) {
	table := map[string]string{
		WrapperProgRefLruHash: WrapperMapLruHash, WrapperProgRefHash: WrapperMapHash, WrapperProgRefArray: WrapperMapArray,
	}[b.reference]
	// room as a node would leave it, so that the LRU forgets nobody
	b.measured, err = newWrapper(b.traffic, b.reference, map[string]uint64{table: b.entries + b.entries/20})
	if err != nil {
		return err
	}
	m := b.measured.coll.Maps[table]
	if table == WrapperMapArray {
		err = m.Put(uint32(0), uint64(1))
	} else {
		err = b.fill(m)
	}
	if err != nil {
		return fmt.Errorf("fill %s: %w", table, err)
	}
	if _, _, err := b.measured.run(b.traffic.frame, checkedPackets); err != nil {
		return err
	}
	return b.settle()
}

func (b *bench) fill(m *ebpf.Map) error {
	const batch = 10_000
	keys, values := make([]WrapperFlowKey, 0, batch), make([]uint64, batch)
	for i := range values {
		values[i] = 1
	}
	for flow := uint64(0); flow < b.entries; flow++ {
		if keys = append(keys, b.traffic.flowKey(uint32(flow))); len(keys) < batch && flow+1 < b.entries {
			continue
		}
		if _, err := m.BatchUpdate(keys, values[:len(keys)], nil); err != nil {
			return err
		}
		keys = keys[:0]
	}
	return nil
}

func (b *bench) close() {
	for _, w := range []*wrapper{b.measured, b.control} {
		if w != nil {
			w.coll.Close()
		}
	}
	if b.product != nil {
		_ = b.product.plane.Close() // the process ends, and with it the mapping
	}
}
