package demo

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// good is a demonstration that kept every promise.
func good() []Phase {
	off, ms := 1.5, 230.0
	return []Phase{
		{Name: Spread, Requests: 100, PerBackend: map[string]int{"backend1": 51, "backend2": 49}, OffPercent: &off},
		{Name: Kill, Requests: 120, Failed: 20, FailedInWindow: 20, PerBackend: map[string]int{"backend1": 80, "backend2": 20}, Moved: 9, DetectMs: &ms},
		{Name: WithoutIt, Requests: 100, PerBackend: map[string]int{"backend1": 100, "backend2": 0}, OffPercent: &off, Moved: 49},
		{Name: Restored, Requests: 100, PerBackend: map[string]int{"backend1": 51, "backend2": 49}, OffPercent: &off, DetectMs: &ms},
	}
}

func TestBrokenPromisesAreNamed(t *testing.T) {
	far := 5.1
	for name, c := range map[string]struct {
		spoil func([]Phase)
		want  string // part of the one sentence; empty: all is well
	}{
		"as promised":               {func([]Phase) {}, ""},
		"failure before the kill":   {func(p []Phase) { p[0].Failed, p[0].FirstError = 1, "refused" }, `phase "spread": 1 of 100 requests failed outside the detection window, first: refused`},
		"failure after detection":   {func(p []Phase) { p[1].Failed++ }, `phase "kill": 1 of 120`},
		"failure without it":        {func(p []Phase) { p[2].Failed = 3 }, `phase "without it": 3 of 100`},
		"failure after the return":  {func(p []Phase) { p[3].Failed = 1 }, `phase "restored": 1 of 100`},
		"healthy client moved":      {func(p []Phase) { p[2].MovedNeedlessly = 2 }, `phase "without it": 2 clients moved without need`},
		"former table not restored": {func(p []Phase) { p[3].MovedNeedlessly = 1 }, `phase "restored": 1 clients moved without need`},
		"uneven share":              {func(p []Phase) { p[0].OffPercent = &far }, `phase "spread": a backend's share is 5.1 % off the even one, more than 5.0 %`},
	} {
		t.Run(name, func(t *testing.T) {
			phases := good()
			c.spoil(phases)
			r := newResult(phases, DataPath{}, 5, time.Second)
			if c.want == "" {
				if !r.OK || len(r.Broken) != 0 {
					t.Errorf("not content: %q", r.Broken)
				}
				return
			}
			if r.OK || len(r.Broken) != 1 || !strings.Contains(r.Broken[0], c.want) {
				t.Errorf("OK %v, broken %q; want one with %q", r.OK, r.Broken, c.want)
			}
		})
	}
}

func TestTotalsAddUpThePhases(t *testing.T) {
	phases := good()
	phases[1].Failed, phases[3].MovedNeedlessly = 22, 4
	want := Total{Requests: 420, Failed: 22, FailedOutsideWindow: 2, MovedNeedlessly: 4, Seconds: 1.5}
	if got := newResult(phases, DataPath{}, 5, 1500*time.Millisecond).Total; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestJSONHasTheNamedFieldsInEveryPhase(t *testing.T) {
	text, err := json.Marshal(newResult(good(), DataPath{}, 5, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Phases []map[string]any `json:"phases"`
		Broken []string         `json:"broken"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if r.Broken == nil {
		t.Error("broken is null, want an empty list")
	}
	for i, p := range r.Phases {
		for _, field := range []string{"name", "requests", "failed", "failedInWindow", "perBackend", "moved", "movedNeedlessly", "detectMs"} {
			if _, ok := p[field]; !ok {
				t.Errorf("phase %d has no %s", i, field)
			}
		}
	}
}

func TestToleranceIsFivePercentUnlessChanceAllowsMore(t *testing.T) {
	for _, c := range []struct {
		requests, backends int
		want               float64
	}{
		{DefaultRequests, DefaultBackends, 5},
		{1_000_000, 12, 5},
		{200, 3, 30},
		{DefaultRequests, 12, 11.7},
	} {
		if got := Tolerance(c.requests, c.backends); got != c.want {
			t.Errorf("%d requests over %d backends: %v %%, want %v", c.requests, c.backends, got, c.want)
		}
	}
}

func TestSharesAreMeasuredAmongTheLiving(t *testing.T) {
	for _, c := range []struct {
		answered []int
		dead     int
		want     float64
	}{
		{[]int{100, 100, 100}, nobody, 0},
		{[]int{110, 90, 100}, nobody, 10},
		{[]int{90, 0, 110}, 1, 10},
		{[]int{0, 0, 0}, nobody, 0},
		{[]int{300, 0, 0}, nobody, 200},
	} {
		p := Phase{PerBackend: map[string]int{}}
		for i, n := range c.answered {
			p.PerBackend[scene.Backends[i]] = n
		}
		p.measureShares(scene.Backends, c.dead)
		if got := *p.OffPercent; got < c.want-1e-9 || got > c.want+1e-9 {
			t.Errorf("%v without %d: %v %% off, want %v", c.answered, c.dead, got, c.want)
		}
	}
}

func TestImpossibleOptionsAreRefused(t *testing.T) {
	for _, o := range []Options{
		{Backends: 1, Requests: DefaultRequests},
		{Backends: MaxBackends + 1, Requests: DefaultRequests},
		{Backends: 3, Requests: MinRequests - 1},
		{Backends: 3, Requests: MaxRequests + 1},
	} {
		if _, err := Run(t.Context(), o, Silence{}); err == nil || !strings.Contains(err.Error(), "choose") {
			t.Errorf("%+v: %v, want what to choose", o, err)
		}
	}
}
