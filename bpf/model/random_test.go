package model

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// outcomes are all that there may be.
var outcomes = []string{
	"pass not_ip", "pass malformed", "pass not_ours", "pass extension_headers", "pass no_service", "pass fragment_unknown",
	"drop bad_length", "drop bad_checksum", "drop land", "drop martian", "drop source_is_vip", "drop denied_by_node",
	"drop fragment", "drop fragment_unknown", "drop icmp_unmatched", "drop echo_dropped", "drop denied", "drop source_rate",
	"drop service_rate", "drop ttl_expired", "drop no_backend", "drop no_next_hop", "drop too_big", "drop no_egress",
	"tx echo_replied", "tx too_big_answered", "tx forwarded", "redirect forwarded",
}

// check fails if a packet's result cannot be, whatever the state is.
func check(t testing.TB, before, after []byte, r Result) {
	t.Helper()
	if !bytes.Equal(before, after) {
		t.Fatalf("%s modified its input", outcome(r))
	}
	if !slices.Contains(outcomes, outcome(r)) {
		t.Fatalf("%x ended as %q", before, outcome(r))
	}
	if (r.Reason == "forwarded") != (r.Backend != 0) {
		t.Fatalf("%s is counted for backend %d", outcome(r), r.Backend)
	}
	untouched := r.Verdict == Pass || r.Verdict == Drop && r.Reason != "no_egress"
	if untouched && !bytes.Equal(r.Frame, before) {
		t.Fatalf("%s changed %x to %x", outcome(r), before, r.Frame)
	}
	if r.Verdict == TX || r.Verdict == Redirect {
		checkLengths(t, r.Frame)
	}
}

// checkLengths fails unless the frame's first IP packet lies in it.
func checkLengths(t testing.TB, frame []byte) {
	t.Helper()
	p := &packet{frame: frame}
	if p.readLink() || p.readIP() || p.readLength() {
		t.Fatalf("%x leaves: %s", frame, outcome(p.result))
	}
}

func TestRandomPacketsMeetEveryOutcome(t *testing.T) {
	missing := make(map[string]bool)
	for _, o := range outcomes {
		missing[o] = true
	}
	r := rand.New(rand.NewPCG(3, 1))
	var buf, before []byte
	for range 300 {
		s := RandomState(r)
		m := newModel(t, s)
		for i := range 300 {
			if i%100 == 99 {
				service, backend := RandomChange(r, &s)
				m.SetTransition(service, s.Transitions[service])
				m.SetBackend(backend, s.Backends[backend])
			}
			m.SetTick(uint64(i * i))
			buf = AppendPacket(buf[:0], r, &s)
			before = append(before[:0], buf...)
			if len(buf) < minFrame || len(buf) > maxFrame {
				t.Fatalf("a packet of %d bytes", len(buf))
			}
			result := m.Process(buf, arrival, start+int64(i)*1e5)
			check(t, before, buf, result)
			delete(missing, outcome(result))
		}
	}
	if len(missing) > 0 {
		t.Errorf("not met: %v", missing)
	}
}

func TestRandomnessIsTheSeedsAlone(t *testing.T) {
	a, b := rand.New(rand.NewPCG(5, 6)), rand.New(rand.NewPCG(5, 6))
	for range 50 {
		s, same := RandomState(a), RandomState(b)
		RandomChange(a, &s)
		RandomChange(b, &same)
		if diff := cmp.Diff(s, same, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
			t.Fatal(diff)
		}
		for range 50 {
			if !bytes.Equal(RandomPacket(a, &s), RandomPacket(b, &same)) {
				t.Fatal("two packets of one seed differ")
			}
		}
	}
}

func FuzzModel(f *testing.F) {
	f.Add(uint64(1), []byte{})
	f.Add(uint64(2), tcp4(f))
	f.Add(uint64(3), udp6(f))
	f.Add(uint64(4), echo4(f))
	f.Add(uint64(5), error4(f, nil, 40))
	f.Add(uint64(6), error6(f, 17, 48))
	f.Fuzz(func(t *testing.T, seed uint64, frame []byte) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := RandomState(r)
		m := newModel(t, s)
		for i := range 4 {
			p := RandomPacket(r, &s)
			check(t, bytes.Clone(p), p, m.Process(p, arrival, start+int64(i)))
		}
		check(t, bytes.Clone(frame), frame, m.Process(frame, arrival, start+4))
	})
}

// aRun is a state with packets for it.
func aRun(b *testing.B, seed uint64) (*Model, [][]byte) {
	r := rand.New(rand.NewPCG(seed, 0))
	s := RandomState(r)
	m := newModel(b, s)
	packets := make([][]byte, 1024)
	for i := range packets {
		packets[i] = RandomPacket(r, &s)
	}
	return m, packets
}

func BenchmarkProcess(b *testing.B) {
	var models []*Model
	var packets [][][]byte
	for seed := range uint64(16) {
		m, p := aRun(b, seed)
		models, packets = append(models, m), append(packets, p)
	}
	now := start
	for i := 0; b.Loop(); i++ {
		now += 1000
		models[i/1024%16].Process(packets[i/1024%16][i%1024], arrival, now)
	}
}

func BenchmarkRandomPacket(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 0))
	s := RandomState(r)
	buf := make([]byte, 0, maxFrame)
	var bytes int
	for b.Loop() {
		buf = AppendPacket(buf[:0], r, &s)
		bytes += len(buf)
	}
	b.ReportMetric(float64(bytes)/float64(b.N), "bytes/packet")
}

func BenchmarkRandomState(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 0))
	for b.Loop() {
		if _, err := New(RandomState(r)); err != nil {
			b.Fatal(err)
		}
	}
}
