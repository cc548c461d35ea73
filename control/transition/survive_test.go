package transition

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/xlb-project/xlb/control/balance/sim"
	"github.com/xlb-project/xlb/maps"
)

// conversation is a flow that speaks at least once per idle timeout; a UDP one, once per learning period.
type conversation struct {
	tuple, hash uint64
	udp         bool
	holder      maps.BackendID
	spoke       time.Duration
}

// town is clients that talk through a table. Its addresses are used again by later conversations.
type town struct {
	*twins
	talks  []*conversation // by tuple; nil if there is none now
	broken int
}

func (w *town) speak(c *conversation, syn bool) {
	got := w.path.route(w.now, c.hash, sim.Packet{Hash: c.tuple, UDP: c.udp, SYN: syn})
	c.spoke = w.now
	if c.holder == 0 {
		c.holder = got
	}
	if got != c.holder {
		w.broken++
		c.holder = 0
	}
}

// step plays a few seconds: packets, and perhaps a change or a sweep. A backend that died is seen dead by a scan before
// it comes back.
func (w *town) step() {
	w.now += time.Duration(rapid.IntRange(1, 3).Draw(w.T, "seconds")) * time.Second
	w.path.store(w.table.Learn(w.now))
	switch rapid.IntRange(0, 3).Draw(w.T, "event") {
	case 0:
		w.change()
		w.scan(true)
	case 1:
		w.path.store(w.table.Sweep(w.now, w.scan(true)))
	}
	for i, c := range w.talks {
		if c != nil && (c.holder == 0 || !w.lives(c.holder)) { // never had a server, broke or died with it
			w.talks[i], c = nil, nil
		}
		switch {
		case c == nil:
			if rapid.Bool().Draw(w.T, "begins") {
				w.begin(i)
			}
		case rapid.IntRange(0, 9).Draw(w.T, "ends") == 0:
			w.talks[i] = nil
		default:
			longest := idle
			if c.udp {
				longest = learn
			}
			if w.now-c.spoke > longest-4*time.Second || rapid.Bool().Draw(w.T, "speaks") {
				w.speak(c, false)
			}
		}
	}
}

func (w *town) begin(i int) {
	c := &conversation{tuple: hashOf(i), hash: hashOf(i), udp: i%3 == 0}
	if w.table.settings.BySource {
		c.hash = hashOf(100 + i%4)
	}
	w.talks[i] = c
	w.speak(c, !c.udp)
}

func liveThrough(t *testing.T, tracking Tracking, bySource bool) (broken int) {
	rapid.Check(t, func(t *rapid.T) {
		w := &town{twins: newTwins(t, Settings{Tracking: tracking, BySource: bySource}), talks: make([]*conversation, 12)}
		w.path.phases = w.phases
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.step()
			if w.broken > 0 && tracking != Never {
				t.Fatalf("at %s %d conversations broke; slots %+v", w.now, w.broken, w.path.slots)
			}
		}
		broken += w.broken
		for range 2 {
			w.now += idle + time.Second
			w.path.store(w.table.Sweep(w.now, w.scan(true)))
		}
		if w.table.Open() != 0 || len(w.path.records) != 0 {
			t.Fatalf("long after the last packet %d slots are in transition and %d records left", w.table.Open(), len(w.path.records))
		}
		w.atRest()
	})
	return broken
}

func (w *town) atRest() {
	for s, slot := range w.path.slots {
		if slot != rest(w.owners[s]) {
			w.Fatalf("at rest slot %d of %d is %+v", s, w.owners[s], slot)
		}
	}
}

func TestNoConversationBreaks(t *testing.T) {
	liveThrough(t, Change, false)
}

func TestNoConversationBreaksUnderAffinityBySource(t *testing.T) {
	liveThrough(t, Change, true)
}

func TestWithoutTrackingConversationsBreak(t *testing.T) {
	if liveThrough(t, Never, false) == 0 {
		t.Error("the changes were harmless: the other tests prove nothing")
	}
}
