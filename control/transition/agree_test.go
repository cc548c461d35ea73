package transition

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/control/balance/sim"
	"github.com/xlb-project/xlb/maps"
)

const (
	backends = 5 // numbers 1 to 5; the simulation counts from 0
	idle     = 20 * time.Second
	learn    = 4 * time.Second
)

// twins are a Table and a sim.Node that live through the same history, and the slots and records of a data path that
// does what the table says.
type twins struct {
	*rapid.T
	table  *Table
	node   *sim.Node
	path   *path
	now    time.Duration
	owners []maps.BackendID
	phases []sim.Phase // by number, 0 unused
}

func newTwins(t *rapid.T, settings Settings) *twins {
	settings.Idle, settings.Learn = idle, learn
	w := &twins{T: t, phases: slices.Repeat([]sim.Phase{sim.Up}, backends+1)}
	w.phases[0] = sim.Down
	w.owners = w.drawOwners(rapid.IntRange(1, 6).Draw(t, "size"))
	w.table = New(settings, w.owners)
	w.node = sim.NewNode(sim.Settings{Idle: idle, LearnUDP: learn, Limit: settings.Limit}, w.simOwners(), w.simPhases())
	w.path = newPath(w.table)
	return w
}

func (w *twins) drawOwners(size int) []maps.BackendID {
	return rapid.SliceOfN(rapid.Map(rapid.IntRange(0, backends), func(i int) maps.BackendID { return maps.BackendID(i) }), size, size).Draw(w.T, "owners")
}

func (w *twins) simOwners() []sim.Backend {
	owners := make([]sim.Backend, len(w.owners))
	for s, b := range w.owners {
		owners[s] = sim.Backend(b) - 1
	}
	return owners
}

func (w *twins) simPhases() []sim.Phase { return slices.Clone(w.phases[1:]) }

func (w *twins) lives(b maps.BackendID) bool { return w.phases[b] != sim.Down }

// change draws new owners for some slots and new phases for some backends, and brings them in.
func (w *twins) change() {
	for range rapid.IntRange(0, 2).Draw(w.T, "phases") {
		b := rapid.IntRange(1, backends).Draw(w.T, "backend")
		w.phases[b] = sim.Phase(rapid.IntRange(int(sim.Down), int(sim.Up)).Draw(w.T, "phase"))
	}
	for s, b := range w.drawOwners(len(w.owners)) {
		if rapid.Bool().Draw(w.T, "moves") {
			w.owners[s] = b
		}
	}
	w.path.phases = w.phases
	w.path.store(w.table.Change(w.now, w.owners, w.lives))
	w.node.Change(w.now, w.simOwners(), w.simPhases())
	if again := w.table.Change(w.now, w.owners, w.lives); len(again) > 0 {
		w.Fatalf("the same change moved slots once more: %+v", again)
	}
}

// sweep ends transitions in both.
func (w *twins) sweep() {
	w.path.store(w.table.Sweep(w.now, w.scan(false)))
	needed := make([]bool, len(w.owners))
	w.node.Sweep(w.now, needed)
	w.node.End(w.now, needed)
}

// scan looks at the records and forgets those that it may, or none.
func (w *twins) scan(forget bool) *Scan {
	rows := make([]Backend, backends+1)
	for b := range rows {
		rows[b] = Backend{Table: w.table, Lives: w.lives(maps.BackendID(b))}
	}
	scan := NewScan(w.now, rows)
	for hash, r := range w.path.records {
		if scan.See(w.path.flow(w.now, hash, r)) && forget {
			delete(w.path.records, hash)
		}
	}
	return scan
}

// agree compares slots: those of the node, of the table, and what the moves have made of those in the data path.
func (w *twins) agree() {
	w.Helper()
	for s, want := range w.node.Slots() {
		got := w.table.Slot(s)
		if !got.Transition {
			got.Previous = got.Current
		}
		if got.Current != maps.BackendID(want.Current+1) || got.Previous != maps.BackendID(want.Previous+1) || got.Transition != want.Transition {
			w.Fatalf("at %s slot %d is %+v, of the model %+v", w.now, s, got, want)
		}
	}
	if got := w.table.Slots(); !slices.Equal(got, w.path.slots) {
		w.Fatalf("at %s slots are %+v, by the moves %+v", w.now, got, w.path.slots)
	}
}

// No record is forgotten before it expires, as in the model, where one counts again when its backend comes back.
func TestTableAgreesWithTheModelOverRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newTwins(t, Settings{Limit: rapid.SampledFrom([]time.Duration{0, 30 * time.Second}).Draw(t, "limit")})
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			w.now += time.Duration(rapid.SampledFrom([]int{0, 1, 1, 3, 10, 25}).Draw(t, "seconds")) * time.Second
			w.path.store(w.table.Learn(w.now))
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0, 1:
				w.change()
			case 2:
				w.sweep()
			case 3:
				w.table.Hold(w.now)
				w.node.PeerLost(w.now)
			default:
				p := sim.Packet{Hash: hashOf(rapid.IntRange(0, 20).Draw(t, "flow")), UDP: rapid.Bool().Draw(t, "UDP")}
				p.SYN = !p.UDP && rapid.Bool().Draw(t, "SYN")
				got, want := w.path.route(w.now, p.Hash, p), w.node.Route(w.now, p)
				if got != maps.BackendID(want+1) {
					t.Fatalf("at %s %+v goes to %d, in the model to %d; slots %+v", w.now, p, got, want+1, w.path.slots)
				}
			}
			w.agree()
		}
	})
}
