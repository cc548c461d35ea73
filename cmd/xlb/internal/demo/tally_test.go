package demo

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// baseline has two sources for each backend of the scene.
var baseline = []int{0, 0, 1, 1, 2, 2}

func TestSourcesOfTheDeadBackendHadToMoveAndOthersHadNot(t *testing.T) {
	answer := func(t *tally, names ...string) {
		for source, name := range names {
			t.answered(source, name)
		}
	}
	for name, c := range map[string]struct {
		dead               int
		answers            []string
		moved, needlessly  int
		baseline           []int
		returnedAfterwards bool
	}{
		"nothing moved":     {nobody, []string{"backend1", "backend1", "backend2", "backend2", "backend3", "backend3"}, 0, 0, baseline, false},
		"the dead one's":    {1, []string{"backend1", "backend1", "backend1", "backend3", "backend3", "backend3"}, 2, 0, baseline, false},
		"another one's too": {1, []string{"backend3", "backend1", "backend1", "backend3", "backend3", "backend3"}, 3, 1, baseline, false},
		"not come back":     {nobody, []string{"backend1", "backend1", "backend1", "backend2", "backend3", "backend3"}, 1, 1, baseline, false},
		"moved and back":    {nobody, []string{"backend2", "backend1", "backend2", "backend2", "backend3", "backend3"}, 1, 1, baseline, true},
		"first phase":       {nobody, []string{"backend2", "backend1", "backend2", "backend2", "backend3", "backend3"}, 0, 0, nil, false},
		"unknown at first":  {nobody, []string{"backend2", "backend1", "backend2", "backend2", "backend3", "backend3"}, 0, 0, []int{nobody, 0, 1, 1, 2, 2}, false},
	} {
		t.Run(name, func(t *testing.T) {
			tally := newTally(scene, c.baseline)
			answer(tally, c.answers...)
			if c.returnedAfterwards {
				answer(tally, "backend1", "backend1", "backend2", "backend2", "backend3", "backend3")
			}
			if p := tally.phase("p", c.dead); p.Moved != c.moved || p.MovedNeedlessly != c.needlessly {
				t.Errorf("%d moved, %d needlessly; want %d, %d", p.Moved, p.MovedNeedlessly, c.moved, c.needlessly)
			}
		})
	}
}

func TestOnlyFailuresThatTouchTheWindowAreForgiven(t *testing.T) {
	base := time.Now()
	at := func(s int) time.Time { return base.Add(time.Duration(s) * time.Second) }
	for _, c := range []struct {
		began, ended int
		forgiven     int
	}{
		{0, 9, 0}, {0, 10, 1}, {9, 21, 1}, {12, 13, 1}, {20, 25, 1}, {21, 25, 0},
	} {
		tally := newTally(scene, baseline)
		tally.failed(failure{at(c.began), at(c.ended), errors.New("refused")})
		tally.forgive(at(10), at(20))
		if p := tally.phase("p", nobody); p.Failed != 1 || p.FailedInWindow != c.forgiven {
			t.Errorf("from %d to %d: %d failed, %d in the window; want 1, %d", c.began, c.ended, p.Failed, p.FailedInWindow, c.forgiven)
		}
	}
}

func TestPhaseCountsAnswersAndTellsTheFirstUnforgivenError(t *testing.T) {
	tally := newTally(scene, nil)
	tally.answered(0, "backend1")
	tally.answered(1, "backend3")
	tally.answered(2, "backend3")
	tally.answered(3, "stranger")
	now := time.Now()
	tally.failed(failure{now, now, errors.New("refused")})
	want := Phase{
		Name: "p", Requests: 5, Failed: 2, PerBackend: map[string]int{"backend1": 1, "backend2": 0, "backend3": 2},
		FirstError: `"stranger" answered, which is none of the backends`,
	}
	if diff := cmp.Diff(want, tally.phase("p", nobody)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{0, 2, 2, nobody, nobody, nobody}, tally.met); diff != "" {
		t.Error(diff)
	}
}
