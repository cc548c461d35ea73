package health

import (
	"testing"

	"pgregory.net/rapid"
)

// stateAfter is the definition of rise and fall, read off the whole history: P is a
// passed probe, F a failed one.
func stateAfter(history string, rise, fall int) State {
	lastAre := func(h string, n int, want byte) bool {
		if len(h) < n {
			return false
		}
		for _, r := range []byte(h[len(h)-n:]) {
			if r != want {
				return false
			}
		}
		return true
	}
	if history == "" {
		return Unknown
	}
	state := Down
	if history[0] == 'P' {
		state = Up
	}
	for n := 2; n <= len(history); n++ {
		switch {
		case state == Up && lastAre(history[:n], fall, 'F'):
			state = Down
		case state == Down && lastAre(history[:n], rise, 'P'):
			state = Up
		}
	}
	return state
}

func TestMachineFollowsTheDefinitionOnAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rise := rapid.IntRange(1, 5).Draw(t, "rise")
		fall := rapid.IntRange(1, 5).Draw(t, "fall")
		history := rapid.StringOfN(rapid.SampledFrom([]rune("PPPFFF")), 0, 60, -1).Draw(t, "history")
		var m machine
		for i := range history {
			before := m.state
			changed := m.observe(history[i] == 'P', rise, fall)
			if want := stateAfter(history[:i+1], rise, fall); m.state != want {
				t.Fatalf("after %s: %v, want %v", history[:i+1], m.state, want)
			}
			if changed != (m.state != before) {
				t.Fatalf("after %s: changed = %v, but %v -> %v", history[:i+1], changed, before, m.state)
			}
		}
	})
}

func TestMachineWalksThroughRiseAndFall(t *testing.T) {
	for _, tc := range []struct {
		name       string
		rise, fall int
		history    string
		states     string // after each result: U up, D down
	}{
		{"first pass is up at once", 3, 3, "P", "U"},
		{"first failure is down at once", 3, 3, "F", "D"},
		{"fall in a row", 2, 3, "PFFF", "UUUD"},
		{"a pass starts the fall count again", 2, 3, "PFFPFFF", "UUUUUUD"},
		{"rise in a row", 2, 3, "FPP", "DDU"},
		{"a failure starts the rise count again", 2, 3, "FPFPP", "DDDDU"},
		{"flapping each time never rises", 2, 1, "FPFPFPFP", "DDDDDDDD"},
		{"flapping each time never falls", 1, 2, "PFPFPFPF", "UUUUUUUU"},
		{"rise and fall of one follow every result", 1, 1, "PFPPF", "UDUUD"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m machine
			for i, r := range tc.history {
				m.observe(r == 'P', tc.rise, tc.fall)
				want := Up
				if tc.states[i] == 'D' {
					want = Down
				}
				if m.state != want {
					t.Fatalf("after %s: %v, want %v", tc.history[:i+1], m.state, want)
				}
			}
		})
	}
}

func TestForgottenResultsDoNotCountButTheStateStays(t *testing.T) {
	var m machine
	for _, passed := range []bool{true, false, false} {
		m.observe(passed, 1, 3)
	}
	m.forget()
	for i, want := range []State{Up, Up, Down} {
		m.observe(false, 1, 3)
		if m.state != want {
			t.Fatalf("failure %d after forget: %v, want %v", i+1, m.state, want)
		}
	}
}

func TestATrustedTargetIsNotDownAfterOneFailure(t *testing.T) {
	for want, results := range map[State][]bool{
		Unknown: {false, false},
		Down:    {false, false, false},
		Up:      {false, false, true, false, false},
	} {
		m := machine{trusted: true}
		for _, passed := range results {
			m.observe(passed, 2, 3)
		}
		if m.state != want {
			t.Errorf("after %v it is %s, want %s", results, m.state, want)
		}
	}
}
