package control

import (
	"context"
	"errors"
	"testing"

	"github.com/xlb-project/xlb/maps"
)

// fixedProgram is a program whose interface may have been made anew.
type fixedProgram struct {
	tables *plane
	egress map[int]uint32
	mended bool
	err    error
}

func (p *fixedProgram) Tables() Dataplane                         { return p.tables }
func (p *fixedProgram) Egress() map[int]uint32                    { return p.egress }
func (p *fixedProgram) Publish() error                            { return nil }
func (p *fixedProgram) Prepare(maps.PlaneOptions) (Staged, error) { return nil, errors.ErrUnsupported }
func (p *fixedProgram) Mend() (bool, error)                       { return p.mended, p.err }

func TestRowsFollowAnInterfaceThatWasAwayToItsNewNumber(t *testing.T) {
	n := newNode(t, twoServices)
	program := &fixedProgram{tables: n.plane, egress: map[int]uint32{7: 0}}
	n.start(func(p *Parts) { p.Plane = program })
	n.tell(nil, "10.0.0.1", "10.0.0.2", "10.0.0.3")
	for _, step := range []struct {
		mended bool
		err    error
		want   uint32
	}{{false, errors.New("no native XDP"), 0}, {true, nil, 5}} {
		program.egress, program.mended, program.err = map[int]uint32{7: 5}, step.mended, step.err
		if err := n.do(context.Background(), n.reattach); err != nil {
			t.Fatal(err)
		}
		n.status()
		for id, row := range n.plane.rows {
			if row.Egress != step.want {
				t.Errorf("mended %t: backend %d leaves by number %d, want %d", step.mended, id, row.Egress, step.want)
			}
		}
	}
}
