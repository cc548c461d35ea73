package control

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// next takes events until one is of a kind.
func next(t *testing.T, events <-chan Event, kind EventKind) Event {
	t.Helper()
	for e := range events {
		if e.Kind == kind {
			return e
		}
	}
	t.Fatalf("the events end without one of kind %s", kind)
	return Event{}
}

func TestEventsTellWhatHappenedAndWhatHappens(t *testing.T) {
	n := upNode(t, withCheck, 1, 2)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	n.health(false, "web/10.0.0.1")
	events, err := n.Events(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, events, EventHealth); e.Backend != "10.0.0.1" || e.Service != "web" || e.Level != slog.LevelWarn || !strings.Contains(e.Text, "connection refused") {
		t.Errorf("health: %+v", e)
	}
	if _, err := n.SetWeight(ctx, Edit{Actor: "alice"}, "web", "10.0.0.2", 5); err != nil {
		t.Fatal(err)
	}
	if e := next(t, events, EventEdit); e.Actor != "alice" || e.Revision != 2 || !strings.Contains(e.Text, "from 100 to 5") {
		t.Errorf("edit: %+v", e)
	}
	if _, err := n.Drain(ctx, edit(), "web", "10.0.0.1", DrainOptions{}); err != nil {
		t.Fatal(err)
	}
	e := next(t, events, EventDrain)
	if e.Backend != "10.0.0.1" || e.Revision != 3 {
		t.Errorf("drain: %+v", e)
	}
	later, err := n.Events(ctx, e.Seq-1)
	if err != nil {
		t.Fatal(err)
	}
	if again := <-later; again.Seq != e.Seq || again.Text != e.Text {
		t.Errorf("after number %d comes %+v", e.Seq-1, again)
	}
	n.stop()
	for range events { // ends with the engine
	}
}

func TestASlowReaderLosesTheOldestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log eventLog
		for range keptEvents + 10 {
			log.add(Event{Kind: EventEdit})
		}
		if e, more := log.after(3); more != nil || e.Seq != 11 {
			t.Errorf("after number 3 of %d comes %d", log.newest(), e.Seq)
		}
		_, more := log.after(log.newest())
		select {
		case <-more:
			t.Error("there is no further one")
		default:
		}
		log.add(Event{Kind: EventEdit})
		<-more
	})
}

func TestWhatBefallsAMachineOfManyServicesIsToldOnce(t *testing.T) {
	var text strings.Builder
	text.WriteString("interfaces: [eth0]\nservices:\n")
	for i := range 50 {
		fmt.Fprintf(&text, "  - {name: s%d, vip: 192.0.2.%d, port: 80, forward: l2, slots: 101, backends: [{address: 10.0.0.1}, {address: 10.0.0.2}]}\n", i, i+1)
	}
	n := newNode(t, text.String())
	n.start()
	n.tell(nil, hosts(1, 2)...)
	before := n.events.newest()
	n.tell(errNoAnswer, hosts(1)...)
	hops := 0
	for seq := before; seq < n.events.newest(); seq++ {
		if e, _ := n.events.after(seq); e.Kind == EventNextHop {
			hops++
			if !strings.Contains(e.Text, "10.0.0.1") || !strings.Contains(e.Text, "50 services") || !strings.Contains(e.Text, errNoAnswer.Error()) {
				t.Errorf("event %+v", e)
			}
		}
	}
	if hops != 1 {
		t.Errorf("%d events", hops)
	}
}
