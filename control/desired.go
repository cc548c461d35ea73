package control

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/state"
)

// Desired is what a node is to run, and how that came about.
type Desired struct {
	Config   *config.Config // the file with the changes made at run time
	File     *config.Config // as it was read
	Revision uint64
	Applied  time.Time
	Known    bool            // there was a state, so that Backends is all there is
	Backends []state.Backend // administrative states
	Begun    *state.State    // as it was when a former daemon began a change that this one finishes
	Warnings []string        // what could not be restored
}

// FromFile is what a node without a past is to run.
func FromFile(file *config.Config) Desired {
	return Desired{Config: file, File: file, Revision: 1}
}

// mostAttempts is how many daemons try to finish a change before it is given up:
// it may be what kills them.
const mostAttempts = 2

// Recover returns what a node is to run: its file with the changes that were made
// at run time, as far as the state knows them and they still fit. loaded is the
// error from reading the state, if it could not be.
func Recover(file *config.Config, s state.State, loaded error) Desired {
	d := FromFile(file)
	if loaded != nil {
		d.warn("%v: changes made at run time are forgotten", loaded)
		return d
	}
	if s.Revision == 0 {
		return d
	}
	d.Known, d.Revision, d.Applied, d.Backends = true, s.Revision, s.Applied, s.Backends
	kept := s.Overlay
	if j := s.Journal; j != nil && j.Attempts < mostAttempts {
		d.Begun, d.Revision, d.Backends, kept = &s, j.Revision, j.Backends, j.Overlay
	} else if j != nil {
		d.warn("the change to revision %d by %s is given up: %d daemons ended while they made it", j.Revision, j.Actor, j.Attempts)
	}
	var overlay config.Overlay
	if err := json.Unmarshal([]byte(cmp.Or(string(kept), "{}")), &overlay); err != nil {
		d.warn("changes made at run time cannot be read and are forgotten: %v", err)
		return d
	}
	cfg, notes, err := config.Merge(file, overlay)
	if err != nil {
		d.warn("changes made at run time do not fit the configuration file any more and are forgotten: %v", err)
		return d
	}
	d.Config, d.Warnings = cfg, append(d.Warnings, notes...)
	return d
}

func (d *Desired) warn(format string, args ...any) {
	d.Warnings = append(d.Warnings, fmt.Sprintf(format, args...))
}

// desired is what is wanted, in the engine's keeping.
type desired struct {
	cfg      *config.Config // with the changes at run time; what services are by
	file     *config.Config // as last read
	revision uint64
	applied  time.Time
	begun    *state.State                 // a change to be finished
	restored bool                         // there was a state
	awaited  map[backendKey]state.Backend // of backends that have not been found again yet
	notes    []string
}

func newDesired(d Desired) desired {
	return desired{
		cfg: d.Config, file: d.File, revision: max(d.Revision, 1), applied: d.Applied, begun: d.Begun, restored: d.Known,
		notes: d.Warnings,
	}
}

// startFields gives a configuration the fields that another one has which only a
// new daemon can change.
func startFields(cfg, from *config.Config) *config.Config {
	c := *cfg
	c.HashKey, c.Instance, c.StateDir = from.HashKey, from.Instance, from.StateDir
	c.API.Socket, c.Metrics.Listen, c.Health.AllowExec = from.API.Socket, from.Metrics.Listen, from.Health.AllowExec
	return &c
}

// overlayOf is how a configuration differs from a file, as the state keeps it. What only a
// new daemon can change is the file's: the next one goes by that.
func overlayOf(file, cfg *config.Config) (json.RawMessage, error) {
	overlay := config.Between(file, startFields(cfg, file))
	if overlay.Empty() {
		return nil, nil
	}
	data, err := json.Marshal(overlay)
	if err != nil {
		return nil, fmt.Errorf("write the changes at run time: %w", err)
	}
	return data, nil
}

// save puts what must not be forgotten on the disk, with the change that begins.
func (e *Engine) save(journal *state.Journal) error {
	if e.Store == nil {
		return nil
	}
	overlay, err := overlayOf(e.file, e.cfg)
	if err != nil {
		return err
	}
	return e.Store.Save(state.State{
		Revision: e.revision, Overlay: overlay, Applied: e.applied, Backends: e.admins(e.cfg), Journal: journal,
	})
}

// admins are the administrative states of the backends that a configuration has.
func (e *Engine) admins(cfg *config.Config) []state.Backend {
	var out []state.Backend
	for _, s := range e.services {
		for _, b := range s.backends {
			if a := b.admin; a.state != AdminNone && has(cfg, b) {
				out = append(out, state.Backend{
					Service: s.cfg.Name, Address: b.cfg.Address.String(), Admin: a.state, Since: a.since, Deadline: a.deadline, Actor: a.actor,
				})
			}
		}
	}
	for key, k := range e.awaited {
		if i := serviceIndex(cfg, key.service); i >= 0 && cfg.Services[i].Discover != nil {
			out = append(out, k)
		}
	}
	return out
}

// has says whether a configuration has a backend, or may find it.
func has(cfg *config.Config, b *backend) bool {
	i := serviceIndex(cfg, b.service.cfg.Name)
	return i >= 0 && (cfg.Services[i].Discover != nil ||
		slices.ContainsFunc(cfg.Services[i].Backends, func(c config.Backend) bool { return c.Address == b.cfg.Address }))
}

// restoreAdmin gives backends the administrative states that were kept. Where the
// state is lost, those in the identity maps count.
func (e *Engine) restoreAdmin(kept []state.Backend) {
	if !e.restored {
		return
	}
	byKey := map[backendKey]state.Backend{}
	for _, k := range kept {
		if addr, err := netip.ParseAddr(k.Address); err == nil {
			byKey[backendKey{k.Service, addr}] = k
		}
	}
	for _, s := range e.services {
		for _, b := range s.backends {
			k, ok := byKey[b.key()]
			if _, sound := adminNumbers[k.Admin]; !ok || !sound {
				k = state.Backend{}
			}
			delete(byKey, b.key())
			b.admin = e.ordered(k)
			b.stale()
		}
	}
	e.awaited = byKey
}

func (e *Engine) ordered(k state.Backend) admin {
	return admin{state: k.Admin, since: k.Since, deadline: e.steady(k.Deadline), actor: k.Actor}
}

// reorder gives a new backend what an operator had ordered for it before the daemon
// started: one that has to be discovered again comes late.
func (e *Engine) reorder(b *backend) {
	if k, ok := e.awaited[b.key()]; ok {
		b.admin = e.ordered(k)
		delete(e.awaited, b.key())
	}
}

// steady gives a time that comes from a file the clock that no one sets: from now on
// it is as far away as it seems, whatever becomes of the wall clock.
func (e *Engine) steady(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	now := e.wall()
	return now.Add(t.Sub(now))
}
