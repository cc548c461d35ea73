package bpf_test

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/bpf/model"
	"github.com/xlb-project/xlb/maps"
)

// The program and the Go model, which is written from docs/DATAPATH.md, get the
// same random packets over the same random states: verdict, reason, backend and
// bytes must be the same. XLB_FUZZ_TIME says for how long (`make fuzz T=10m`),
// XLB_FUZZ_SEED repeats a run.
func TestProgramAndModelAgreeOnRandomPackets(t *testing.T) {
	agree(t, testLimits.Flows, func(r *rand.Rand) uint64 {
		switch r.IntN(2000) {
		case 0:
			return r.Uint64N(2000)
		case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
			return 1 + r.Uint64N(3)
		}
		return 0
	})
}

// In a table of one bucket nearly every flow needs another's place. No two
// records are of the same second, so that there is one longest unseen.
func TestProgramAndModelAgreeOnWhichFlowsAFullBucketKeeps(t *testing.T) {
	agree(t, 8, func(r *rand.Rand) uint64 {
		switch r.IntN(500) {
		case 0:
			return 890 + r.Uint64N(20) // about when records end
		case 1, 2, 3, 4, 5:
			return 1 + r.Uint64N(300)
		}
		return 1
	})
}

// agree compares with a table for so many flows, whose clock goes on before every
// packet by as many seconds as step says.
func agree(t *testing.T, flows int, step func(*rand.Rand) uint64) {
	const fixed = 1
	seeds := []uint64{fixed, uint64(time.Now().UnixNano())}
	if s := os.Getenv("XLB_FUZZ_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("XLB_FUZZ_SEED=%s: write the number that a run printed", s)
		}
		seeds = []uint64{seed}
	}
	length := 5 * time.Second
	if s := os.Getenv("XLB_FUZZ_TIME"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("XLB_FUZZ_TIME=%s: write a duration such as 10m", s)
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			f := &fuzzer{T: t, r: rand.New(rand.NewPCG(seed, 0)), flows: flows, step: step, reasons: map[string]int{}}
			f.run(length / time.Duration(len(seeds)))
			t.Logf("%d packets over %d states in %s of running: %.0f per second; reasons: %v",
				f.packets, f.states, f.busy.Round(time.Millisecond), float64(f.packets)/f.busy.Seconds(), f.reasons)
			if len(f.reasons) < 20 {
				t.Errorf("only %d reasons were met; the packets are not varied enough", len(f.reasons))
			}
		})
	}
}

const (
	statesPerProgram = 100
	packetsPerState  = 10000
)

type fuzzer struct {
	*testing.T
	r       *rand.Rand
	flows   int
	step    func(*rand.Rand) uint64
	packets int
	states  int
	busy    time.Duration // without loading programs

	start    map[bpf.Reason]maps.Counter // counters when the state was installed
	expected map[bpf.Reason]uint64       // packets since then, by the model
	reasons  map[string]int

	startOfSignals [256 + 1]maps.SignalCounter // of every backend, as start
}

func (f *fuzzer) startSignals(p *path) {
	for id := range f.startOfSignals {
		f.startOfSignals[id] = p.tables.SignalCounter(maps.BackendID(id))
	}
}

// signals are those of the program since the state was installed.
func (f *fuzzer) signals(p *path, id maps.BackendID) maps.SignalCounter {
	now, start := p.tables.SignalCounter(id), f.startOfSignals[id]
	return maps.SignalCounter{
		SYNs: now.SYNs - start.SYNs, Completed: now.Completed - start.Completed,
		Retransmitted: now.Retransmitted - start.Retransmitted, Missed: now.Missed - start.Missed,
	}
}

// run loads programs with random settings until the time is up, at least one.
func (f *fuzzer) run(length time.Duration) {
	for f.busy == 0 || f.busy < length {
		settings := model.RandomState(f.r).Settings
		settings.Limits, settings.FixedTime = testLimits, true
		settings.Limits.Flows = f.flows
		settings.Limits.Handshakes = []int{8, 64, 0}[f.r.IntN(3)]
		p := newPathWith(f.T, settings, maps.AllFeatures())
		for range statesPerProgram {
			f.runState(p, settings)
			if f.Failed() || f.busy >= length {
				return
			}
		}
		p.close()
	}
}

func (f *fuzzer) runState(p *path, settings maps.Settings) {
	state := model.RandomState(f.r)
	state.Settings = settings
	p.install(&state)
	m, err := model.New(state)
	p.must(err)
	f.states++
	start := time.Now()
	defer func() { f.busy += time.Since(start) }()
	now, tick, total := int64(f.r.Uint32()), uint64(f.r.Uint32()), p.total()
	swept := tick
	f.start, f.expected = p.counts(), map[bpf.Reason]uint64{}
	f.startSignals(p)
	buf, out := make([]byte, 0, 4096), make([]byte, 4096)
	for range packetsPerState {
		now += f.r.Int64N(2e6)
		if f.r.IntN(1000) == 0 {
			now += f.r.Int64N(20e9)
		}
		if f.r.IntN(500) == 0 {
			service, backend := model.RandomChange(f.r, &state)
			m.SetTransition(service, state.Transitions[service])
			m.SetBackend(backend, state.Backends[backend])
			p.must(p.tables.SetSlotTable(service, state.Transitions[service]))
			p.must(p.tables.SetBackend(backend, state.Backends[backend]))
		}
		tick += f.step(f.r)
		m.SetTick(tick)
		p.tables.SetTick(tick)
		if tick > swept+1000 { // as the control plane does, since a record's seconds are few bits
			p.tables.ForgetFlows(func(flow maps.Flow) bool { return flow.Age > cmp.Or(settings.FlowIdle, maps.DefaultFlowIdle) })
			swept = tick
		}
		p.tables.SetTime(uint64(now))
		frame := model.AppendPacket(buf[:0], f.r, &state)
		f.packets++
		if !f.compare(p, m, frame, out, now) {
			return
		}
	}
	if n := p.total() - total; n != packetsPerState {
		f.Errorf("%d packets were counted %d times", packetsPerState, n)
	}
	for id := range maps.BackendID(testLimits.Backends + 1) {
		if got, want := f.signals(p, id), m.Signals(id); got != want {
			f.Errorf("the model says that handshakes with backend %d were %+v, the program %+v", id, want, got)
		}
	}
}

