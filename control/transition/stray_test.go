package transition

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/control/balance/sim"
	"github.com/xlb-project/xlb/maps"
)

func TestStraysAreThoseOfTheModel(t *testing.T) {
	seen := 0
	rapid.Check(t, func(t *rapid.T) {
		w := newTwins(t, Settings{})
		w.path.phases = w.phases
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			w.now += time.Duration(rapid.IntRange(0, 5).Draw(t, "seconds")) * time.Second
			w.path.store(w.table.Learn(w.now))
			if rapid.IntRange(0, 3).Draw(t, "event") == 0 {
				w.change()
			}
			p := sim.Packet{Hash: hashOf(rapid.IntRange(0, 20).Draw(t, "flow")), SYN: rapid.Bool().Draw(t, "SYN")}
			w.path.route(w.now, p.Hash, p)
			w.node.Route(w.now, p)
		}
		scan, strays := w.scan(false), w.node.Strays(w.now)
		for hash, r := range w.path.records {
			if w.now-r.seen > idle || !w.lives(r.backend) {
				continue
			}
			f := w.path.flow(w.now, hash, r)
			_, want := strays[hash]
			if got := scan.Stray(f); got != want {
				t.Fatalf("a record of backend %d is a stray: %t, in the model: %t; slots %+v", r.backend, got, want, w.path.slots)
			}
			if want {
				seen++
			}
			if slot := w.path.slots[maps.SlotOf(hash, len(w.path.slots))]; w.table.Counts(f) != slot.Transition {
				t.Fatalf("a record counts: %t; slot %+v", w.table.Counts(f), slot)
			}
		}
	})
	if seen == 0 {
		t.Error("there were no strays")
	}
}

func TestStraysAndRecordsThatCount(t *testing.T) {
	const atRest = 0x5 << 60 // the hash of a flow in slot 1, b's
	for name, c := range map[string]struct {
		settings      Settings
		turn          maps.BackendID // slot 0 passes from a to it
		flow          maps.Flow
		stray, counts bool
	}{
		"of Previous":                           {Settings{}, b, maps.Flow{Backend: a}, true, true},
		"of Current":                            {Settings{}, b, maps.Flow{Backend: b}, true, true},
		"expired":                               {Settings{}, b, maps.Flow{Backend: b, Age: idle + 1}, false, true},
		"of an unknown backend":                 {Settings{}, b, maps.Flow{Backend: 77}, false, true},
		"of a slot at rest":                     {Settings{}, b, maps.Flow{Backend: a, Hash: atRest}, false, false},
		"with nothing in transition":            {Settings{}, a, maps.Flow{Backend: b}, false, false},
		"without tracking":                      {Settings{Tracking: Never}, b, maps.Flow{Backend: a}, false, false},
		"at rest, tracking always":              {Settings{Tracking: Always}, a, maps.Flow{Backend: b}, true, true},
		"of the owner, tracking always":         {Settings{Tracking: Always}, a, maps.Flow{Backend: a}, false, true},
		"by source":                             {Settings{BySource: true}, b, maps.Flow{Backend: c, Hash: atRest}, true, true},
		"by source with nothing in transition":  {Settings{BySource: true}, a, maps.Flow{Backend: b}, false, false},
		"by source at rest and tracking always": {Settings{BySource: true, Tracking: Always}, a, maps.Flow{Backend: b}, true, true},
	} {
		l := newLab(t, c.settings)
		l.turn(0, c.turn)
		if got := l.scan(1).Stray(c.flow); got != c.stray {
			t.Errorf("a record %s is a stray: %t", name, got)
		}
		if got := l.Counts(c.flow); got != c.counts {
			t.Errorf("a record %s counts: %t", name, got)
		}
	}
}

func TestRecordsElsewhereHoldTransitionsForAsLongAsTheyLive(t *testing.T) {
	for name, c := range map[string]struct {
		settings Settings
		flows    []maps.Flow
		until    time.Duration
	}{
		"of Previous":                         {Settings{}, []maps.Flow{{Backend: a, Age: 10 * time.Second}}, 2*idle - 10*time.Second},
		"of Current":                          {Settings{}, []maps.Flow{{Backend: b}}, idle},
		"of a slot at rest":                   {Settings{}, []maps.Flow{{Backend: a, Hash: 0x5 << 60}}, idle},
		"over":                                {Settings{}, []maps.Flow{{Backend: a, Age: 2 * idle}}, idle},
		"under affinity by source":            {Settings{BySource: true}, []maps.Flow{{Backend: c, Hash: 0x5 << 60, Age: 20 * time.Second}, {Backend: c, Age: 10 * time.Second}}, 2*idle - 10*time.Second},
		"under affinity by source, Current's": {Settings{BySource: true}, []maps.Flow{{Backend: b}}, idle},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, c.settings)
			l.HoldFor(0, c.flows) // at rest: nothing to hold
			l.turn(0, b)
			l.HoldFor(idle, c.flows)
			l.want("in time", l.sweep(c.until))
			l.want("later", l.sweep(c.until+1), rest(b))
		})
	}
}

func TestRecordOfAClosingFlowElsewhereHoldsATransitionForLess(t *testing.T) {
	table := New(Settings{Idle: time.Hour}, []maps.BackendID{a})
	table.Change(0, []maps.BackendID{b}, func(maps.BackendID) bool { return true })
	for state, until := range map[maps.FlowState]time.Duration{maps.FlowClosing: time.Hour + closing, maps.FlowKnown: 2 * time.Hour} {
		table.HoldFor(time.Hour, []maps.Flow{{Backend: a, State: state}})
		if table.open[0].holds != until {
			t.Errorf("state %d: held until %s, want %s", state, table.open[0].holds, until)
		}
		table.open[0].holds = time.Hour
	}
}
