package control

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/xlb-project/xlb/maps"
)

func TestLowerLimitsKeepWhatIsThere(t *testing.T) {
	n := upNode(t, withCheck, 1, 2, 3, 4)
	n.mustApply(withBackends(withCheck, 4)) // number 4
	n.stop()
	n.file = "limits: {services: 1, backends: 4}\n" + withBackends(withCheck, 4)
	n.start()
	n.up(4)
	if id := n.plane.idOf("web/10.0.0.4"); id != 4 {
		t.Fatalf("it has number %d", id)
	}
	n.stop()
	n.file = "limits: {services: 1, backends: 2}\n" + withBackends(withCheck, 4)
	n.start()
	n.up(4)
	if s := n.status().Services[0]; s.Up != 1 {
		t.Errorf("%d backends are up", s.Up)
	}
	_, err := n.apply("limits: {services: 1, backends: 2}\n" + withBackends(withCheck, 4, 5))
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "flows.idle") {
		t.Errorf("a further backend while the removed ones may have connections: %v", err)
	}
	n.plane.sound()
}

func TestAProgramThatWasWidenedForAChangeThatFailsIsNarrowedAgain(t *testing.T) {
	n, fail := newNode(t, withBackends(withCheck, 1, 2)), true
	p, with := withProgram(n)
	n.start(with, func(parts *Parts) {
		parts.Failpoint = func(step string) error {
			if step == "listeners" && fail && len(p.loaded) > 0 {
				fail = false
				return errRefused
			}
			return nil
		}
	})
	n.up(1, 2)
	if _, err := n.apply(withBackends(withCheck, 1, 2) + needsIPv6); !errors.Is(err, errRefused) {
		t.Fatalf("error %v", err)
	}
	if len(p.loaded) != 2 || p.loaded[1].Features.IPv6 {
		t.Errorf("%d programs were loaded: %+v", len(p.loaded), p.loaded)
	}
}

func TestBackendsOfASmallServiceHaveNeighbouringNumbersIfTheyCan(t *testing.T) {
	for _, c := range []struct {
		name  string
		given []maps.BackendID // that the service's backends have, 0: not yet
		taken []maps.BackendID // others'
		want  []maps.BackendID
	}{
		{"the first numbers", []maps.BackendID{0, 0, 0}, nil, []maps.BackendID{1, 2, 3}},
		{"behind others", []maps.BackendID{0, 0}, []maps.BackendID{1, 2}, []maps.BackendID{3, 4}},
		{"one that was replaced", []maps.BackendID{7, 0}, []maps.BackendID{6}, []maps.BackendID{7, 5}},
		{"between two", []maps.BackendID{7, 0, 9}, nil, []maps.BackendID{7, 8, 9}},
		{"beside two", []maps.BackendID{7, 0, 8}, []maps.BackendID{6}, []maps.BackendID{7, 9, 8}},
		{"at the end", []maps.BackendID{20, 0}, []maps.BackendID{18}, []maps.BackendID{20, 19}},
		{"no neighbour is free", []maps.BackendID{20, 0}, []maps.BackendID{1, 18, 19}, []maps.BackendID{20, 2}},
		{"too far apart", []maps.BackendID{7, 0, 10}, nil, []maps.BackendID{7, 1, 10}},
		{"too many to be small", []maps.BackendID{7, 0, 9, 8}, nil, []maps.BackendID{7, 1, 9, 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, s := newNumbers(1, 20, time.Minute), &service{}
			for _, id := range c.taken {
				n.claimBackend(&backend{id: id})
			}
			var fresh []*backend
			for _, id := range c.given {
				b := &backend{service: s, id: id}
				s.backends = append(s.backends, b)
				if id == 0 {
					fresh = append(fresh, b)
				} else {
					n.claimBackend(b)
				}
			}
			n.giveBackends(fresh)
			for i, b := range s.backends {
				if b.id != c.want[i] || n.backends[b.id] != b {
					t.Errorf("backend %d has number %d, want %d", i, b.id, c.want[i])
				}
			}
			if want := 20 - len(c.taken) - len(c.given); n.free != want {
				t.Errorf("%d numbers are free, want %d", n.free, want)
			}
		})
	}
}