func (f *fuzzer) compare(p *path, m *model.Model, frame, out []byte, now int64) bool {
	want := m.Process(frame, testRunIfindex, now)
	f.reasons[want.Reason]++
	before := p.tables.counterOf(want)
	opts := ebpf.RunOptions{Data: frame, DataOut: out}
	got, err := p.prog.Run(&opts)
	p.must(err)
	after := p.tables.counterOf(want)
	same := f.signals(p, want.Backend) == m.Signals(want.Backend) && got == uint32(want.Verdict) && after.Packets == before.Packets+1 && after.Bytes == before.Bytes+uint64(len(frame)) &&
		(want.Verdict == model.Drop || bytes.Equal(opts.DataOut, want.Frame))
	f.expected[p.tables.byName[want.Reason]]++
	if !same {
		f.Errorf("packet %d of %d bytes at %d ns: the model says %s %s backend %d %+v, the program %s %s %+v\nin:      %s\nmodel:   %s\nprogram: %s",
			f.packets, len(frame), now, want.Verdict, want.Reason, want.Backend, m.Signals(want.Backend), model.Verdict(got), f.programsReason(p), f.signals(p, want.Backend),
			start(frame), start(want.Frame), start(opts.DataOut))
	}
	return same
}

// programsReason names what the program has counted and the model has not.
func (f *fuzzer) programsReason(p *path) string {
	for r, c := range p.counts() {
		if c.Packets-f.start[r].Packets > f.expected[r] {
			return r.String()
		}
	}
	return "for the same reason"
}

// start shows the headers of a frame.
func start(frame []byte) string {
	return fmt.Sprintf("%d bytes %s", len(frame), hex.EncodeToString(frame[:min(len(frame), 150)]))
}

// fuzzTables adds to the tables what comparing needs.
type fuzzTables struct {
	*maps.Tables
	byName map[string]bpf.Reason
}

func (t fuzzTables) counterOf(r model.Result) maps.Counter {
	if r.Backend != 0 {
		return t.BackendCounter(r.Backend)
	}
	return t.ReasonCounter(t.byName[r.Reason])
}

// total sums all counters.
func (p *path) total() int {
	sum := uint64(0)
	for _, c := range p.counts() {
		sum += c.Packets
	}
	return int(sum)
}

// install fills the tables with a state, and forgets what packets left behind.
func (p *path) install(s *model.State) {
	p.Helper()
	ipv6 := map[maps.ServiceID]bool{}
	for _, l := range s.Listeners {
		ipv6[l.Service] = l.VIP.Addr().Is6()
	}
	p.must(p.tables.SetListeners(nil))
	for i := range testLimits.Backends {
		id := maps.BackendID(i + 1)
		p.name(id, s.Addresses[id])
		p.must(p.tables.SetBackend(id, s.Backends[id]))
	}
	for i := range testLimits.Services {
		id := maps.ServiceID(i)
		settings := s.Services[id]
		settings.IPv6 = ipv6[id] || settings.SourceBits > 32 // or nobody listens
		p.must(p.tables.SetRules(id, s.Rules[id]))
		p.must(p.tables.SetService(id, settings))
		if slots, ok := s.Transitions[id]; ok {
			p.must(p.tables.SetSlotTable(id, slots))
		} else {
			p.must(p.tables.SetSlotTable(id, maps.Steady(s.Slots[id])))
		}
		p.must(p.tables.SetServerIDs(id, settings.QUIC, s.ServerIDs[id]))
	}
	var deny []maps.Rule
	for _, prefix := range s.NodeDeny {
		deny = append(deny, maps.Rule{Source: prefix})
	}
	p.must(p.tables.SetRules(maps.NodeRules, deny))
	for key := range uint32(64) {
		if s.Egress[key] {
			p.must(p.maps[bpf.XlbMapEgress].Put(key, uint32(testRunIfindex)))
		} else {
			_ = p.maps[bpf.XlbMapEgress].Delete(key) // it may not be there
		}
	}
	p.tables.Forget()
	p.must(p.tables.SetListeners(s.Listeners))
}

// name says by which address a backend is known, if it is.
func (p *path) name(id maps.BackendID, address netip.Addr) {
	p.Helper()
	entry := maps.BackendEntry{ID: id}
	if address.IsValid() {
		entry.Name, entry.Address = address.String(), address
	}
	p.must(p.tables.NameBackend(entry))
}
