package maps

import (
	"slices"
	"testing"
	"time"
)

// hashIn returns a tuple hash of a flow in a bucket.
func hashIn(tag, bucket uint64) uint64 { return tag<<flowTagShift | bucket }

func flowsOf(t *Tables) []Flow { return slices.Collect(t.Flows()) }

func TestFlowsOfAnotherTableAreFoundWhereTheirHashSays(t *testing.T) {
	tables := newTables(t, smallLimits) // 8 buckets
	tables.SetTick(5000)
	f := Flow{Backend: 3, State: FlowKnown, Age: 40 * time.Second, Hash: hashIn(0xabcdef1, 0xffd)}
	if n := tables.AddFlows([]Flow{f}, 12); n != 1 {
		t.Fatalf("%d flows added, want 1", n)
	}
	f.Hash = hashIn(0xabcdef1, 5)
	if got := flowsOf(tables); !slices.Equal(got, []Flow{f}) {
		t.Errorf("flows %+v, want %+v", got, f)
	}
	if bits := tables.FlowBits(); bits != 3 {
		t.Errorf("a record knows %d low bits, want 3", bits)
	}
}

func TestFlowsOfASmallerTableGoToEveryBucketTheyMayBelongTo(t *testing.T) {
	tables := newTables(t, smallLimits)
	if n := tables.AddFlows([]Flow{{Backend: 3, State: FlowNew, Hash: hashIn(7, 1)}}, 1); n != 1 {
		t.Fatalf("%d flows added, want 1", n)
	}
	var buckets []uint64
	for f := range tables.Flows() {
		buckets = append(buckets, f.Hash&7)
	}
	if !slices.Equal(buckets, []uint64{1, 3, 5, 7}) {
		t.Errorf("in buckets %v, want the odd ones", buckets)
	}
}

func TestFlowsThatAreTakenInCostNoLiveOneItsRecord(t *testing.T) {
	tables := newTables(t, smallLimits)
	tables.SetTick(5000)
	var own []Flow
	for i := range uint64(7) {
		own = append(own, Flow{Backend: 1, State: FlowNew, Hash: hashIn(i, 2)})
	}
	own = append(own, Flow{Backend: 1, State: FlowNew, Age: flowIdle * time.Second, Hash: hashIn(7, 2)})
	if n := tables.AddFlows(own, 3); n != 8 {
		t.Fatalf("%d flows added, want 8", n)
	}
	tables.SetTick(5001) // the last one has ended
	n := tables.AddFlows([]Flow{
		{Backend: 2, State: FlowKnown, Hash: hashIn(0, 2)}, // known here
		{Backend: 2, State: FlowKnown, Hash: hashIn(8, 2)}, // has the place of what ended
		{Backend: 2, State: FlowKnown, Hash: hashIn(9, 2)}, // has none
		{Backend: 2, State: FlowKnown, Hash: hashIn(10, 3), Age: (flowIdle + 1) * time.Second},
		{Backend: 2, Hash: hashIn(11, 3)},
	}, 3)
	if n != 1 {
		t.Errorf("%d flows added, want 1", n)
	}
	byTag := map[uint64]BackendID{}
	for f := range tables.Flows() {
		byTag[f.Hash>>flowTagShift] = f.Backend
	}
	for tag := range uint64(7) {
		if byTag[tag] != 1 {
			t.Errorf("flow %d is backend %d's now, was 1's", tag, byTag[tag])
		}
	}
	if byTag[8] != 2 || len(byTag) != 8 {
		t.Errorf("flows %v, want those that were there and flow 8", byTag)
	}
}

func TestFlowIsAsYoungAsItsLatestPacketAnywhere(t *testing.T) {
	for name, c := range map[string]struct {
		told, want Flow
	}{
		"seen there later":           {Flow{Backend: 1, State: FlowNew, Age: 3 * time.Second}, Flow{Backend: 1, State: FlowKnown, Age: 3 * time.Second}},
		"seen here later":            {Flow{Backend: 1, State: FlowNew, Age: 10 * time.Second}, Flow{Backend: 1, State: FlowKnown, Age: 9 * time.Second}},
		"with another backend there": {Flow{Backend: 2, State: FlowNew, Age: 3 * time.Second}, Flow{Backend: 1, State: FlowKnown, Age: 9 * time.Second}},
	} {
		tables := newTables(t, smallLimits)
		tables.SetTick(2) // seconds are kept modulo 4096
		if n := tables.AddFlows([]Flow{{Backend: 1, State: FlowKnown, Age: 9 * time.Second, Hash: hashIn(5, 1)}}, 3); n != 1 {
			t.Fatalf("%d flows added, want 1", n)
		}
		c.told.Hash, c.want.Hash = hashIn(5, 1), hashIn(5, 1)
		if n := tables.AddFlows([]Flow{c.told}, 3); n != 0 {
			t.Errorf("%s: %d flows added, want none", name, n)
		}
		if got := flowsOf(tables); !slices.Equal(got, []Flow{c.want}) {
			t.Errorf("%s: flows %+v, want %+v", name, got, c.want)
		}
	}
}
