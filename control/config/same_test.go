package config

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestServicesThatAreTheSameDoNotDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := randomness{t}
		from := r.config()
		to := r.changed(from)
		if again := r.changed(from); rapid.Bool().Draw(t, "again") {
			to = again
		}
		for i := range from.Services {
			for j := range to.Services {
				a, b := &from.Services[i], &to.Services[j]
				if !a.Same(b) {
					continue
				}
				d := &differ{}
				d.service(a, b, from.GUE.Port, from.GUE.Port)
				if len(d.changes) > 0 || a.Name != b.Name {
					t.Fatalf("they are said to be the same and differ in %+v", d.changes)
				}
			}
			if copied := from.Services[i]; !copied.Same(&from.Services[i]) {
				t.Fatal("a copy is not the same")
			}
		}
	})
}

// A new field has to be compared as well.
func TestEveryFieldOfABackendCounts(t *testing.T) {
	if n := reflect.TypeFor[Backend]().NumField(); n != 6 {
		t.Errorf("a backend has %d fields; Same compares 5, and not its position", n)
	}
}
