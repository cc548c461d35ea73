package control

import (
	"reflect"

	"github.com/xlb-project/xlb/control/config"
)

func mergeStub(file, former, effective *config.Config) (*config.Config, error) {
	return effective, nil
}

func diffStub(a, b *config.Config) (out []Change) {
	was := map[string]*config.Service{}
	for i := range a.Services {
		was[a.Services[i].Name] = &a.Services[i]
	}
	for i := range b.Services {
		s := &b.Services[i]
		old := was[s.Name]
		delete(was, s.Name)
		switch {
		case old == nil:
			out = append(out, Change{Action: ActionAdd, Object: "service " + s.Name})
		case !reflect.DeepEqual(old, s):
			out = append(out, Change{Action: ActionChange, Object: "service " + s.Name})
		}
	}
	for name := range was {
		out = append(out, Change{Action: ActionRemove, Object: "service " + name})
	}
	x, y := *a, *b
	x.Services, y.Services, x.File, y.File = nil, nil, "", ""
	if !reflect.DeepEqual(x, y) {
		out = append(out, Change{Action: ActionChange, Object: "node"})
	}
	return out
}
