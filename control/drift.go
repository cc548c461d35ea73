package control

import (
	"context"

	"github.com/xlb-project/xlb/control/config"
)

// Drift says how what runs differs from the file: what has been changed at run time.
func (e *Engine) Drift(ctx context.Context) (Plan, error) {
	var p Plan
	err := e.do(ctx, func() {
		p = Plan{Revision: e.revision, Changes: e.drifted(), Services: []ServicePlan{}}
		p.Empty = len(p.Changes) == 0
	})
	return p, err
}

// drifted are the changes from the file to what runs.
func (e *Engine) drifted() []Change {
	changes := config.Diff(e.file, e.cfg)
	for _, s := range e.services {
		for _, b := range s.backends {
			if b.admin.state != AdminNone {
				changes = append(changes, Change{Action: ActionChange, Object: objectOf(b), Field: "admin", To: b.admin.state})
			}
		}
	}
	return changes
}

// noteDrift notes which objects differ from the file, as that takes a while to find out.
func (e *Engine) noteDrift() {
	e.differs = map[string]bool{}
	for _, c := range config.Diff(e.file, e.cfg) {
		e.differs[c.Object] = true
	}
}

// drift counts the objects that differ from the file, in their settings or by an
// operator's order.
func (e *Engine) drift() int {
	n := len(e.differs)
	for _, s := range e.services {
		for _, b := range s.backends {
			if b.admin.state != AdminNone && !e.differs[objectOf(b)] {
				n++
			}
		}
	}
	return n
}

func objectOf(b *backend) string { return "backend " + b.String() }
