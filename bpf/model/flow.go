package model

import (
	"math/bits"

	"github.com/xlb-project/xlb/maps"
)

// flowState is what has been seen of a recorded flow.
type flowState uint8

const (
	flowNew     flowState = 1 + iota // a first packet
	flowKnown                        // more than that
	flowClosing                      // its end
)

type flowRecord struct {
	tag     uint64
	backend maps.BackendID // 0: there is no record in this place
	state   flowState
	second  uint64 // of the last packet
}

const (
	flowAge     = 900 // seconds, unless the settings say otherwise
	bucketFlows = 8
	tagBits     = 28 // of a tuple hash, the highest: they tell the flows of a bucket apart
	flagFIN     = 0x01
	flagRST     = 0x04
)

// flowTable holds records of flows in buckets.
type flowTable struct {
	tick    uint64
	idle    uint64                              // seconds
	mask    uint64                              // what of a tuple hash numbers its bucket
	buckets map[uint64]*[bucketFlows]flowRecord // those in use
}

func newFlowTable(limit int) flowTable {
	filled := uint((max(limit, 1) + bucketFlows - 1) / bucketFlows)
	return flowTable{idle: flowAge, mask: 1<<bits.Len(filled-1) - 1, buckets: make(map[uint64]*[bucketFlows]flowRecord)}
}

func (t *flowTable) bucket(tuple uint64) *[bucketFlows]flowRecord {
	b := t.buckets[tuple&t.mask]
	if b == nil {
		b = new([bucketFlows]flowRecord)
		t.buckets[tuple&t.mask] = b
	}
	return b
}

func (t *flowTable) exists(r *flowRecord) bool {
	return r.backend != 0 && t.tick-r.second <= t.idle
}

// find returns a flow's record, or nil.
func (t *flowTable) find(tuple uint64) *flowRecord {
	bucket := t.bucket(tuple)
	for i := range bucket {
		if r := &bucket[i]; t.exists(r) && r.tag == tagOf(tuple) {
			return r
		}
	}
	return nil
}

func tagOf(tuple uint64) uint64 { return tuple >> (64 - tagBits) }

// place returns where a flow's new record goes, nil if nothing there may go.
func (t *flowTable) place(tuple uint64) *flowRecord {
	if former := t.find(tuple); former != nil {
		return former
	}
	bucket := t.bucket(tuple)
	for i := range bucket {
		if !t.exists(&bucket[i]) {
			return &bucket[i]
		}
	}
	for _, state := range []flowState{flowClosing, flowNew} {
		var longest *flowRecord
		for i := range bucket {
			if r := &bucket[i]; r.state == state && (longest == nil || r.second < longest.second) {
				longest = r
			}
		}
		if longest != nil {
			return longest
		}
	}
	return nil
}

// SetTick sets the clock of the records of flows, in whole seconds. It does not
// go back.
func (m *Model) SetTick(seconds uint64) { m.flows.tick = seconds }

// SetTransition gives a service of the state another slot table, which must not
// change afterwards.
func (m *Model) SetTransition(id maps.ServiceID, slots []maps.Slot) {
	m.services[id].slots = slots
}

// SetBackend changes a backend.
func (m *Model) SetBackend(id maps.BackendID, b maps.Backend) { m.backends[id] = &b }

// owner is whom the flow's slot and its record name, 0 if nobody.
func (m *Model) owner(p *packet) maps.BackendID {
	slots := p.service.slots
	if len(slots) == 0 {
		return 0
	}
	slot := slots[p.hash>>32*uint64(len(slots))>>32]
	if !slot.Transition && p.service.settings.TrackAlways && slot.Current != 0 {
		slot = maps.Slot{Current: slot.Current, Previous: slot.Current, Transition: true, Learned: true}
	}
	if !slot.Transition || p.later {
		return slot.Current
	}
	return m.track(p, slot)
}

// track is what a slot in transition does with a packet.
func (m *Model) track(p *packet, slot maps.Slot) maps.BackendID {
	tuple := m.flowHash(&p.flow, &byFlow)
	syn := !p.isError && p.isNewConnection()
	ends := !p.isError && p.endsConnection()
	r := m.flows.find(tuple)
	if r != nil && m.follows(r.backend, syn) {
		if !p.isError {
			r.second = m.flows.tick
			r.state = r.state.after(syn, ends)
		}
		return r.backend
	}
	previous := slot.Previous
	if b := m.backends[previous]; b == nil || !b.Up {
		previous = slot.Current
	}
	place := m.flows.place(tuple) // a flow that cannot have one is previous's, from its first packet on
	owner := previous
	if place != nil && (syn || r != nil || maps.Protocol(p.flow.protocol) == maps.UDP && slot.Learned) {
		owner = slot.Current
	}
	if place != nil && !p.isError && !ends && owner != 0 {
		*place = flowRecord{tag: tagOf(tuple), backend: owner, state: flowNew, second: m.flows.tick}
	}
	return owner
}

// follows says whether a packet may go to the backend that its record names.
func (m *Model) follows(id maps.BackendID, syn bool) bool {
	b := m.backends[id]
	if b == nil {
		return false
	}
	if syn {
		return b.Accepts
	}
	return b.Up
}

func (p *packet) endsConnection() bool {
	return maps.Protocol(p.flow.protocol) == maps.TCP && p.ip[p.l4+tcpFlags]&(flagFIN|flagRST) != 0
}

// after is the state that a packet of the flow makes of this one.
func (s flowState) after(syn, ends bool) flowState {
	switch {
	case syn && s == flowClosing:
		return flowNew
	case syn:
		return s
	case ends || s == flowClosing:
		return flowClosing
	}
	return flowKnown
}
