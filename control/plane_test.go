package control

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/xlb-project/xlb/maps"
)

// tb is a test, or a property's.
type tb interface {
	Helper()
	Error(...any)
	Errorf(string, ...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

// plane is a data path that keeps what was written to it, as maps.Tables does,
// and refuses what packets would trip over. It outlives engines.
type plane struct {
	t tb

	services  map[maps.ServiceID]string
	names     map[maps.BackendID]maps.BackendEntry
	settings  map[maps.ServiceID]maps.Service
	rules     map[maps.ServiceID][]maps.Rule
	ids       map[maps.ServiceID][]maps.ServerID
	rows      map[maps.BackendID]maps.Backend
	slots     map[maps.ServiceID][]maps.Slot
	whole     map[maps.ServiceID]int // tables written as a whole
	listeners []maps.Listener
	counters  map[maps.BackendID]maps.Counter
	signals   map[maps.BackendID]maps.SignalCounter
	flows     []maps.Flow
	tick      uint64
	log       []string
	writes    int
	fails     func(what string) error // before each write
	full      bool                    // there is no room for flows
	flowBits  int

	complained bool
}

func newPlane(t tb) *plane {
	return &plane{
		t: t, services: map[maps.ServiceID]string{}, names: map[maps.BackendID]maps.BackendEntry{}, settings: map[maps.ServiceID]maps.Service{},
		rules: map[maps.ServiceID][]maps.Rule{}, ids: map[maps.ServiceID][]maps.ServerID{}, rows: map[maps.BackendID]maps.Backend{},
		slots: map[maps.ServiceID][]maps.Slot{}, whole: map[maps.ServiceID]int{}, counters: map[maps.BackendID]maps.Counter{}, signals: map[maps.BackendID]maps.SignalCounter{},
	}
}

// write notes a write, or refuses it.
func (p *plane) write(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if p.fails != nil {
		if err := p.fails(what); err != nil {
			return err
		}
	}
	p.log = append(p.log, what)
	p.writes++
	return nil
}

func (p *plane) ServiceEntries() []maps.ServiceEntry {
	var out []maps.ServiceEntry
	for id, name := range p.services {
		out = append(out, maps.ServiceEntry{ID: id, Name: name})
	}
	slices.SortFunc(out, func(a, b maps.ServiceEntry) int { return int(a.ID) - int(b.ID) })
	return out
}

func (p *plane) BackendEntries() []maps.BackendEntry {
	var out []maps.BackendEntry
	for _, e := range p.names {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b maps.BackendEntry) int { return int(a.ID) - int(b.ID) })
	return out
}

func (p *plane) NameService(e maps.ServiceEntry) error {
	if err := p.write("name service %d", e.ID); err != nil {
		return err
	}
	if p.services[e.ID] = e.Name; e.Name == "" {
		delete(p.services, e.ID)
	}
	return nil
}

func (p *plane) NameBackend(e maps.BackendEntry) error {
	if err := p.write("name backend %d", e.ID); err != nil {
		return err
	}
	if e.Name != "" {
		p.names[e.ID] = e
		return nil
	}
	for _, f := range p.flows {
		if f.Backend == e.ID {
			p.complain("the number of backend %d is free while a flow names it", e.ID)
		}
	}
	delete(p.names, e.ID)
	return nil
}

func (p *plane) SetRules(id maps.ServiceID, rules []maps.Rule) error {
	if err := p.write("rules of %d", id); err != nil {
		return err
	}
	p.rules[id] = slices.Clone(rules)
	if s := p.settings[id]; s.Filter == maps.DenyOthers && len(rules) == 0 {
		p.complain("service %d denies everybody", id)
	}
	return nil
}

func (p *plane) SetServerIDs(id maps.ServiceID, _ maps.ServerIDLengths, ids []maps.ServerID) error {
	if err := p.write("server IDs of %d", id); err != nil {
		return err
	}
	for _, i := range ids {
		p.exists(i.Backend, "a server ID")
	}
	p.ids[id] = slices.Clone(ids)
	return nil
}

func (p *plane) ServerIDs(id maps.ServiceID) []maps.ServerID { return p.ids[id] }

func (p *plane) SetService(id maps.ServiceID, s maps.Service) error {
	if err := p.write("settings of %d", id); err != nil {
		return err
	}
	p.settings[id] = s
	return nil
}

func (p *plane) RemoveService(id maps.ServiceID) error {
	if err := p.write("remove service %d", id); err != nil {
		return err
	}
	for _, l := range p.listeners {
		if l.Service == id {
			p.complain("service %d is removed while %s leads there", id, l)
		}
	}
	delete(p.services, id)
	delete(p.settings, id)
	delete(p.rules, id)
	delete(p.ids, id)
	delete(p.slots, id)
	return nil
}

func (p *plane) SetListeners(l []maps.Listener) error {
	if err := p.write("listeners"); err != nil {
		return err
	}
	for _, is := range l {
		if _, ok := p.settings[is.Service]; !ok || p.services[is.Service] == "" {
			p.complain("%s leads to service %d, which is not there", is, is.Service)
		}
	}
	p.listeners = slices.Clone(l)
	return nil
}

func (p *plane) Backend(id maps.BackendID) maps.BackendState {
	r := p.rows[id]
	return maps.BackendState{Up: r.Up, Accepts: r.Accepts, Resolved: r.Forward != maps.Unresolved}
}

func (p *plane) SetBackend(id maps.BackendID, b maps.Backend) error {
	if err := p.write("backend %d %s", id, b.Forward); err != nil {
		return err
	}
	p.rows[id] = b
	return nil
}

func (p *plane) SetBackendState(id maps.BackendID, s maps.BackendState) error {
	if err := p.write("state of backend %d", id); err != nil {
		return err
	}
	r := p.rows[id]
	r.Up, r.Accepts = s.Up, s.Accepts
	p.rows[id] = r
	return nil
}

// complain says what packets would trip over, once.
func (p *plane) complain(format string, args ...any) {
	p.t.Helper()
	if !p.complained {
		p.complained = true
		p.t.Errorf(format, args...)
	}
}

// accepts says whether a service has a backend for new flows. Where it has none,
// slots may go to one without next hop, for the time that it has one again.
func (p *plane) accepts(id maps.ServiceID) bool {
	for b, e := range p.names {
		if e.Service == id && p.rows[b].Accepts {
			return true
		}
	}
	return false
}

// serves says whether packets can be sent by a number: one that is gone may still have flows.
func (p *plane) serves(id maps.BackendID) bool {
	e, ok := p.names[id]
	return ok && (e.Admin != adminGone || p.rows[id].Up || p.rows[id].Forward != maps.Unresolved)
}

// exists complains about a number that is nobody's.
func (p *plane) exists(id maps.BackendID, who string) {
	p.t.Helper()
	if id != 0 && !p.serves(id) {
		p.complain("%s names backend %d, which does not exist", who, id)
	}
}

func (p *plane) SlotTable(id maps.ServiceID) []maps.Slot { return slices.Clone(p.slots[id]) }

func (p *plane) SetSlotTable(id maps.ServiceID, slots []maps.Slot) error {
	if err := p.write("slots of %d", id); err != nil {
		return err
	}
	for _, s := range slots {
		p.slotNames(id, s)
	}
	p.slots[id] = slices.Clone(slots)
	p.whole[id]++
	return nil
}

func (p *plane) slotNames(id maps.ServiceID, s maps.Slot) {
	p.t.Helper()
	for _, b := range []maps.BackendID{s.Current, s.Previous} {
		p.exists(b, fmt.Sprintf("a slot of service %d", id))
		if b != 0 && p.names[b].Service != id {
			p.complain("a slot of service %d names backend %d of service %d", id, b, p.names[b].Service)
		}
	}
	if b := s.Current; b != 0 && p.rows[b].Forward == maps.Unresolved && p.accepts(id) {
		p.complain("a slot of service %d goes to backend %d, which has no next hop", id, b)
	}
}

func (p *plane) MoveSlots(id maps.ServiceID, moves []maps.Move) error {
	if err := p.write("moves of %d", id); err != nil {
		return err
	}
	for _, m := range moves {
		if was := p.slots[id][m.Slot].Current; was != m.To.Current {
			p.slotNames(id, m.To)
		}
		p.slots[id][m.Slot] = m.To
	}
	return nil
}

func (p *plane) Tick() uint64                                       { return p.tick }
func (p *plane) SetTick(seconds uint64)                             { p.tick = seconds }
func (p *plane) Flows() iter.Seq[maps.Flow]                         { return slices.Values(p.flows) }
func (p *plane) FlowCapacity() int                                  { return 1000 }
func (p *plane) ReasonCounter(maps.Reason) (c maps.Counter)         { return c }
func (p *plane) Forwarded() (sum maps.Counter)                      { return sum }
func (p *plane) BackendCounter(id maps.BackendID) maps.Counter      { return p.counters[id] }
func (p *plane) SignalCounter(id maps.BackendID) maps.SignalCounter { return p.signals[id] }
func (p *plane) ResetBackendCounter(id maps.BackendID)              { delete(p.counters, id) }
func (p *plane) ForgetFlows(match func(maps.Flow) bool) int {
	before := len(p.flows)
	p.flows = slices.DeleteFunc(p.flows, match)
	return before - len(p.flows)
}

// sound holds the whole data path against what packets need.
func (p *plane) sound() {
	p.t.Helper()
	p.holds(p.serves)
}

// bearable is sound where a change was cut off: slots and server IDs may still name
// who was taken out, as long as its row is its own. Packets pass it by.
func (p *plane) bearable() {
	p.t.Helper()
	p.holds(func(id maps.BackendID) bool { _, ok := p.names[id]; return ok })
}

func (p *plane) holds(mayBeNamed func(maps.BackendID) bool) {
	p.t.Helper()
	for id, slots := range p.slots {
		if _, ok := p.services[id]; !ok {
			p.complain("service %d has slots and no name", id)
		}
		for i, s := range slots {
			for _, b := range []maps.BackendID{s.Current, s.Previous} {
				if e := p.names[b]; b != 0 && (!mayBeNamed(b) || e.Service != id) {
					p.t.Fatalf("slot %d of service %d names backend %d, which is %+v", i, id, b, e)
				}
			}
		}
	}
	for id, ids := range p.ids {
		for _, i := range ids {
			if !mayBeNamed(i.Backend) {
				p.complain("a server ID of service %d names backend %d, which does not exist", id, i.Backend)
			}
		}
	}
	for _, l := range p.listeners {
		if p.services[l.Service] == "" {
			p.complain("%s leads to no service", l)
		}
	}
}

// owners are the current owners of a service's slots.
func (p *plane) owners(id maps.ServiceID) []maps.BackendID {
	out := make([]maps.BackendID, len(p.slots[id]))
	for i, s := range p.slots[id] {
		out[i] = s.Current
	}
	return out
}

// idOf finds a backend's number by "service/name".
func (p *plane) idOf(name string) maps.BackendID {
	p.t.Helper()
	for id, e := range p.names {
		if e.Admin != adminGone && p.services[e.Service]+"/"+e.Name == name {
			return id
		}
	}
	p.t.Fatalf("no backend is called %s", name)
	return 0
}

// transitions counts the slots of a service in transition.
func (p *plane) transitions(id maps.ServiceID) int {
	n := 0
	for _, s := range p.slots[id] {
		if s.Transition {
			n++
		}
	}
	return n
}

// record notes a flow of each of n hashes with the backend that its slot has now.
func (p *plane) record(id maps.ServiceID, n int) {
	for i := range n {
		hash := uint64(i+1) * 0x9e3779b97f4a7c15
		slot := p.slots[id][maps.SlotOf(hash, len(p.slots[id]))]
		if slot.Current != 0 {
			p.flows = append(p.flows, maps.Flow{Backend: slot.Current, State: maps.FlowKnown, Hash: hash &^ (1<<36 - 1)})
		}
	}
}

var errRefused = errors.New("refused by the test")
