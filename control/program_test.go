package control

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	planemaps "github.com/xlb-project/xlb/maps"
)

// program is a Plane over the node's data path.
type program struct {
	n        *node
	loaded   []planemaps.PlaneOptions
	anew     bool // the next one has other tables
	refuses  func(step string) error
	discards int
}

func (p *program) Tables() Dataplane      { return p.n.plane }
func (p *program) Egress() map[int]uint32 { return map[int]uint32{7: 0, 8: 1} }
func (p *program) Mend() (bool, error)    { return false, nil }
func (p *program) Publish() error         { return nil }

func (p *program) Prepare(opts planemaps.PlaneOptions) (Staged, error) {
	if err := p.refuse("prepare"); err != nil {
		return nil, err
	}
	p.loaded = append(p.loaded, opts)
	s := &stagedProgram{program: p, tables: p.n.plane, anew: p.anew}
	if p.anew {
		s.tables = p.n.plane.copy()
	}
	return s, nil
}

func (p *program) refuse(step string) error {
	if p.refuses == nil {
		return nil
	}
	return p.refuses(step)
}

type stagedProgram struct {
	*program
	tables *plane
	anew   bool
}

func (s *stagedProgram) Tables() Dataplane { return s.tables }
func (s *stagedProgram) Anew() bool        { return s.anew }
func (s *stagedProgram) Discard() error    { s.discards++; return nil }

func (s *stagedProgram) Publish() error {
	if err := s.refuse("publish"); err != nil {
		return err
	}
	if s.anew && len(s.tables.listeners) != len(s.n.plane.listeners) {
		s.n.t.Errorf("a program with %d listeners takes over from one with %d", len(s.tables.listeners), len(s.n.plane.listeners))
	}
	s.n.plane = s.tables
	return nil
}

// copy is what a program with other tables begins with.
func (p *plane) copy() *plane {
	c := newPlane(p.t)
	c.services, c.names, c.rows = maps.Clone(p.services), maps.Clone(p.names), maps.Clone(p.rows)
	c.counters, c.flows, c.tick = maps.Clone(p.counters), slices.Clone(p.flows), p.tick
	return c
}

func withProgram(n *node) (*program, func(*Parts)) {
	p := &program{n: n}
	return p, func(parts *Parts) { parts.Plane = p }
}

const needsIPv6 = "  - {name: six, vip: \"2001:db8::1\", port: 80, forward: ipip, backends: [{address: 10.0.0.1}]}\n"

func TestAChangeThatNeedsMoreOfTheProgramHasItBeforeAndLosesItAfter(t *testing.T) {
	for name, anew := range map[string]bool{"same tables": false, "other tables": true} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, withBackends(withCheck, 1, 2))
			p, with := withProgram(n)
			n.start(with)
			n.up(1, 2)
			p.anew = anew
			before := n.plane.owners(0)
			tunnels := strings.Replace(withBackends(withCheck, 1, 2), "l2", "ipip", 1) + needsIPv6
			plan := n.mustApply(tunnels)
			if g := plan.Program; g == nil || !g.Reload || !slices.Contains(g.Added, "ipv6") || !slices.Contains(g.Added, "tunnel4") || !slices.Contains(g.Removed, "l2") {
				t.Errorf("plan %+v", plan.Program)
			}
			if len(p.loaded) != 2 || !p.loaded[0].Features.L2 || !p.loaded[0].Features.IPv6 || p.loaded[1].Features.L2 {
				t.Errorf("loaded were %d programs: want one with all, then one without what is not needed", len(p.loaded))
			}
			if !slices.Equal(n.plane.owners(0), before) || n.plane.transitions(0) != 0 || len(n.plane.listeners) != 2 {
				t.Errorf("slots moved, or %d listeners", len(n.plane.listeners))
			}
			n.plane.sound()
		})
	}
}

func TestAProgramThatIsRefusedChangesNothing(t *testing.T) {
	for _, step := range []string{"prepare", "publish"} {
		for name, anew := range map[string]bool{"same tables": false, "other tables": true} {
			t.Run(step+", "+name, func(t *testing.T) {
				n := newNode(t, withBackends(withCheck, 1, 2))
				p, with := withProgram(n)
				n.start(with)
				n.up(1, 2)
				p.anew = anew
				p.refuses = func(at string) error {
					if at == step {
						return errRefused
					}
					return nil
				}
				before := n.plane.seen()
				_, err := n.apply(withBackends(withCheck, 1, 2) + needsIPv6)
				if !errors.Is(err, errRefused) {
					t.Fatalf("error %v", err)
				}
				n.plane.seen().differs(t, before)
				if s := n.status(); s.Revision != 1 || s.Broken != "" || len(s.Services) != 1 || step == "publish" && p.discards != 1 {
					t.Errorf("revision %d, broken %q, %d services, %d discarded", s.Revision, s.Broken, len(s.Services), p.discards)
				}
				n.plane.sound()
			})
		}
	}
}
