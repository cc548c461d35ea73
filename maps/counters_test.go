package maps

import (
	"testing"

	"github.com/xlb-project/xlb/bpf"
)

func TestCountersOfANumberThatIsGivenAnewBeginAtNothing(t *testing.T) {
	tables := newTables(t, smallLimits)
	count := func(cpu int) {
		row := &tables.counters.rows[cpu*tables.counterRows+counterReasons+3]
		*row = bpf.XlbCounter{Packets: row.Packets + 2, Bytes: row.Bytes + 100}
	}
	count(0)
	count(tables.cpus - 1)
	if got := tables.BackendCounter(3); got != (Counter{4, 200}) {
		t.Fatalf("counted %v, want 4 packets of 200 bytes", got)
	}
	for range 2 {
		tables.ResetBackendCounter(3)
		if got := tables.BackendCounter(3); got != (Counter{}) {
			t.Errorf("counted %v after a reset", got)
		}
		count(0)
		if got := tables.BackendCounter(3); got != (Counter{2, 100}) {
			t.Errorf("counted %v after a reset, want 2 packets of 100 bytes", got)
		}
	}
}
