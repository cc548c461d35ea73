package control

import (
	"bytes"
	"fmt"
	"net/netip"
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
	Journal  *state.Journal  // the change that a former daemon did not finish, and this one does
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
	was, is := s.File, s.Effective
	if j := s.Journal; j != nil && j.Attempts < mostAttempts {
		d.Journal, d.Revision, d.Backends = j, j.Revision, j.Backends
		was, is = j.File, j.Effective
	} else if j != nil {
		d.warn("the change to revision %d by %s is given up: %d daemons ended while they made it", j.Revision, j.Actor, j.Attempts)
	}
	cfg, err := restored(file, was, is)
	if err != nil {
		d.warn("changes made at run time do not fit the configuration file any more and are forgotten: %v", err)
		return d
	}
	d.Config = cfg
	return d
}

func (d *Desired) warn(format string, args ...any) {
	d.Warnings = append(d.Warnings, fmt.Sprintf(format, args...))
}

// restored brings the changes from one text to another into a file, which may
// have been edited since.
func restored(file *config.Config, was, is string) (*config.Config, error) {
	now, err := text(file)
	if err != nil {
		return nil, err
	}
	effective, err := config.Parse("state", []byte(is))
	if err != nil {
		return nil, err
	}
	if now == was {
		return effective, nil
	}
	former, err := config.Parse("state", []byte(was))
	if err != nil {
		return nil, err
	}
	return mergeStub(file, former, effective)
}

// text is a configuration as the state keeps it.
func text(cfg *config.Config) (string, error) {
	var b bytes.Buffer
	if err := cfg.Write(&b); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return b.String(), nil
}

// desired is what is wanted, in the engine's keeping.
type desired struct {
	cfg      *config.Config // with the changes at run time; what services are by
	file     *config.Config // as last read
	revision uint64
	applied  time.Time
	former   *state.Journal // to be finished
	restored bool           // there was a state
	warnings []string
	texts    map[*config.Config]string // of cfg and file
}

func newDesired(d Desired) desired {
	return desired{
		cfg: d.Config, file: d.File, revision: max(d.Revision, 1), applied: d.Applied, former: d.Journal, restored: d.Known,
		warnings: d.Warnings, texts: map[*config.Config]string{},
	}
}

// textOf is text, kept for as long as the configuration is in use.
func (d *desired) textOf(cfg *config.Config) (string, error) {
	if known, ok := d.texts[cfg]; ok {
		return known, nil
	}
	t, err := text(cfg)
	if err != nil {
		return "", err
	}
	for old := range d.texts {
		if old != d.cfg && old != d.file {
			delete(d.texts, old)
		}
	}
	d.texts[cfg] = t
	return t, nil
}

// save puts what must not be forgotten on the disk, with the change that begins.
func (e *Engine) save(journal *state.Journal) error {
	if e.Store == nil {
		return nil
	}
	file, err := e.textOf(e.file)
	if err != nil {
		return err
	}
	effective, err := e.textOf(e.cfg)
	if err != nil {
		return err
	}
	return e.Store.Save(state.State{
		Revision: e.revision, File: file, Effective: effective, Applied: e.applied, Backends: e.admins(e.cfg), Journal: journal,
	})
}

// admins are the administrative states of the backends that a configuration has.
func (e *Engine) admins(cfg *config.Config) []state.Backend {
	keep := map[string]map[netip.Addr]bool{}
	for i := range cfg.Services {
		s := &cfg.Services[i]
		keep[s.Name] = map[netip.Addr]bool{}
		for _, b := range s.Backends {
			keep[s.Name][b.Address] = true
		}
	}
	var out []state.Backend
	for _, s := range e.services {
		for _, b := range s.backends {
			if a := b.admin; a.state != AdminNone && (keep[s.cfg.Name][b.cfg.Address] || s.cfg.Discover != nil) {
				out = append(out, state.Backend{
					Service: s.cfg.Name, Address: b.cfg.Address.String(), Admin: a.state, Since: a.since, Deadline: a.deadline, Actor: a.actor,
				})
			}
		}
	}
	return out
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
			b.admin = admin{state: k.Admin, since: k.Since, deadline: k.Deadline, actor: k.Actor}
			b.stale()
		}
	}
}
