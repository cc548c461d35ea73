package transition

import (
	"testing"
	"time"

	"github.com/xlb-project/xlb/maps"
)

func TestRecordsThatNobodyNeedsMayBeForgotten(t *testing.T) {
	const atRest = 0xf << 60 // the hash of a flow in slot 3
	for name, r := range map[string]struct {
		flow   maps.Flow
		forget bool
	}{
		"of Previous":                      {maps.Flow{Backend: a, Age: idle}, false},
		"of Current":                       {maps.Flow{Backend: b}, false},
		"of another":                       {maps.Flow{Backend: c}, false},
		"expired":                          {maps.Flow{Backend: a, Age: idle + time.Second}, true},
		"of a slot at rest":                {maps.Flow{Backend: a, Hash: atRest}, true},
		"of an unknown backend":            {maps.Flow{Backend: 4}, true},
		"of one that is nobody's":          {maps.Flow{Backend: 5}, true},
		"of one whose number is too large": {maps.Flow{Backend: 1 << 20}, true},
		"of a dead one":                    {maps.Flow{Backend: 3}, true},
	} {
		l := newLab(t, Settings{})
		l.turn(0, b)
		rows := []Backend{{}, {l.Table, true}, {l.Table, true}, {l.Table, name != "of a dead one"}, {}, {}}
		if got := NewScan(1, rows).See(r.flow); got != r.forget {
			t.Errorf("a record %s: may be forgotten: %t", name, got)
		}
	}
}

func TestFlowThatSaidGoodbyeHoldsNothingForLong(t *testing.T) {
	l := newLab(t, Settings{})
	l.settings.Idle = 2 * closing
	l.turn(0, b)
	now := 5 * closing
	l.want("a sweep soon after the last packet", l.sweep(now, maps.Flow{Backend: a, State: maps.FlowClosing, Age: closing}))
	l.want("later", l.sweep(now, maps.Flow{Backend: a, State: maps.FlowClosing, Age: closing + time.Second}), rest(b))
}

func TestAtRestOnlyServicesThatTrackAlwaysKeepRecords(t *testing.T) {
	for tracking, forget := range map[Tracking]bool{Change: true, Never: true, Always: false} {
		for _, bySource := range []bool{false, true} {
			scan := newLab(t, Settings{Tracking: tracking, BySource: bySource}).scan(1)
			if got := scan.See(maps.Flow{Backend: a}); got != forget {
				t.Errorf("tracking %s, by source %t: may be forgotten: %t", tracking, bySource, got)
			}
		}
	}
}

func TestRecordsThatCountAtRestNeedNoTransition(t *testing.T) {
	l := newLab(t, Settings{Tracking: Always})
	l.turn(0, b)
	l.want("a sweep", l.sweep(idle+1, maps.Flow{Backend: a}), rest(b))
}

func TestRecordOnTheBorderOfTwoSlotsNeedsBoth(t *testing.T) {
	table := New(Settings{Idle: idle}, []maps.BackendID{a, a, a})
	table.Change(0, []maps.BackendID{b, b, b}, func(maps.BackendID) bool { return true })
	scan := NewScan(idle+1, []Backend{{}, {table, true}, {table, true}})
	border := maps.Flow{Backend: a, Hash: 0x5555555 << 36} // a third of all hashes are below its end
	if first, last := border.Slots(3); first != 0 || last != 1 {
		t.Fatalf("the record is in slots %d to %d", first, last)
	}
	scan.See(border)
	if moves := table.Sweep(idle+1, scan); len(moves) != 1 || moves[0].Slot != 2 {
		t.Errorf("ended %+v, want slot 2 alone", moves)
	}
}

func TestUnderAffinityBySourceFlowsOfFormerOwnersNeedTheTransition(t *testing.T) {
	l := newLab(t, Settings{BySource: true})
	ofA, ofB, ofC := maps.Flow{Backend: a}, maps.Flow{Backend: b}, maps.Flow{Backend: c}
	l.turn(0, b)
	l.want("with a flow of Previous", l.sweep(2*idle, ofA))
	l.turn(2*idle, c)
	l.want("with a flow of one in between", l.sweep(3*idle, ofB))
	l.turn(3*idle, a)
	l.want("with flows of Current", l.sweep(4*idle, ofA), rest(a))
	l.turn(4*idle, b)
	l.want("with a flow of one who owned the slot before", l.sweep(6*idle, ofB, ofC), rest(b))
	l.turn(6*idle, c)
	l.want("with a flow of Current and one of a backend that is dead now", func() []maps.Move {
		l.dead[b] = true
		return l.sweep(8*idle, ofC, ofB)
	}(), rest(c))
}

func TestUnderAffinityBySourceAnAdoptedTransitionIsNeededByAnyOtherOwnersFlow(t *testing.T) {
	for name, r := range map[string]struct {
		flows []maps.Flow
		ends  int
	}{
		"no flow":         {nil, 1},
		"Current's":       {[]maps.Flow{{Backend: b}, {Backend: b}}, 1},
		"a third one's":   {[]maps.Flow{{Backend: c}}, 0},
		"both":            {[]maps.Flow{{Backend: b}, {Backend: c}}, 0},
		"a third's, dead": {[]maps.Flow{{Backend: c, Age: 2 * idle}}, 1},
	} {
		table := Adopt(0, Settings{BySource: true, Idle: idle}, []maps.Slot{open(b, a)})
		scan := NewScan(2*idle, []Backend{{}, {table, true}, {table, true}, {table, true}})
		for _, f := range r.flows {
			scan.See(f)
		}
		if moves := table.Sweep(2*idle, scan); len(moves) != r.ends {
			t.Errorf("%s: ended %+v", name, moves)
		}
	}
}

func TestScanCountsFlowsAndWhoIsNamed(t *testing.T) {
	l := newLab(t, Settings{})
	l.turn(0, b)
	scan := l.scan(1)
	for _, f := range []maps.Flow{{Backend: a}, {Backend: a}, {Backend: b, Age: 2 * idle}, {Backend: 100}} {
		scan.See(f)
	}
	for id, want := range map[maps.BackendID]int{a: 2, b: 0, c: 0, 100: 0} {
		if got := scan.Flows(id); got != want {
			t.Errorf("%d flows of backend %d, want %d", got, id, want)
		}
	}
	if !scan.Named(a) || !scan.Named(b) || scan.Named(c) || scan.Named(100) {
		t.Error("named are not a and b alone")
	}
}
