package handover

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/xlb-project/xlb/maps"
)

func BenchmarkMillionRecords(b *testing.B) {
	const n = 1_000_000
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{netip.AddrFrom4([4]byte{10, 1, byte(i % 4), byte(i)}), maps.FlowKnown, 0, uint64(i) << 36}
	}
	for b.Loop() {
		var wire bytes.Buffer
		w, err := NewWriter(&wire, secret, node)
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for part := range slices.Chunk(records, 1<<16) {
			if err := w.Write(Batch{"web", 65_537, began, part}); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(wire.Len())/n, "B/record")
		batches, err := read(wire.Bytes(), secret, node, guardAt(began))
		if err != nil || len(batches) == 0 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}
