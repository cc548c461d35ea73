package control

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/control/neighbour"
	"github.com/xlb-project/xlb/maps"
)

// PlaneOptions returns what must be loaded for a configuration, and where.
func PlaneOptions(cfg *config.Config) maps.PlaneOptions {
	opts := maps.PlaneOptions{Generic: cfg.XDPMode == config.Generic, Settings: PlaneSettings(cfg), Features: PlaneFeatures(cfg)}
	for _, i := range cfg.Interfaces {
		opts.Interfaces = append(opts.Interfaces, i.Name)
	}
	return opts
}

// wider returns options under which both configurations work: what is new is
// there before the first service uses it, what is old until the last one does not.
func wider(is, to maps.PlaneOptions) maps.PlaneOptions {
	out := to
	either(reflect.ValueOf(&out.Features).Elem(), reflect.ValueOf(is.Features))
	larger(reflect.ValueOf(&out.Settings.Limits).Elem(), reflect.ValueOf(is.Settings.Limits))
	out.Interfaces = slices.Clone(is.Interfaces)
	for _, name := range to.Interfaces {
		if !slices.Contains(out.Interfaces, name) {
			out.Interfaces = append(out.Interfaces, name)
		}
	}
	return out
}

func either(to, other reflect.Value) {
	for i := range to.NumField() {
		to.Field(i).SetBool(to.Field(i).Bool() || other.Field(i).Bool())
	}
}

func larger(to, other reflect.Value) {
	for i := range to.NumField() {
		to.Field(i).SetInt(max(to.Field(i).Int(), other.Field(i).Int()))
	}
}

// widen loads a program that can do what a configuration needs beside what the
// present one does, if the one that runs cannot.
func (e *Engine) widen(cfg *config.Config, links []neighbour.Link) error {
	return e.load("load", wider(e.options, PlaneOptions(cfg)), links)
}

// narrow loads the program that the configuration needs and no more. Where that
// fails, the wider one does as well.
func (e *Engine) narrow() {
	if e.Plane == nil {
		return
	}
	if err := e.load("narrow", PlaneOptions(e.cfg), e.Interfaces); err != nil {
		e.warn(EventProgram, nil, nil, "the program keeps what it no longer needs: %v", err)
	}
}

// load replaces the program, and the tables whose sizes change with it.
func (e *Engine) load(step string, opts maps.PlaneOptions, links []neighbour.Link) error {
	if reflect.DeepEqual(opts, e.options) {
		return nil
	}
	if e.Plane == nil {
		return faultf(ErrInvalid, "the change needs another program, which this daemon cannot load: start it again")
	}
	if err := e.at(step); err != nil {
		return err
	}
	staged, err := e.Plane.Prepare(opts)
	if err != nil {
		return err
	}
	numbers := staged.Egress()
	if err := e.publish(staged); err != nil {
		return fmt.Errorf("change the program: %w", err)
	}
	e.options = opts
	e.number(links, numbers)
	e.tell(EventProgram, nil, nil, "another program runs")
	return nil
}

// publish fills the tables of a program that stands aside, if they are others
// than those in use, and puts it to work.
func (e *Engine) publish(staged Staged) error {
	former := e.Dataplane
	err := e.fillStaged(staged)
	if err == nil {
		if err = e.at("publish"); err == nil {
			err = staged.Publish()
		}
	}
	if err == nil {
		return nil
	}
	if discarded := staged.Discard(); discarded != nil {
		e.isBroken(discarded)
	}
	if !staged.Anew() {
		e.Dataplane = former
	} else {
		e.use(former)
		if failed := e.reconcile(); failed != nil {
			e.isBroken(failed)
		}
	}
	return err
}

func (e *Engine) fillStaged(staged Staged) error {
	if !staged.Anew() {
		e.Dataplane = staged.Tables()
		return nil
	}
	e.use(staged.Tables())
	return e.reconcile()
}

// use takes other tables, of whose contents nothing is taken for granted.
func (e *Engine) use(tables Dataplane) {
	e.Dataplane = tables
	e.published, e.listed, e.deny = nil, false, writtenRules{}
	for _, s := range e.services {
		s.written, s.torn = writtenSetup{}, s.slots != nil
		for _, b := range s.all() {
			if !b.found {
				b.row = maps.Backend{}
				b.stale()
			}
		}
	}
	e.setTick()
}

// reattach has the program put on interfaces again that were away: made anew, they
// have other numbers.
func (e *Engine) reattach() {
	if e.Plane == nil {
		return
	}
	mended, err := e.Plane.Mend()
	if err != nil {
		if e.unmended != err.Error() {
			e.unmended = err.Error()
			e.warn(EventProgram, nil, nil, "an interface that was away is not forwarded on: %v", err)
		}
		return
	}
	e.unmended = ""
	if !mended {
		return
	}
	links := e.Interfaces
	if e.Preflight != nil {
		if now, err := e.Preflight(e.cfg); err == nil { // fails while another one is away
			links = now
		}
	}
	e.number(links, e.Plane.Egress())
	e.tell(EventProgram, nil, nil, "the program is on an interface again that was away")
}

// programPlan says how the program changes for a configuration; nil if it does not.
func (e *Engine) programPlan(cfg *config.Config) *ProgramPlan {
	is, to := e.options, PlaneOptions(cfg)
	if reflect.DeepEqual(is, to) {
		return nil
	}
	p := &ProgramPlan{}
	compare(reflect.ValueOf(is.Features), reflect.ValueOf(to.Features), func(name string, _, now reflect.Value) {
		if now.Bool() {
			p.Added = append(p.Added, name)
		} else {
			p.Removed = append(p.Removed, name)
		}
	})
	compare(reflect.ValueOf(is.Settings.Limits), reflect.ValueOf(to.Settings.Limits), func(name string, was, now reflect.Value) {
		p.Resized = append(p.Resized, fmt.Sprintf("%s %d -> %d", name, was.Int(), now.Int()))
	})
	p.InterfacesAdded, p.InterfacesRemoved = without(to.Interfaces, is.Interfaces), without(is.Interfaces, to.Interfaces)
	is.Interfaces, to.Interfaces = nil, nil
	p.Reload = !reflect.DeepEqual(is, to)
	return p
}

// compare calls differs for each field that is not the same.
func compare(was, now reflect.Value, differs func(name string, was, now reflect.Value)) {
	for i := range was.NumField() {
		if a, b := was.Field(i), now.Field(i); !a.Equal(b) {
			differs(strings.ToLower(was.Type().Field(i).Name), a, b)
		}
	}
}

func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(name string) bool { return slices.Contains(other, name) })
}
