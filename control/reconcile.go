package control

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/xlb-project/xlb/maps"
)

// reconcile writes all that the data path should hold and does not, in an order
// in which packets can live with every state in between: whoever is named is
// there before, in the identity maps first. What is no longer wanted stays; see
// cleanUp. It returns the first step that fails, and may be called again.
func (e *Engine) reconcile() error {
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"names", e.writeNames},
		{"backends", e.writeAllRows},
		{"settings", e.writeSettings},
		{"slots", e.writeAllSlots},
		{"listeners", e.publishListeners},
	} {
		if err := e.at(step.name); err != nil {
			return err
		}
		if err := step.do(); err != nil {
			return err
		}
	}
	return nil
}

// at is where tests fail.
func (e *Engine) at(step string) error {
	if e.Failpoint == nil {
		return nil
	}
	return e.Failpoint(step)
}

// writeNames notes who has which number, and starts the counters of those that
// are new to theirs.
func (e *Engine) writeNames() error {
	for _, s := range e.services {
		if !s.named {
			if err := e.Dataplane.NameService(maps.ServiceEntry{ID: s.id, Name: s.cfg.Name}); err != nil {
				return fmt.Errorf("name service %s: %w", s.cfg.Name, err)
			}
			s.named = true
		}
		for _, b := range s.backends {
			if b.entry.ID == 0 {
				e.Dataplane.ResetBackendCounter(b.id)
			}
			if err := e.writeName(b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *Engine) writeAllRows() error {
	e.settle()
	for _, s := range e.services {
		e.judge(s)
		if err := e.writeRows(s); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) writeAllSlots() error {
	for _, s := range e.services {
		if !e.mayWrite(s) || len(s.changed) == 0 && !s.torn {
			continue
		}
		if err := e.at("slots of " + s.cfg.Name); err != nil {
			return err
		}
		if err := e.writeSlots(s); err != nil {
			return err
		}
		if err := e.writeLost(s); err != nil {
			return err
		}
		s.changed = s.changed[:0]
	}
	return nil
}

// writtenRules are the rules of a filter as they were written.
type writtenRules struct {
	known bool
	rules []maps.Rule
}

// writeSettings writes how services' packets are treated, with all that this refers to.
func (e *Engine) writeSettings() error {
	if rules := ruleList(e.cfg.Deny, false); !e.deny.known || !slices.Equal(rules, e.deny.rules) {
		if err := e.Dataplane.SetRules(maps.NodeRules, rules); err != nil {
			return fmt.Errorf("set the node's deny list: %w", err)
		}
		e.deny = writtenRules{true, rules}
	}
	for _, s := range e.services {
		if err := e.writeService(s); err != nil {
			return fmt.Errorf("add service %s: %w", s.cfg, err)
		}
	}
	return nil
}

// writeService writes rules and server IDs before the settings that need them,
// and takes away those that are not needed after.
func (e *Engine) writeService(s *service) error {
	settings, rules, ids, tracked, w := s.settings(), s.rules(), s.serverIDs(), tracked(e.cfg, s.cfg), &s.written
	if w.known && w.settings == settings && w.tracked == tracked && slices.Equal(w.rules, rules) && slices.EqualFunc(w.ids, ids, sameID) {
		return nil
	}
	if s.slots != nil {
		if err := e.moveSlots(s, s.slots.Set(e.now(), tracked)); err != nil {
			return err
		}
	}
	if err := e.Dataplane.SetRules(s.id, union(w.rules, rules)); err != nil {
		return err
	}
	if settings.QUIC != (maps.ServerIDLengths{}) {
		if err := e.Dataplane.SetServerIDs(s.id, settings.QUIC, ids); err != nil {
			return err
		}
	}
	if err := e.Dataplane.SetService(s.id, settings); err != nil {
		return err
	}
	if settings.QUIC == (maps.ServerIDLengths{}) {
		if err := e.Dataplane.SetServerIDs(s.id, settings.QUIC, nil); err != nil {
			return err
		}
	}
	if err := e.Dataplane.SetRules(s.id, rules); err != nil {
		return err
	}
	s.written = writtenSetup{true, settings, tracked, rules, ids}
	return nil
}

func sameID(a, b maps.ServerID) bool {
	return a.Rotation == b.Rotation && a.Backend == b.Backend && slices.Equal(a.ID, b.ID)
}

// union returns rules with those of former ones that say nothing about the same
// prefix: between the two settings both lists hold.
func union(former, rules []maps.Rule) []maps.Rule {
	if len(former) == 0 {
		return rules
	}
	out := slices.Clone(rules)
	covered := map[any]bool{}
	for _, r := range rules {
		covered[r.Source] = true
	}
	for _, r := range former {
		if !covered[r.Source] {
			out = append(out, r)
		}
	}
	return out
}

// wait has VIPs of new services wait for the first verdicts on their backends.
// Until then their packets go to the kernel, afterwards a service without
// backends drops with that reason.
func (e *Engine) wait() {
	e.pending = true
	e.settles = e.now() + settleTime
	e.settle()
}

// settle finds out whether the wait is over.
func (e *Engine) settle() {
	if e.pending && (e.now() >= e.settles || !slices.ContainsFunc(e.services, func(s *service) bool { return !s.serving && !s.settled() })) {
		e.pending, e.listed = false, false
	}
}

// publishListeners makes the VIPs of services xlb's whose tables are filled.
func (e *Engine) publishListeners() error {
	if e.listed {
		return nil
	}
	listeners := e.listeners()
	if e.listed = e.published != nil && slices.Equal(listeners, *e.published); e.listed {
		return nil
	}
	if err := e.Dataplane.SetListeners(listeners); err != nil {
		return fmt.Errorf("publish services: %w", err)
	}
	e.published, e.listed = &listeners, true
	n := 0
	for _, s := range e.services {
		if s.serving = e.mayWrite(s); s.serving {
			n++
		}
	}
	e.tell(EventServing, nil, nil, "serving %d services", n)
	return nil
}

// listeners are the rows by which packets are known, in an order of their own.
func (e *Engine) listeners() []maps.Listener {
	var out []maps.Listener
	for _, s := range e.services {
		if e.mayWrite(s) {
			out = append(out, s.listeners()...)
		}
	}
	slices.SortFunc(out, func(a, b maps.Listener) int {
		return cmp.Or(a.VIP.Addr().Compare(b.VIP.Addr()), cmp.Compare(a.VIP.Bits(), b.VIP.Bits()), cmp.Compare(a.Protocol, b.Protocol),
			cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), cmp.Compare(a.Service, b.Service))
	})
	return out
}

// cleanUp takes back what is no longer wanted, after nothing names it any more:
// services before their backends. What fails is tried again later.
func (e *Engine) cleanUp() {
	if err := e.remove(); err != nil {
		e.isBroken(err)
	}
}

func (e *Engine) remove() error {
	if err := e.at("remove"); err != nil {
		return err
	}
	for len(e.gone) > 0 {
		s := e.gone[0]
		if err := e.Dataplane.RemoveService(s.id); err != nil {
			return fmt.Errorf("remove service %s: %w", s.cfg.Name, err)
		}
		for _, b := range s.gone {
			b.lives = false
		}
		if err := e.removeBackends(s); err != nil {
			return err
		}
		e.numbers.freeService(s)
		e.gone = e.gone[1:]
	}
	for _, s := range e.services {
		if err := e.removeBackends(s); err != nil {
			return err
		}
	}
	return nil
}

// removeBackends clears the rows of backends that are gone and have no flows. Their
// numbers stay out of use while a flow record may name them.
func (e *Engine) removeBackends(s *service) error {
	lingering := s.gone[:0:0]
	for len(s.gone) > 0 {
		b := s.gone[0]
		if b.lives && !e.drained(b) {
			lingering = append(lingering, b)
			s.gone = s.gone[1:]
			continue
		}
		if err := e.Dataplane.SetBackend(b.id, maps.Backend{}); err != nil {
			return fmt.Errorf("remove backend %s: %w", b, err)
		}
		e.unindexBackend(b)
		b.lives, b.live = false, 0
		if err := e.writeName(b); err != nil {
			return err
		}
		e.numbers.isolate(e.now(), b)
		s.gone = s.gone[1:]
	}
	s.gone = lingering
	return nil
}
