package main

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/xlb-project/xlb/bpf"
	"github.com/xlb-project/xlb/bpf/model"
	"github.com/xlb-project/xlb/loader"
	"github.com/xlb-project/xlb/maps"
)

// product is the data path, loaded and filled as on a node, attached to nothing.
type product struct {
	plane *loader.Dataplane
	limit maps.Limits
}

func newProduct(s *model.State, f maps.Features) (*product, error) {
	plane, err := loader.Load(maps.PlaneOptions{Settings: s.Settings, Features: f})
	if err != nil {
		return nil, err
	}
	p := &product{plane, s.Settings.Limits}
	if err := p.fill(s); err != nil {
		return nil, errors.Join(err, plane.Close())
	}
	return p, nil
}

func (p *product) program() *ebpf.Program { return p.plane.Program() }

// fill writes a state into the tables, names first, listeners last.
func (p *product) fill(s *model.State) error {
	t := p.plane.Tables
	for id, b := range s.Backends {
		address := s.Addresses[id]
		err := errors.Join(t.NameBackend(maps.BackendEntry{ID: id, Name: address.String(), Address: address}), t.SetBackend(id, b))
		if err != nil {
			return err
		}
	}
	for id, settings := range s.Services {
		err := errors.Join(
			t.SetServerIDs(id, settings.QUIC, s.ServerIDs[id]),
			t.SetService(id, settings),
			t.SetSlotTable(id, maps.Steady(s.Slots[id])),
		)
		if err != nil {
			return err
		}
	}
	for id, slots := range s.Transitions {
		if err := t.SetSlotTable(id, slots); err != nil {
			return err
		}
	}
	var deny []maps.Rule
	for _, source := range s.NodeDeny {
		deny = append(deny, maps.Rule{Source: source})
	}
	if err := t.SetRules(maps.NodeRules, deny); err != nil {
		return err
	}
	return t.SetListeners(s.Listeners)
}

// counted returns the packets that left for a reason, and all others.
func (p *product) counted(reason bpf.Reason) (these, others uint64) {
	forwarded := uint64(0)
	for id := range p.limit.Backends {
		forwarded += p.plane.Tables.BackendCounter(maps.BackendID(id + 1)).Packets
	}
	for _, r := range bpf.Reasons() {
		n := p.plane.Tables.ReasonCounter(r).Packets
		if r == bpf.ReasonForwarded {
			n += forwarded
		}
		if r == reason {
			these += n
		} else {
			others += n
		}
	}
	return these, others
}

// everyPacket returns an error unless this many packets left, all for one reason.
func (p *product) everyPacket(packets uint32, reason bpf.Reason) error {
	if these, others := p.counted(reason); these != uint64(packets) || others != 0 {
		return fmt.Errorf("of %d packets %d left as %s and %d otherwise: the result is void", packets, these, reason, others)
	}
	return nil
}
