package transition

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/xlb-project/xlb/maps"
)

const (
	manySlots   = 1_048_583
	manyRecords = 1_000_000
	many        = 1_000 // backends
)

func alive(maps.BackendID) bool { return true }

// benchTable is a large table, and owners of which a tenth differ.
func benchTable() (*Table, []maps.BackendID) {
	owners := make([]maps.BackendID, manySlots)
	for s := range owners {
		owners[s] = maps.BackendID(1 + s%many)
	}
	t := New(Settings{Idle: 15 * time.Minute}, owners)
	for s := range owners {
		if owners[s]%10 == 0 {
			owners[s]--
		}
	}
	return t, owners
}

func BenchmarkChangeOfATenthOfTheSlots(b *testing.B) {
	t, owners := benchTable()
	before := t.current
	for b.Loop() {
		t = New(t.settings, before)
		t.Change(0, owners, alive)
	}
	b.ReportMetric(float64(t.Open()), "moves/op")
}

func BenchmarkChangeOfNothing(b *testing.B) {
	t, owners := benchTable()
	t.Change(0, owners, alive)
	for b.Loop() {
		t.Change(0, owners, alive)
	}
}

func BenchmarkScanAndSweep(b *testing.B) {
	t, owners := benchTable()
	t.Change(0, owners, alive)
	rows := make([]Backend, many+1)
	for id := range rows {
		rows[id] = Backend{Table: t, Lives: id > 0}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	flows := make([]maps.Flow, manyRecords)
	for i := range flows {
		o := &t.open[rng.IntN(len(t.open))]
		flows[i] = maps.Flow{Backend: owners[o.slot], State: maps.FlowKnown, Hash: (uint64(o.slot)<<32/manySlots + 1<<11) << 32}
		if i%2 == 0 {
			flows[i].Backend = o.previous
		}
	}
	var kept int
	for b.Loop() {
		scan := NewScan(time.Hour, rows)
		kept = 0
		for _, f := range flows {
			if !scan.See(f) {
				kept++
			}
		}
		t.end(func(o *transition) bool { return time.Hour < o.holds && !scan.needed(t, o) }) // looks at all, ends none
	}
	if kept != manyRecords {
		b.Fatalf("%d of %d records kept", kept, manyRecords)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/manyRecords, "ns/record")
}
