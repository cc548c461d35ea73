package control

import (
	"errors"
	"strings"
	"testing"
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
