package health

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFirstProbeIsSentAtOnceAndDecides(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		now := time.Now()
		set(t, c, "good", every(&script{letters: "P"}))
		if s := status(t, c, "good"); s.State != Unknown || !s.Since.Equal(now) {
			t.Fatalf("before the first probe: %+v", s)
		}
		synctest.Wait()
		wantToken(t, c, true)
		wantChanges(t, c, Change{ID: "good", Healthy: true, Reason: "200 OK", At: now})
		set(t, c, "bad", every(&script{letters: "F"}))
		synctest.Wait()
		wantToken(t, c, true)
		wantChanges(t, c, Change{ID: "bad", Healthy: false, Reason: "connection refused", At: now})
		wantToken(t, c, false)
		wantChanges(t, c)
	})
}

func TestStatusTellsTheWholeStory(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		start := time.Now()
		set(t, c, "b", every(&script{letters: "PFHFFFFFP"}))
		set(t, c, "a", every(&script{letters: "P"}))
		after(8 * time.Second) // probes of b at 0, 0.5, 1.5 ... 7.5 s
		want := []Status{{
			ID: "a", State: Up, Since: start, Reason: "200 OK", InRow: 9,
			LastProbe: start.Add(7500 * time.Millisecond), Answer: "200 OK",
			Passed: 9, Changes: 1,
		}, {
			ID: "b", State: Down, Since: start.Add(2500 * time.Millisecond), Reason: "connection refused", InRow: 1,
			LastProbe: start.Add(7500 * time.Millisecond), Answer: "200 OK",
			Passed: 2, Failed: 7, Changes: 2,
		}}
		if diff := cmp.Diff(want, c.Snapshot()); diff != "" {
			t.Fatalf("snapshot (-want +got):\n%s", diff)
		}
	})
}

func TestProbesThatCannotBeSentSayNothing(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		set(t, c, "new", every(&script{letters: "N"}))
		set(t, c, "up", every(&script{letters: "PFFNNNNNN"}))
		after(8 * time.Second)
		if s := status(t, c, "new"); s.State != Unknown || s.NotSent != 9 || s.Failed != 0 || s.Answer != "not sent: too many open files" {
			t.Errorf("new target: %+v", s)
		}
		if s := status(t, c, "up"); s.State != Up || s.InRow != 2 || s.NotSent != 6 || s.Failed != 2 {
			t.Errorf("target that was up: %+v", s)
		}
	})
}

func TestSlowConsumerIsToldTheLatestStateOfEachTarget(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		start := time.Now()
		flap := every(nil)
		flap.Rise, flap.Fall = 1, 1
		for id, letters := range map[TargetID]string{"ends-down": "PFPFPF", "ends-up": "FPFPFP", "steady": "P"} {
			flap.Probe = &script{letters: letters}
			set(t, c, id, flap)
		}
		after(20 * time.Second)
		wantToken(t, c, true)
		wantToken(t, c, false) // one token for all of it
		got := c.Changes()
		slices.SortFunc(got, func(a, b Change) int { return strings.Compare(string(a.ID), string(b.ID)) }) // they started together
		last := start.Add(4500 * time.Millisecond)
		want := []Change{
			{ID: "ends-down", Healthy: false, Reason: "connection refused", At: last},
			{ID: "ends-up", Healthy: true, Reason: "200 OK", At: last},
			{ID: "steady", Healthy: true, Reason: "200 OK", At: start},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("changes (-want +got):\n%s", diff)
		}
		wantChanges(t, c)
	})
}

func TestTargetThatChangedBackIsNotMentioned(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		check := every(&script{letters: "PFPF"})
		check.Rise, check.Fall = 1, 1
		start := time.Now()
		set(t, c, "a", check)
		synctest.Wait()
		wantChanges(t, c, Change{ID: "a", Healthy: true, Reason: "200 OK", At: start})
		after(1600 * time.Millisecond) // down at 0.5 s, up at 1.5 s
		wantChanges(t, c)
		after(time.Second) // down at 2.5 s
		wantChanges(t, c, Change{ID: "a", Reason: "connection refused", At: start.Add(2500 * time.Millisecond)})
	})
}

func TestChangesComeInTheOrderTheyHappened(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		want := []TargetID{"c", "a", "d", "b"}
		for _, id := range want {
			set(t, c, id, every(&script{letters: "P"}))
			after(time.Millisecond)
		}
		var got []TargetID
		for _, ch := range c.Changes() {
			got = append(got, ch.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("order (-want +got):\n%s", diff)
		}
	})
}

func TestSettingTheSameCheckChangesNothing(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		first, again := &script{letters: "P"}, &script{letters: "P"}
		set(t, c, "a", keyed("k", first))
		for range 100 {
			after(10 * time.Millisecond)
			set(t, c, "a", keyed("k", again)) // equal, but built anew
		}
		if len(first.starts) != 2 || len(again.starts) != 0 {
			t.Errorf("%d probes in a second and %d of the check built anew, want those at 0 and 0.5 s", len(first.starts), len(again.starts))
		}
	})
}

