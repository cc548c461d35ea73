package passive

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fine is a backend of a service with many clients, some of whom never complete.
var fine = member{rate: 10, complete: 0.97, repeat: 0.01}

func TestSickBackendIsSuspectedThenEjected(t *testing.T) {
	for name, sick := range map[string]member{
		"completes nothing":         {rate: 10, repeat: 1},
		"completes a third":         {rate: 10, complete: 0.3, repeat: 0.01},
		"answers when asked twice":  {rate: 10, complete: 0.97, repeat: 0.8},
		"completes nothing, slowly": {rate: 1, repeat: 1},
	} {
		t.Run(name, func(t *testing.T) {
			like := fine
			like.rate = sick.rate
			w := newWorld(t, 1, usual, 10, like)
			w.run(60)
			w.wantQuiet()
			*w.members[3] = member{rate: sick.rate, complete: sick.complete, repeat: sick.repeat, counts: w.members[3].counts}
			suspected := w.until(3, Suspected)
			ejected := w.until(3, Ejected)
			t.Logf("suspected after %v, ejected %v later", suspected, ejected)
			if suspected > 45*time.Second || ejected > 3*Period {
				t.Errorf("suspected after %v, ejected %v later", suspected, ejected)
			}
			for _, c := range w.changes {
				if c.Backend != 3 {
					t.Errorf("backend %d is %s: %s", c.Backend, c.State, c.Reason)
				}
			}
		})
	}
}

