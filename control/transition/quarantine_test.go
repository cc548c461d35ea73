package transition

import (
	"slices"
	"testing"
	"time"

	"github.com/xlb-project/xlb/maps"
)

func TestNumberIsGivenAgainOnlyOnceNothingNamedItForTheIdleTimeout(t *testing.T) {
	q := NewQuarantine(idle)
	q.Add(0, 7)
	q.Add(time.Second, 3)
	q.Add(time.Second, 5)
	named := func(id maps.BackendID) bool { return id == 3 }
	nothing := func(maps.BackendID) bool { return false }
	for _, step := range []struct {
		now   time.Duration
		named func(maps.BackendID) bool
		free  []maps.BackendID
	}{
		{idle, nothing, nil},
		{idle + 1, named, []maps.BackendID{7}},
		{2 * idle, named, []maps.BackendID{5}},
		{3 * idle, nothing, nil},
		{3*idle + 1, nothing, []maps.BackendID{3}},
		{9 * idle, nothing, nil},
	} {
		if free := q.Release(step.now, step.named); !slices.Equal(free, step.free) {
			t.Errorf("at %s free are %v, want %v", step.now, free, step.free)
		}
	}
	q.Add(0, 3)
	if !q.Holds(3) || q.Holds(7) {
		t.Error("held are not those that were added and not released")
	}
}
