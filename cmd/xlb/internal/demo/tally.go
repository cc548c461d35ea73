package demo

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/xlb-project/xlb/testenv"
)

// nobody stands for a backend where there is none.
const nobody = -1

// tally counts the requests of a phase as they end. Backends and sources are
// indexes into the scene's and the clients'.
type tally struct {
	backends []string
	baseline []int // backend that each source met in the first phase; nil during it

	mu         sync.Mutex // guards the rest
	requests   int
	failures   []failure
	forgiven   int // of failures: those that could not be avoided
	perBackend []int
	met        []int  // backend that answered each source last
	strayed    []bool // sources that ever met another backend than in the first phase
}

// failure is a request without a proper answer.
type failure struct {
	began, ended time.Time
	err          error
}

func newTally(scene Scene, baseline []int) *tally {
	return &tally{
		backends: scene.Backends, baseline: baseline,
		perBackend: make([]int, len(scene.Backends)),
		met:        slices.Repeat([]int{nobody}, scene.Sources),
		strayed:    make([]bool, scene.Sources),
	}
}

func (t *tally) answered(source int, name string) {
	backend := slices.Index(t.backends, name)
	if backend == nobody {
		now := time.Now()
		t.failed(failure{now, now, fmt.Errorf("%q answered, which is none of the backends", name)})
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	t.perBackend[backend]++
	t.met[source] = backend
	if t.baseline != nil && t.baseline[source] != nobody && t.baseline[source] != backend {
		t.strayed[source] = true
	}
}

func (t *tally) failed(f failure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	t.failures = append(t.failures, f)
}

// await waits until n more requests have ended.
func (t *tally) await(ctx context.Context, n int) error {
	want := t.progress().Requests + n
	return testenv.Eventually(ctx, fmt.Sprintf("%d requests", n), func() error {
		if t.progress().Requests < want {
			return errNotYet
		}
		return nil
	})
}

// forgive takes out the failures of requests that were under way at any moment
// between a backend's death and its discovery. It is called once.
func (t *tally) forgive(death, discovery time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := len(t.failures)
	t.failures = slices.DeleteFunc(t.failures, func(f failure) bool {
		return !f.ended.Before(death) && !f.began.After(discovery)
	})
	t.forgiven = all - len(t.failures)
}

func (t *tally) progress() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Progress{Requests: t.requests, Failed: len(t.failures) + t.forgiven, PerBackend: slices.Clone(t.perBackend)}
}

// phase sums up. Sources of the dead backend, if there is one, had to move.
func (t *tally) phase(name string, dead int) Phase {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := Phase{
		Name: name, Requests: t.requests, PerBackend: map[string]int{},
		Failed: len(t.failures) + t.forgiven, FailedInWindow: t.forgiven,
	}
	if len(t.failures) > 0 {
		p.FirstError = t.failures[0].err.Error()
	}
	for i, b := range t.backends {
		p.PerBackend[b] = t.perBackend[i]
	}
	for source, strayed := range t.strayed {
		if !strayed {
			continue
		}
		p.Moved++
		if t.baseline[source] != dead {
			p.MovedNeedlessly++
		}
	}
	return p
}