func TestReasonTellsTheFigures(t *testing.T) {
	w := newWorld(t, 1, usual, 4, fine)
	w.run(60)
	w.members[0].complete, w.members[0].repeat = 0, 1
	w.until(0, Ejected)
	w.until(0, Clear)
	var got []Change[int]
	for _, c := range w.changes {
		c.Until = time.Time{}
		got = append(got, c)
	}
	want := []Change[int]{
		{Backend: 0, State: Suspected, Was: Clear, Reason: "handshakes complete at 0 % of its siblings' rate"},
		{Backend: 0, State: Ejected, Was: Suspected, Reason: "still far behind its siblings, for 30s"},
		{Backend: 0, State: Clear, Was: Ejected, Reason: "its time is over"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNobodyIsSuspectedWhereAllSufferAlike(t *testing.T) {
	for name, alike := range map[string]member{
		"all is well":                  fine,
		"few connections":              {rate: 0.05, complete: 0.9},
		"nobody completes":             {rate: 10, repeat: 1},
		"network that loses half":      {rate: 10, complete: 0.5, repeat: 0.5},
		"clients far away":             {rate: 10, complete: 0.97, repeat: 0.01, slow: true},
		"flood of SYNs":                {rate: 10, complete: 0.97, repeat: 0.01, flood: 500},
		"flood over few connections":   {rate: 1, complete: 0.97, repeat: 0.01, flood: 500},
		"flood of SYNs sent again":     {rate: 10, complete: 0.97, repeat: 1, flood: 50},
		"flood and a bad network":      {rate: 10, complete: 0.3, repeat: 0.7, flood: 100},
		"as many as a judgement needs": {rate: 0.7, complete: 0.97, flood: 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, usual, 50, alike)
			w.run(600)
			w.wantQuiet()
		})
	}
}

func TestTroubleThatComesAndGoesForAllRaisesNoSuspicion(t *testing.T) {
	w := newWorld(t, 1, usual, 20, fine)
	for round := range 20 {
		for _, m := range w.members {
			m.complete, m.repeat, m.flood, m.rate = 0.97, 0.01, 0, 10
			switch round % 4 {
			case 1:
				m.complete, m.repeat = 0, 1 // the link is down
			case 2:
				m.flood = 300
			case 3:
				m.rate = 100 // everybody reconnects
			}
		}
		w.run(7)
	}
	w.wantQuiet()
}

func TestFewHandshakesAreNoEvidence(t *testing.T) {
	w := newWorld(t, 1, usual, 4, member{rate: 0.2, complete: 1})
	w.members[0].complete = 0
	w.run(600)
	w.wantQuiet()
}

func TestSuspectThatIsALittleBetterStaysOne(t *testing.T) {
	o := usual
	o.Eject = false
	w := newWorld(t, 1, o, 10, member{rate: 50, complete: 1})
	w.run(60)
	w.members[0].complete = 0.3
	w.until(0, Suspected)
	w.members[0].complete = 0.6 // above the threshold, but not far enough
	w.run(120)
	if s := w.state(0); s != Suspected || len(w.changes) != 1 {
		t.Errorf("%s after %d changes", s, len(w.changes))
	}
	w.members[0].complete = 1
	w.until(0, Clear)
}

func TestSuspectIsNotEjectedUnlessAskedFor(t *testing.T) {
	o := usual
	o.Eject = false
	w := newWorld(t, 1, o, 10, fine)
	w.members[0].complete = 0
	w.run(600)
	if s := w.state(0); s != Suspected || len(w.changes) != 1 {
		t.Errorf("%s after %d changes", s, len(w.changes))
	}
}

func TestEjectionsInARowDoubleAndLaterOnesBeginAgain(t *testing.T) {
	w := newWorld(t, 1, usual, 10, fine)
	w.members[0].complete = 0
	for _, want := range []time.Duration{30, 60, 120, 240, 480, 960, 1920, 1920} {
		w.until(0, Ejected)
		if got := w.until(0, Clear); got != want*time.Second {
			t.Errorf("ejected for %v, want %v", got, want*time.Second)
		}
	}
	w.members[0].complete = 0.97
	w.run(1930)
	w.members[0].complete = 0
	w.until(0, Ejected)
	if got := w.until(0, Clear); got != 30*time.Second {
		t.Errorf("ejected for %v after a long time without, want 30s", got)
	}
}

func TestOnlyAShareIsEjectedTheWorstFirst(t *testing.T) {
	w := newWorld(t, 1, usual, 10, member{rate: 50, complete: 1})
	w.run(60)
	for i, complete := range []float64{0.3, 0.1, 0.2, 0.05} {
		w.members[i].complete = complete
	}
	w.until(3, Ejected)
	w.run(10)
	for i, want := range []State{Suspected, Ejected, Suspected, Ejected} {
		if got := w.state(i); got != want {
			t.Errorf("backend %d is %s, want %s", i, got, want)
		}
	}
}

func TestOneOfThreeMayBeEjectedAndOneOfTwoIfTheShareAllows(t *testing.T) {
	for _, tc := range []struct {
		backends, share int
		want            State
	}{{3, 20, Ejected}, {2, 20, Suspected}, {2, 50, Ejected}, {1, 100, Clear}} {
		o := usual
		o.MaxEjected = tc.share
		w := newWorld(t, 1, o, tc.backends, fine)
		w.members[0].complete, w.members[0].repeat = 0, 1
		w.run(25)
		if got := w.state(0); got != tc.want {
			t.Errorf("of %d backends with %d percent: %s, want %s", tc.backends, tc.share, got, tc.want)
		}
	}
}

func TestEjectedBackendComesBackWhenTooFewOthersServe(t *testing.T) {
	w := newWorld(t, 1, usual, 3, fine)
	w.members[0].complete = 0
	w.until(0, Ejected)
	w.members[1].down = true
	w.run(1)
	if s := w.state(0); s != Clear {
		t.Errorf("%s, with one other that serves", s)
	}
}

func TestBackendThatTakesNoConnectionsIsNotJudged(t *testing.T) {
	o := usual
	o.Eject = false
	w := newWorld(t, 1, o, 10, fine)
	w.members[0].complete = 0
	w.until(0, Suspected)
	w.members[0].down = true // the probe has failed
	w.run(1)
	last := w.changes[len(w.changes)-1]
	if w.state(0) != Clear || last.Reason != "it takes no connections" {
		t.Errorf("%s: %+v", w.state(0), last)
	}
	n := len(w.changes)
	w.run(120)
	w.members[0].down, w.members[0].complete = false, 0.97
	w.run(120)
	if len(w.changes) != n {
		t.Errorf("more was thought of it: %+v", w.changes[n:])
	}
}

func TestBackendThatGoesDownMeanwhileStaysEjectedItsTime(t *testing.T) {
	w := newWorld(t, 1, usual, 10, fine)
	w.members[0].complete = 0
	w.until(0, Ejected)
	w.members[0].down = true
	w.run(5)
	w.members[0].down, w.members[0].complete = false, 0.97
	if got := w.until(0, Clear); got != 25*time.Second {
		t.Errorf("back after %v more, want 25s", got)
	}
}

func TestCountersThatBeginAnewSayNothing(t *testing.T) {
	w := newWorld(t, 1, usual, 10, fine)
	w.run(60)
	for range 30 {
		for _, m := range w.members {
			m.counts = Counts{SYNs: 3} // another program, other maps
		}
		w.run(7)
	}
	w.wantQuiet()
}

func TestForgottenBackendIsNewWhenItComesAgain(t *testing.T) {
	w := newWorld(t, 1, usual, 10, fine)
	w.members[0].complete = 0
	w.until(0, Ejected)
	gone := w.members
	w.members = nil
	w.observe()
	w.members = gone
	w.observe()
	if s, until := w.judge.State(0); s != Clear || !until.IsZero() {
		t.Errorf("%s until %v", s, until)
	}
}

func TestSamplesMayComeAsOftenAsTheyLike(t *testing.T) {
	w := newWorld(t, 1, usual, 10, fine)
	w.members[0].complete = 0
	for range 10 { // within one period nothing is judged
		w.observe()
	}
	w.run(1)
	for range 100 {
		w.observe()
	}
	w.run(5)
	if s := w.state(0); s != Clear {
		t.Errorf("%s after %d judgements", s, 4)
	}
	w.run(10)
	if s := w.state(0); s == Clear {
		t.Errorf("%s after 16 s", s)
	}
}
