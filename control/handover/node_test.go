package handover

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xlb-project/xlb/control/transition"
	"github.com/xlb-project/xlb/maps"
)

const idle = 15 * time.Minute

// inTransition is a table of two slots, of which the first passes from backend a to b.
func inTransition(a, b maps.BackendID) *transition.Table {
	t := transition.New(transition.Settings{Idle: idle}, []maps.BackendID{a, a})
	t.Change(0, []maps.BackendID{b, a}, func(maps.BackendID) bool { return true })
	return t
}

// The hashes of flows in the slots of such a table.
const (
	moving  = 0x1 << 60
	resting = 0x9 << 60
)

func known(id maps.BackendID, hash uint64) maps.Flow {
	return maps.Flow{Backend: id, State: maps.FlowKnown, Age: 3 * time.Second, Hash: hash}
}

func TestOnlyFlowsThatAPeerNeedsTravel(t *testing.T) {
	table := inTransition(1, 2)
	scan := transition.NewScan(1, []transition.Backend{{}, {Table: table, Lives: true}, {Table: table, Lives: true}, {Table: table, Lives: true}})
	who := func(id maps.BackendID) (Identity, bool) {
		return Identity{Service: "web", Slots: 2, Address: netip.AddrFrom4([4]byte{10, 1, 0, byte(id)})}, id != 3
	}
	flows := []maps.Flow{known(1, moving), known(2, moving+1<<36), known(1, resting), known(3, moving), {Backend: 1, State: 7, Hash: moving}}
	var b bytes.Buffer
	w, err := newWriter(&b, secret, node, at(noon))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range Strays(noon, slices.Values(flows), scan, who) {
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	batches, err := read(b.Bytes(), secret, node, guardAt(noon))
	age := 3*time.Second + hidden
	want := []Record{{one, maps.FlowKnown, age, moving}, {netip.MustParseAddr("10.1.0.2"), maps.FlowKnown, age, moving + 1<<36}}
	if err != nil || len(batches) != 1 || batches[0].Service != "web" || batches[0].Slots != 2 || !slices.Equal(batches[0].Records, want) {
		t.Errorf("sent %+v (error: %v)", batches, err)
	}
}

func atOnce(f func()) error { f(); return nil }

func TestFlowsThatHaveNoPlaceHereAreLeftOut(t *testing.T) {
	records := []Record{{one, maps.FlowKnown, 0, moving}, {two, maps.FlowNew, 0, moving}, {one, maps.FlowKnown, 0, resting}, {one, maps.FlowKnown, 0, moving}}
	data := stream(t,
		Batch{Service: "web", Slots: 2, Records: records}, Batch{Service: "web", Slots: 101, Records: records[:1]},
		Batch{Service: "gone", Slots: 2, Records: records[:2]},
	)
	r, err := NewReader(bytes.NewReader(data), secret, node, guardAt(noon))
	if err != nil {
		t.Fatal(err)
	}
	var added []maps.Flow
	add := func(flows []maps.Flow, bits int) int {
		if bits != node.Bits {
			t.Errorf("hashes have %d low bits, want the peer's %d", bits, node.Bits)
		}
		added = append(added, flows...)
		return len(flows) / 2
	}
	service := func(name string) (Service, bool) {
		return Service{Slots: 2, Backends: map[netip.Addr]maps.BackendID{one: 7}, Counts: inTransition(7, 8).Counts, Add: add}, name == "web"
	}
	taken, err := Receive(r, atOnce, service)
	if want := (Taken{Added: 1, Left: 1, Idle: 1, Unknown: 3, OtherSize: 1}); err != nil || taken != want {
		t.Errorf("taken %+v, want %+v (error: %v)", taken, want, err)
	}
	if want := slices.Repeat([]maps.Flow{{Backend: 7, State: maps.FlowKnown, Age: hidden, Hash: moving}}, 2); !slices.Equal(added, want) {
		t.Errorf("added %+v, want %+v", added, want)
	}
	short, err := NewReader(bytes.NewReader(data[:len(data)-1]), secret, node, guardAt(noon))
	if err != nil {
		t.Fatal(err)
	}
	if taken, err := Receive(short, atOnce, service); err == nil || err == io.EOF || taken.Added != 1 {
		t.Errorf("of a stream that was cut short %+v are taken (error: %v)", taken, err)
	}
}

func TestWhatCannotBeDoneEndsTheStream(t *testing.T) {
	r, err := NewReader(bytes.NewReader(stream(t, sample...)), secret, node, guardAt(noon))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := Receive(r, func(func()) error { return io.ErrClosedPipe }, nil)
	if !errors.Is(err, io.ErrClosedPipe) || !strings.Contains(err.Error(), "service web") || taken != (Taken{}) {
		t.Errorf("taken %+v, error %v", taken, err)
	}
}
