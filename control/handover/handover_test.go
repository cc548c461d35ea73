package handover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/maps"
)

var (
	secret = Secret{1, 2, 3}
	node   = Node{HashKey: maps.Key{7}, Bits: 17}
	one    = netip.MustParseAddr("10.1.0.1")
	two    = netip.MustParseAddr("fd00::2")
)

// noon is the clock of tests.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

func guardAt(now time.Time) *Guard {
	g := NewGuard(time.Minute)
	g.now = at(now)
	return g
}

// stream is what a writer at noon makes of batches.
func stream(t interface{ Fatal(...any) }, batches ...Batch) []byte {
	var b bytes.Buffer
	w, err := newWriter(&b, secret, node, at(noon))
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range batches {
		batch.Sent = noon
		if err := w.Write(batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read reads a stream to its end.
func read(data []byte, secret Secret, node Node, guard *Guard) (batches []Batch, err error) {
	r, err := NewReader(bytes.NewReader(data), secret, node, guard)
	if err != nil {
		return nil, err
	}
	for {
		b, err := r.Next()
		if err == io.EOF {
			return batches, nil
		}
		if err != nil {
			return batches, err
		}
		batches = append(batches, b)
	}
}

var sameAddr = cmpopts.EquateComparable(netip.Addr{})

// draw draws batches as a node would send them.
func draw(t *rapid.T) []Batch {
	addr := rapid.SampledFrom([]netip.Addr{one, two, netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("::")})
	record := rapid.Custom(func(t *rapid.T) Record {
		return Record{
			Backend: addr.Draw(t, "backend"), State: maps.FlowState(rapid.IntRange(1, 3).Draw(t, "state")),
			Age:  time.Duration(rapid.IntRange(0, 4095).Draw(t, "age")) * time.Second,
			Hash: rapid.Uint64().Draw(t, "hash") &^ unknownBits(node.Bits),
		}
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Batch {
		return Batch{
			Service: rapid.SampledFrom([]string{"web", "dns", strings.Repeat("x", 255)}).Draw(t, "service"),
			Slots:   rapid.SampledFrom([]int{101, 65_537}).Draw(t, "slots"),
			Records: rapid.SliceOfN(record, 1, 20).Draw(t, "records"),
		}
	}), 0, 10).Draw(t, "batches")
}

func TestWhatGoesInComesOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := draw(t)
		late := time.Duration(rapid.IntRange(-5, 5).Draw(t, "late")) * time.Second
		got, err := read(stream(t, want...), secret, node, guardAt(noon.Add(late)))
		if err != nil {
			t.Fatal(err)
		}
		for n, b := range want {
			want[n].Sent = noon
			for i := range b.Records {
				b.Records[i].Age += max(late, 0) + hidden
			}
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), sameAddr); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func TestManyRecordsOfManyBackendsTakeManyFrames(t *testing.T) {
	want := Batch{Service: "web", Slots: 65_537}
	for i := range 10_000 {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		if i%2 == 0 {
			addr = netip.AddrFrom16([16]byte{0xfd, 14: byte(i >> 8), 15: byte(i)})
		}
		want.Records = append(want.Records, Record{Backend: addr, State: maps.FlowKnown, Hash: uint64(i) << 36})
	}
	batches, err := read(stream(t, want), secret, node, guardAt(noon))
	if err != nil {
		t.Fatal(err)
	}
	var records []Record
	for _, b := range batches {
		records = append(records, b.Records...)
	}
	for i := range want.Records {
		want.Records[i].Age = hidden
	}
	if len(batches) < 2 || !slices.Equal(records, want.Records) {
		t.Errorf("%d records came in %d batches, want %d", len(records), len(batches), len(want.Records))
	}
}

// frames splits a stream into its header and its frames.
func frames(data []byte) [][]byte {
	parts := [][]byte{data[:headerSize]}
	for rest := data[headerSize:]; len(rest) > 0; {
		n := 4 + int(binary.BigEndian.Uint32(rest))
		parts = append(parts, rest[:n])
		rest = rest[n:]
	}
	return parts
}

var sample = []Batch{
	{Service: "web", Slots: 101, Records: []Record{{one, maps.FlowKnown, time.Second, 5 << 36}, {two, maps.FlowNew, 0, 6 << 36}}},
	{Service: "dns", Slots: 101, Records: []Record{{one, maps.FlowClosing, 0, 7 << 36}}},
}

func TestStreamThatWasTamperedWithIsRefused(t *testing.T) {
	good := stream(t, sample...)
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if _, err := read(bad, secret, node, guardAt(noon)); err == nil {
			t.Errorf("a change of byte %d was not noticed", i)
		}
		if _, err := read(good[:i], secret, node, guardAt(noon)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("an end after %d bytes: error %v", i, err)
		}
	}
	parts := frames(good)
	for i := 1; i < len(parts)-1; i++ {
		for what, bad := range map[string][][]byte{
			"left out":  slices.Delete(slices.Clone(parts), i, i+1),
			"repeated":  slices.Insert(slices.Clone(parts), i, parts[i]),
			"exchanged": append(append(slices.Clone(parts[:i]), parts[i+1], parts[i]), parts[i+2:]...),
		} {
			if _, err := read(bytes.Join(bad, nil), secret, node, guardAt(noon)); !errors.Is(err, ErrForged) {
				t.Errorf("frame %d was %s: error %v", i, what, err)
			}
		}
	}
	other := frames(stream(t, sample...))
	for i := 1; i < len(parts); i++ {
		mixed := slices.Clone(parts)
		mixed[i] = other[i]
		if _, err := read(bytes.Join(mixed, nil), secret, node, guardAt(noon)); !errors.Is(err, ErrForged) {
			t.Errorf("frame %d of another stream: error %v", i, err)
		}
	}
}

func TestPeerThatIsSetUpInAnotherWayIsRefused(t *testing.T) {
	good := stream(t, sample...)
	next := slices.Clone(good)
	next[9]++
	for name, c := range map[string]struct {
		data   []byte
		secret Secret
		node   Node
		want   error
	}{
		"another secret":     {good, Secret{9}, node, ErrForged},
		"another hash key":   {good, secret, Node{HashKey: maps.Key{8}}, ErrHashKey},
		"another version":    {next, secret, node, ErrVersion},
		"a far larger table": {good, secret, Node{HashKey: node.HashKey, Bits: node.Bits + maxSpread + 1}, nil},
		"no stream at all":   {[]byte(strings.Repeat("GET / HTTP/1.1\r\n", 10)), secret, node, nil},
	} {
		if _, err := read(c.data, c.secret, c.node, guardAt(noon)); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
	}
}

func TestTablesNeedNotHaveTheSameSize(t *testing.T) {
	for _, bits := range []int{0, node.Bits, node.Bits + maxSpread} {
		if _, err := read(stream(t, sample...), secret, Node{HashKey: node.HashKey, Bits: bits}, guardAt(noon)); err != nil {
			t.Error(err)
		}
	}
}

func TestStreamIsTakenInOnceAndWithinItsTime(t *testing.T) {
	data, guard := stream(t, sample...), guardAt(noon.Add(time.Minute))
	if _, err := read(data, secret, node, guard); err != nil {
		t.Fatal(err)
	}
	for _, later := range []time.Duration{time.Minute, time.Minute, 2 * time.Minute, time.Hour} {
		guard.now = at(noon.Add(later))
		if _, err := read(data, secret, node, guard); err == nil {
			t.Errorf("the stream was taken in again, %s after it began", later)
		}
	}
	if _, err := read(data, secret, node, guardAt(noon.Add(-2*time.Minute))); err == nil {
		t.Error("a stream from the future was taken in")
	}
	if _, err := read(stream(t), secret, node, guard); err == nil {
		t.Error("a stream of an hour ago was taken in")
	}
	guard.now = at(noon)
	if _, err := read(stream(t), secret, node, guard); err != nil || len(guard.seen) != 2 {
		t.Errorf("%d streams are remembered (error: %v)", len(guard.seen), err)
	}
	guard.now = at(noon.Add(10 * time.Minute))
	guard.admit([nameSize]byte{}, noon.Add(10*time.Minute))
	if len(guard.seen) != 1 {
		t.Errorf("%d streams are remembered for ever", len(guard.seen))
	}
}

func TestRecordsThatWereHeldUpAreRefused(t *testing.T) {
	guard := guardAt(noon)
	r, err := NewReader(bytes.NewReader(stream(t, sample...)), secret, node, guard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	guard.now = at(noon.Add(2 * time.Minute))
	if _, err := r.Next(); err == nil || !strings.Contains(err.Error(), "service dns") {
		t.Errorf("error %v", err)
	}
}

func TestWriterRefusesWhatNoReaderWouldTake(t *testing.T) {
	w, err := NewWriter(io.Discard, secret, node)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"no name":           w.Write(Batch{Records: sample[0].Records}),
		"a long name":       w.Write(Batch{Service: strings.Repeat("x", 256), Records: sample[0].Records}),
		"a missing address": w.Write(Batch{Service: "web", Records: []Record{{}}}),
		"too many services": func() error { w.numbers = maxServices; return w.Write(Batch{Service: "other"}) }(),
		"too many backends": func() error { w.backends = maxBackends; return w.Write(sample[0]) }(),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// broken fails from some write on.
type broken struct{ after int }

func (b *broken) Write(p []byte) (int, error) {
	if b.after--; b.after < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestErrorsOfTheTransportComeThrough(t *testing.T) {
	for after := range 7 {
		w, err := NewWriter(&broken{after}, secret, node)
		if err == nil {
			err = w.Write(sample[0])
		}
		if err == nil {
			err = w.Close()
		}
		if failed := after < 6; errors.Is(err, io.ErrClosedPipe) != failed {
			t.Errorf("after %d writes: error %v", after, err)
		}
	}
}
