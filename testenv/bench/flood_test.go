package main

import (
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf/model"
	"github.com/xlb-project/xlb/control/config"
	"github.com/xlb-project/xlb/maps"
)

const (
	heldFlows    = 100_000
	floodPackets = 50 * million
	oldOwner     = maps.BackendID(1)
	newOwner     = maps.BackendID(2)
)

// underFlood is a service whose slots all pass from one backend to another, with the flow table that a node has unless told
// otherwise.
func underFlood() model.State {
	s := changing()
	s.Settings.Limits.Flows = config.DefaultFlows
	for i := range s.Transitions[0] {
		s.Transitions[0][i] = maps.Slot{Current: newOwner, Previous: oldOwner, Transition: true, Learned: true}
	}
	udp := s.Listeners[0]
	udp.Protocol = maps.UDP
	s.Listeners = append(s.Listeners, udp)
	return s
}

// sender sends one kind of packet into the product.
type sender struct {
	*wrapper
	t       *testing.T
	traffic traffic
}

func (p *product) sender(t *testing.T, st *stage, tr traffic) *sender {
	t.Helper()
	tr.grows = true
	w, err := newWrapper(tr, WrapperProgNothing, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.coll.Close)
	if err := w.into(p.program()); err != nil {
		t.Fatal(err)
	}
	return &sender{w, t, tr}
}

// send sends at least so many packets.
func (s *sender) send(st *stage, packets int) {
	s.t.Helper()
	const atOnce = 100_000
	before, err := s.counter(WrapperVarTurn)
	if err != nil {
		s.t.Fatal(err)
	}
	err = st.during([2]*ebpf.Program{s.vary, s.vary}, func() error {
		for sent := 0; sent < packets; sent += atOnce {
			if _, err := s.time(s.traffic.frame, atOnce); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	after, err := s.counter(WrapperVarTurn)
	if err != nil {
		s.t.Fatal(err)
	}
	if sent := int(after - before); sent < packets {
		s.t.Fatalf("%d packets were sent, want %d", sent, packets)
	}
}

func TestAFloodOfFirstPacketsBreaksNoneOfAHundredThousandFlows(t *testing.T) {
	onStage(t, func(st *stage) {
		state := underFlood()
		p, err := newProduct(&state, maps.Features{Tunnel4: true, Tracking: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer p.plane.Close()
		tables := p.plane.Tables
		tables.SetTick(1)
		flows := func() (n, known int) {
			for f := range tables.Flows() {
				n++
				if f.State == maps.FlowKnown {
					known++
				}
			}
			return n, known
		}
		begin, hold := p.sender(t, st, syn4(heldFlows)), p.sender(t, st, tcp4(heldFlows))
		begin.send(st, 4*heldFlows) // so many turns visit every flow
		hold.send(st, 4*heldFlows)
		if n, known := flows(); n != heldFlows || known != heldFlows {
			t.Errorf("of %d flows %d are recorded and %d known", heldFlows, n, known)
		}
		// The ACKs are of the SYNs' flows: an attacker who sends two packets of each fills the table with what looks like
		// connections, and still takes nobody's place.
		for _, first := range []traffic{syn4(unlimited), tcp4(unlimited), udp4(unlimited)} {
			p.sender(t, st, first).send(st, floodPackets/3+1)
		}
		n, known := flows()
		if room := config.DefaultFlows; n < room*9/10 || n > room {
			t.Errorf("the table of %d flows holds %d: the flood did not press", room, n)
		}
		t.Logf("%d records after the flood, %d of them of known flows", n, known)
		former := tables.BackendCounter(oldOwner).Packets
		hold.send(st, 4*heldFlows)
		if lost := tables.BackendCounter(oldOwner).Packets - former; lost != 0 {
			t.Errorf("%d packets of held flows went to the former owner: their records were lost", lost)
		}
	})
}
