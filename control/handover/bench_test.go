package handover

import (
	"bytes"
	"net/netip"
	"testing"

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
		for i := 0; i < n; i += batchSize {
			if err := w.Write("web", 65_537, records[i:min(n, i+batchSize)]); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(wire.Len())/n, "B/record")
		batches, err := read(wire.Bytes(), secret, node, guardAt(w.now()))
		if err != nil || len(batches) == 0 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}
