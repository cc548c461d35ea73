package control

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/control/state"
)

// change is another configuration that is to become the effective one.
type change struct {
	cfg   *config.Config
	file  *config.Config // the file as it is now
	kind  EventKind
	actor string
	text  string
}

// bring makes a change, or leaves everything as it was and says which step
// failed. A kill at any point is repaired by the next daemon: what is to be is on
// the disk before the first packet sees it.
func (e *Engine) bring(c change) (Plan, error) {
	p, d, err := e.plan(c.cfg)
	if err != nil {
		return Plan{}, err
	}
	if p.Empty {
		return p, e.keepFile(c)
	}
	links, err := e.preflight(c.cfg, p.Changes)
	if err != nil {
		return Plan{}, err
	}
	if err := e.begin(c); err != nil {
		return Plan{}, fmt.Errorf("note the change: %w", err)
	}
	if err := e.take(c, d, links); err != nil {
		if failed := e.save(nil); failed != nil {
			e.isBroken(failed)
		}
		return Plan{}, err
	}
	e.file, e.revision, e.applied = c.file, e.revision+1, e.wall()
	e.noteDrift()
	e.event(Event{Kind: c.kind, Text: c.text, Actor: c.actor, Revision: e.revision}, nil, nil)
	e.finish()
	p.Revision = e.revision
	return p, nil
}

// keepFile takes in that the file changed where nothing else did.
func (e *Engine) keepFile(c change) error {
	former := e.file
	e.file = c.file
	if len(config.Diff(former, c.file)) == 0 {
		return nil
	}
	e.noteDrift()
	return e.save(nil)
}

// preflight holds a configuration against the machine.
func (e *Engine) preflight(cfg *config.Config, changes []Change) ([]neighbour.Link, error) {
	for _, c := range changes {
		if c.Restart {
			return nil, faultf(ErrInvalid, "%s: only a new daemon can change it, as %s: write it to the configuration file and start the daemon again", c.Field, c.Reason)
		}
	}
	if e.Preflight == nil {
		return e.Interfaces, nil
	}
	links, err := e.Preflight(cfg)
	if err != nil {
		return nil, &fault{ErrInvalid, err.Error()}
	}
	return links, nil
}

// begin puts the change on the disk.
func (e *Engine) begin(c change) error {
	if err := e.at("journal"); err != nil || e.Store == nil {
		return err
	}
	overlay, err := overlayOf(c.file, c.cfg)
	if err != nil {
		return err
	}
	return e.save(&state.Journal{Revision: e.revision + 1, Overlay: overlay, Backends: e.admins(c.cfg), Actor: c.actor})
}

// take brings a draft into the data path. On an error it is taken back.
func (e *Engine) take(c change, d *draft, links []neighbour.Link) error {
	former, formerLinks := e.cfg, e.Interfaces
	if err := e.widen(c.cfg, links); err != nil {
		return err
	}
	if err := e.install(d, func() (*draft, error) { return e.draft(former) }); err != nil {
		e.Interfaces = formerLinks
		e.narrow()
		return err
	}
	return nil
}

// install commits a draft and writes it. On an error it goes back to the draft that
// former returns.
func (e *Engine) install(d *draft, former func() (*draft, error)) error {
	e.commit(d)
	if slices.ContainsFunc(e.services, func(s *service) bool { return !s.serving }) {
		e.wait()
	}
	err := e.reconcile()
	if err == nil {
		return nil
	}
	back, failed := former()
	if failed == nil {
		back.back = true
		e.commit(back)
		failed = e.reconcile()
	}
	if failed != nil {
		e.isBroken(fmt.Errorf("take back a change: %w", failed))
	}
	e.cleanUp()
	return fmt.Errorf("the change is taken back: %w", err)
}

// finish does what comes after a change that stands: nothing of it can fail so
// that it would have to be taken back.
func (e *Engine) finish() {
	e.narrow()
	e.seek()
	e.cleanUp()
	if err := e.at("done"); err != nil {
		e.isBroken(err)
		return
	}
	for _, err := range []error{e.save(nil), e.watch()} {
		if err != nil {
			e.isBroken(err)
		}
	}
	e.follow()
}

// Config returns the configuration that the node is to run.
func (e *Engine) Config(ctx context.Context) (Effective, error) {
	var out Effective
	err := e.do(ctx, func() { out = Effective{Config: e.cfg, Revision: e.revision, File: e.file.File} })
	return out, err
}

// Apply makes the request's configuration the effective one, or changes nothing
// and says why. It returns ErrConflict if the request names a revision that is
// not the present one, and ErrInvalid if the configuration does not fit.
func (e *Engine) Apply(ctx context.Context, r Request) (Plan, error) {
	if err := r.Config.Validate(); err != nil {
		return Plan{}, &fault{ErrInvalid, err.Error()}
	}
	now, unreadable := e.readFile()
	return e.request(ctx, r.Revision, func() (change, error) {
		file := e.file
		switch {
		case unreadable != nil:
			e.warn(EventReload, nil, nil, "the configuration file cannot be read: %v", unreadable)
		case now != nil:
			file = now
		}
		return change{r.Config, file, EventApply, r.Actor, "applied " + r.Source}, nil
	})
}

// readFile reads the configuration file, which may take a while: not in the
// engine's goroutine. It returns nil if there is none.
func (e *Engine) readFile() (*config.Config, error) {
	if e.ReadFile == nil {
		return nil, nil
	}
	return e.ReadFile()
}

// Reload reads the file again and keeps the changes made at run time.
func (e *Engine) Reload(ctx context.Context, actor string) (Plan, error) {
	file, err := e.readFile()
	if file == nil && err == nil {
		return Plan{}, faultf(ErrInvalid, "there is no configuration file to read")
	}
	return e.request(ctx, 0, func() (change, error) {
		if err == nil {
			var c change
			if c, err = e.reloaded(file); err == nil {
				c.actor = actor
				return c, nil
			}
		}
		e.event(Event{Kind: EventReload, Level: slog.LevelError, Text: "the configuration file is not used: " + err.Error(), Actor: actor}, nil, nil)
		return change{}, &fault{ErrInvalid, err.Error()}
	})
}

// reloaded is what a file makes of the configuration, with what was changed at run
// time and what only a new daemon changes.
func (e *Engine) reloaded(file *config.Config) (change, error) {
	cfg, notes, err := config.Merge(file, config.Between(e.file, startFields(e.cfg, e.file)))
	if err != nil {
		return change{}, err
	}
	for _, c := range config.Diff(e.cfg, cfg) {
		if c.Restart {
			notes = append(notes, fmt.Sprintf("%s: only a new daemon can change it: %s", c.Field, c.Reason))
		}
	}
	for _, note := range notes {
		e.warn(EventReload, nil, nil, "%s", note)
	}
	return change{cfg: startFields(cfg, e.cfg), file: file, kind: EventReload, text: "the configuration file was read again"}, nil
}

// request makes a change in the engine's goroutine.
func (e *Engine) request(ctx context.Context, revision uint64, prepare func() (change, error)) (Plan, error) {
	var p Plan
	var err error
	ended := e.do(ctx, func() {
		if err = e.sees(revision); err != nil {
			return
		}
		var c change
		if c, err = prepare(); err != nil {
			return
		}
		p, err = e.bring(c)
		if err != nil {
			e.event(Event{Kind: c.kind, Level: slog.LevelError, Text: err.Error(), Actor: c.actor}, nil, nil)
		}
	})
	if ended != nil {
		return Plan{}, ended
	}
	return p, err
}
