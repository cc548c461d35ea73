package transition

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xlb-project/xlb/maps"
)

const (
	nobody maps.BackendID = iota
	a
	b
	c
)

// lab is a table of four slots, the first of them a's, and what lives.
type lab struct {
	*testing.T
	*Table
	dead map[maps.BackendID]bool
}

func newLab(t *testing.T, settings Settings) *lab {
	settings.Idle, settings.Learn = idle, learn
	return &lab{t, New(settings, []maps.BackendID{a, b, c, nobody}), map[maps.BackendID]bool{}}
}

// turn gives slot 0 to an owner.
func (l *lab) turn(now time.Duration, owner maps.BackendID) []maps.Move {
	owners := slices.Clone(l.current)
	owners[0] = owner
	return l.Change(now, owners, func(b maps.BackendID) bool { return !l.dead[b] })
}

// sweep ends what the records do not need. Their hashes are in slot 0.
func (l *lab) sweep(now time.Duration, flows ...maps.Flow) []maps.Move {
	scan := l.scan(now)
	for _, f := range flows {
		scan.See(f)
	}
	return l.Sweep(now, scan)
}

func (l *lab) scan(now time.Duration) *Scan {
	rows := make([]Backend, 4)
	for id := range rows {
		rows[id] = Backend{Table: l.Table, Lives: !l.dead[maps.BackendID(id)]}
	}
	return NewScan(now, rows)
}

func (l *lab) want(what string, got []maps.Move, want ...maps.Slot) {
	l.Helper()
	var moves []maps.Move
	for _, to := range want {
		moves = append(moves, maps.Move{Slot: 0, To: to})
	}
	if diff := cmp.Diff(moves, got); diff != "" {
		l.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func open(current, previous maps.BackendID) maps.Slot {
	return maps.Slot{Current: current, Previous: previous, Transition: true}
}

func learned(current, previous maps.BackendID) maps.Slot {
	return maps.Slot{Current: current, Previous: previous, Transition: true, Learned: true}
}

func TestOverlappingChangesKeepTheFirstOwnerAsPrevious(t *testing.T) {
	l := newLab(t, Settings{})
	l.want("a change", l.turn(1, b), open(b, a))
	l.want("the same once more", l.turn(2, b))
	l.want("another", l.turn(3, c), open(c, a))
	l.want("the return of the first owner", l.turn(4, a), open(a, a))
	l.want("a sweep before the idle timeout", l.sweep(1+idle))
	l.want("one after it", l.sweep(2+idle), rest(a))
	l.want("a further one", l.sweep(3+idle))
}

func TestPreviousThatDiesGivesWayToCurrentEvenIfItComesBack(t *testing.T) {
	l := newLab(t, Settings{})
	l.turn(1, b)
	l.dead[a] = true
	l.want("the death", l.turn(2, b), open(b, b))
	l.dead[a] = false
	l.want("the return", l.turn(3, b))
	l.dead[b] = true
	l.want("the death of Current as well", l.turn(4, a), open(a, a))
	l.dead[a] = true
	l.want("the death of all", l.turn(5, nobody), open(nobody, nobody))
}

func TestDeadOwnersSlotsChangeHandsWithoutATransition(t *testing.T) {
	l := newLab(t, Settings{})
	l.dead[a] = true
	l.want("the death", l.turn(1, nobody), rest(nobody))
	l.dead[a] = false
	l.want("the return", l.turn(2, a), rest(a))
}

func TestUDPIsLearntOncePerTransition(t *testing.T) {
	l := newLab(t, Settings{})
	l.turn(0, b)
	l.want("within the learning period", l.Learn(learn))
	l.want("after it", l.Learn(learn+1), learned(b, a))
	l.want("later", l.Learn(idle))
	l.want("another change", l.turn(idle, c), learned(c, a))
}

func TestTransitionOutlivesItsLimitOnlyByFurtherChanges(t *testing.T) {
	l := newLab(t, Settings{Limit: 3 * time.Second})
	needs := maps.Flow{Backend: a}
	l.turn(0, b)
	l.want("at the limit", l.sweep(3*time.Second, needs))
	l.turn(3*time.Second, c)
	l.want("at the limit after a change", l.sweep(6*time.Second, needs))
	l.want("past it", l.sweep(6*time.Second+1, needs), rest(c))
}

func TestChangeAfterAScanIsNotEndedByIt(t *testing.T) {
	l := newLab(t, Settings{})
	l.turn(0, b)
	scan := l.scan(2 * idle)
	scan.See(maps.Flow{Backend: b}) // which is Current as yet
	l.turn(2*idle+1, a)
	l.want("a sweep by the old scan", l.Sweep(2*idle+2, scan))
	l.want("by a new one", l.sweep(2*idle+2, maps.Flow{Backend: b}))
}

func TestHeldTransitionsStayOpenForAnotherIdleTimeout(t *testing.T) {
	l := newLab(t, Settings{})
	l.turn(0, b)
	l.Hold(idle)
	l.want("within it", l.sweep(2*idle))
	l.want("after it", l.sweep(2*idle+1), rest(b))
}

func TestAdoptedTransitionsGoOnWithANewClock(t *testing.T) {
	found := []maps.Slot{learned(b, a), {Current: c}, open(c, b)}
	table := Adopt(time.Hour, Settings{Idle: idle, Learn: learn}, found)
	if table.Open() != 2 || table.Size() != 3 || table.Slot(0) != found[0] || table.Slot(1) != rest(c) || table.Slot(2) != found[2] {
		t.Fatalf("adopted %+v from %+v", table.Slots(), found)
	}
	if got := table.Previous(); len(got) != 2 || got[a] != 1 || got[b] != 1 {
		t.Errorf("previous owners %v", got)
	}
	if diff := cmp.Diff([]maps.Move{{Slot: 2, To: learned(c, b)}}, table.Learn(time.Hour+learn+1)); diff != "" {
		t.Errorf("learning (-want +got):\n%s", diff)
	}
	if moves := table.Sweep(time.Hour+idle, NewScan(time.Hour+idle, nil)); len(moves) != 0 {
		t.Errorf("before the idle timeout ended %+v", moves)
	}
	if moves := table.Sweep(time.Hour+idle+1, NewScan(time.Hour+idle+1, nil)); len(moves) != 2 || table.Open() != 0 {
		t.Errorf("after it ended %+v", moves)
	}
}

func TestTrackingChangesAtRunTime(t *testing.T) {
	l := newLab(t, Settings{Tracking: Always})
	l.turn(0, b)
	moves := l.Track(1, Change)
	want := []maps.Move{{Slot: 1, To: learned(b, b)}, {Slot: 2, To: learned(c, c)}} // 0 is open, 3 nobody's
	if diff := cmp.Diff(want, moves); diff != "" {
		t.Errorf("from always to change (-want +got):\n%s", diff)
	}
	if moves := l.Track(2, Always); len(moves) != 0 {
		t.Errorf("from change to always moved %+v", moves)
	}
	want = []maps.Move{{Slot: 0, To: rest(b)}, {Slot: 1, To: rest(b)}, {Slot: 2, To: rest(c)}}
	if diff := cmp.Diff(want, l.Track(3, Never)); diff != "" {
		t.Errorf("to never (-want +got):\n%s", diff)
	}
	l.want("a change without tracking", l.turn(4, c), rest(c))
	if moves := l.Track(5, Change); len(moves) != 0 {
		t.Errorf("from never to change moved %+v", moves)
	}
}