func TestRiseAndFallChangeWithoutStartingAgain(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		s := &script{letters: "PFFFF"}
		check := keyed("k", s)
		set(t, c, "a", check)
		after(1600 * time.Millisecond) // failures at 0.5 and 1.5 s
		check.Fall = 4
		set(t, c, "a", check)
		after(time.Second)
		if s := status(t, c, "a"); s.State != Up || s.InRow != 3 {
			t.Errorf("at the third failure: %+v", s)
		}
		after(time.Second)
		if s := status(t, c, "a"); s.State != Down || s.InRow != 4 {
			t.Errorf("at the fourth failure: %+v", s)
		}
	})
}

func TestSettingAnotherCheckKeepsTheStateAndStartsAgain(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		start := time.Now()
		set(t, c, "a", every(&script{letters: "PFF"}))
		after(1600 * time.Millisecond) // two failures of three
		wantChanges(t, c, Change{ID: "a", Healthy: true, Reason: "200 OK", At: start})
		set(t, c, "a", every(&script{letters: "F"}))
		synctest.Wait()
		s := status(t, c, "a")
		if !s.LastProbe.Equal(time.Now()) {
			t.Fatalf("new check not sent at once: %+v", s)
		}
		if s.State != Up || s.InRow != 1 || s.Failed != 3 || !s.Since.Equal(start) {
			t.Fatalf("after one failure of the new check: %+v", s)
		}
		after(1600 * time.Millisecond)
		wantChanges(t, c, Change{ID: "a", Reason: "connection refused", At: start.Add(3100 * time.Millisecond)})
	})
}

func TestResultUnderWayIsDiscardedOnceTheCheckIsReplaced(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		set(t, c, "a", every(&script{letters: "H"}))
		after(100 * time.Millisecond)
		set(t, c, "a", every(&script{letters: "P"}))
		after(time.Millisecond)
		if s := status(t, c, "a"); s.State != Up || s.Failed != 0 {
			t.Errorf("got %+v", s)
		}
	})
}

func TestRemovedTargetIsNeverMentionedAgain(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		changed := &script{letters: "P"}
		set(t, c, "changed", every(changed))
		set(t, c, "under-way", every(&script{letters: "H"}))
		deaf := make(chan struct{})
		set(t, c, "deaf", every(proberFunc(func(context.Context) (string, error) {
			<-deaf
			return "200 OK", nil
		})))
		synctest.Wait()
		for _, id := range []TargetID{"changed", "under-way", "deaf", "never-set"} {
			c.Remove(id)
		}
		close(deaf)
		after(10 * time.Second)
		wantChanges(t, c)
		if n := len(changed.starts); n != 1 {
			t.Errorf("%d probes, want none after removal", n-1)
		}
		if all := c.Snapshot(); len(all) != 0 {
			t.Errorf("still there: %+v", all)
		}
		if _, ok := c.Status("changed"); ok {
			t.Error("status of a removed target")
		}
	})
}

func TestTargetSetAgainAfterRemovalIsNew(t *testing.T) {
	bubble(t, middle, func(t *testing.T, c *Checker) {
		set(t, c, "a", every(&script{letters: "P"}))
		synctest.Wait()
		c.Changes()
		c.Remove("a")
		now := time.Now()
		set(t, c, "a", every(&script{letters: "P"}))
		if s := status(t, c, "a"); s.State != Unknown || s.Passed != 0 {
			t.Errorf("before the first probe: %+v", s)
		}
		synctest.Wait()
		wantChanges(t, c, Change{ID: "a", Healthy: true, Reason: "200 OK", At: now})
	})
}

func TestCloseEndsProbesAndKeepsWhatIsKnown(t *testing.T) {
	fakeTime(t, func(t *testing.T) {
		c := NewChecker(middle)
		set(t, c, "up", every(&script{letters: "P"}))
		ended := false
		set(t, c, "under-way", every(proberFunc(func(ctx context.Context) (string, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // slow to notice
			ended = true
			return "", errRefused
		})))
		after(100 * time.Millisecond)
		c.Close()
		if !ended {
			t.Error("Close returned before the probe under way")
		}
		c.Close()
		if s := status(t, c, "up"); s.State != Up {
			t.Errorf("up: %+v", s)
		}
		if s := status(t, c, "under-way"); s.State != Unknown {
			t.Errorf("under way: %+v", s)
		}
		if err := c.Set("late", every(&script{letters: "P"})); !errors.Is(err, ErrClosed) {
			t.Errorf("set after close: %v, want ErrClosed", err)
		}
	})
}

func TestIncompleteCheckIsRefusedByName(t *testing.T) {
	c := NewChecker(middle)
	defer c.Close()
	good := every(&script{letters: "P"})
	for want, spoil := range map[string]func(*Check){
		"no prober given":                    func(k *Check) { k.Probe = nil },
		"interval must be positive":          func(k *Check) { k.Interval = 0 },
		"fast interval must not be negative": func(k *Check) { k.FastInterval = -1 },
		"timeout must be positive":           func(k *Check) { k.Timeout = -1 },
		"rise must be at least 1":            func(k *Check) { k.Rise = 0 },
		"fall must be at least 1":            func(k *Check) { k.Fall = 0 },
	} {
		check := good
		spoil(&check)
		want = "set health check of web: " + want
		if err := c.Set("web", check); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if all := c.Snapshot(); len(all) != 0 {
		t.Errorf("refused, but there: %+v", all)
	}
}
