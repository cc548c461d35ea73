package control

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/health"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/maps"
)

// backend is a wanted backend of one service, or one that is on its way out.
type backend struct {
	id      maps.BackendID
	cfg     *config.Backend
	service *service
	leaving bool // no longer wanted

	health  verdict
	hop     verdict
	way     neighbour.Update // that hop comes from, none before the first
	admin   admin
	ejected bool // clients' connections fail with it
	growth  growth

	// What follows from these, as of the last judgement.
	live  float64 // share of its slots that it takes, 0 to 1
	lives bool    // has flows

	closed time.Duration // when it took its last new flow

	next  maps.Backend      // its row without flags, unresolved while the next hop is
	row   maps.Backend      // as written
	found bool              // the row is one that a former daemon wrote: next and row do not tell its next hop
	entry maps.BackendEntry // as written

	flows   int     // recorded, as last swept
	quiet   quiet   // while it is drained
	checked checked // what the check that is set was made from
}

// backendKey is what makes a backend the same one over time: a server of a service.
type backendKey struct {
	service string
	address netip.Addr
}

func (b *backend) key() backendKey { return backendKey{b.service.cfg.Name, b.cfg.Address} }

// verdict is what is known about one condition of a backend.
type verdict struct {
	known   bool
	good    bool
	assumed bool // it is what a former daemon left behind
	reason  string
	since   time.Time
}

// admin is what an operator ordered for a backend.
type admin struct {
	state    string // AdminNone and its siblings
	since    time.Time
	deadline time.Time // of a drain, zero for none
	actor    string
}

// in says whether the backend may take new flows, as far as operators are concerned.
func (a admin) in() bool { return a.state == AdminNone }

// out says whether it may have flows at all.
func (a admin) out() bool { return a.state == AdminDrained || a.state == AdminDisabled }

// Numbers of administrative states in the identity maps; frozen.
var adminNumbers = map[string]uint8{AdminNone: 0, AdminDraining: 1, AdminDrained: 2, AdminDisabled: 3}

const (
	// adminGone marks a number whose backend is gone, while records may still name it.
	adminGone = 255
	// adminIll marks a backend whose check fails and that is used all the same, for
	// want of healthy ones.
	adminIll = 0x40
)

func adminOf(number uint8) string {
	for state, n := range adminNumbers {
		if n == number&^adminIll {
			return state
		}
	}
	return AdminNone
}

func (b *backend) String() string { return b.service.cfg.Name + "/" + b.cfg.Name }

// target names the backend to the checker. A server that takes over a name is
// another one.
func (b *backend) target() health.TargetID {
	return health.TargetID(b.service.cfg.Name + "/" + b.cfg.Address.String())
}

// settled says whether there is a first verdict.
func (b *backend) settled() bool { return b.health.known && b.hop.known }

// stale has the backend's row looked at although its fraction may be the same.
func (b *backend) stale() { b.service.changed = append(b.service.changed, b) }

// wanted is the row that the data path should have while the next hop is as it is.
func (b *backend) wanted() maps.Backend {
	row := b.next
	row.Up, row.Accepts = b.lives, b.live > 0
	return row
}

// named is what the identity map should say.
func (b *backend) named() maps.BackendEntry {
	e := maps.BackendEntry{
		ID: b.id, Service: b.service.id, Name: b.cfg.Name, Address: b.cfg.Address, Weight: b.cfg.Weight, Live: b.live,
		Admin: adminNumbers[b.admin.state],
	}
	if b.lives && !b.health.good {
		e.Admin |= adminIll
	}
	if b.leaving {
		e.Admin = adminGone
	}
	return e
}

// route is the data path's row for a backend with a next hop.
func (e *Engine) route(b *backend, hop neighbour.NextHop) (maps.Backend, error) {
	number, ok := e.egress[hop.Index]
	if !ok {
		return maps.Backend{}, fmt.Errorf("%s is reached through %s, where xlb is not attached: add it to interfaces", b.cfg.Address, hop.Interface)
	}
	return planeBackend(e.cfg, b.service.cfg, b.cfg, hop, number)
}

func describeHop(hop neighbour.NextHop) string {
	if hop.Gateway.IsValid() {
		return fmt.Sprintf("%s via %s", hop.Interface, hop.Gateway)
	}
	return hop.Interface
}
