package discovery

import (
	"context"

	"github.com/xlb-project/xlb/control/config"
)

// replicas are found at once and never change.
type replicas struct {
	rules
	cfg *config.Replicas
}

func (r *replicas) Run(ctx context.Context, emit func(Set)) {
	r.find(emit)
	<-ctx.Done()
}

func (r *replicas) find(emit func(Set)) {
	k := &keeper{rules: r.rules, what: "number replicas of " + r.cfg.Address, emit: emit}
	k.found(r.cfg.Backends(r.service.Discover.Weight))
}
