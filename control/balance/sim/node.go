package sim

import "time"

// Backend identifies a backend. Identifiers are never used twice.
type Backend = int32

// Phase says what a backend can do.
type Phase uint8

const (
	Down     Phase = iota // dead: its connections are gone
	Draining              // it serves the connections that it has
	Up                    // it accepts connections
)

// Slot is one entry of a slot table. The data path needs the first three fields and whether the learning is over; the times
// are the control plane's.
type Slot struct {
	Current    Backend // the owner that the table names
	Previous   Backend // the owner of flows without a record; Current unless in transition
	Transition bool    // Previous and the records count; otherwise Current alone
	Opened     time.Duration
	Changed    time.Duration // when Current changed last
	Holds      time.Duration // the transition does not end before, unless its time is up
}

// Record is what the flow table holds of one flow.
type Record struct {
	Backend Backend
	Born    time.Duration // when the flow was recorded first
	Seen    time.Duration // the flow's latest packet
}

// slotOf returns the slot of a flow hash, as the data path does: see docs/DATAPATH.md, section 12.
func slotOf(hash uint64, size int) int { return int(hash >> 32 * uint64(size) >> 32) }

// Packet is what the choice of a backend depends on.
type Packet struct {
	Hash uint64 // flow hash: it picks the slot, and stands for the flow in the flow table
	UDP  bool
	SYN  bool // TCP: the connection's first packet
}

// Settings of a node. All times run from the start of the simulation.
type Settings struct {
	Idle     time.Duration // a record expires when its flow was silent for longer
	LearnUDP time.Duration // how long after the opening a UDP flow without a record belongs to Previous
	Limit    time.Duration // a transition ends so long after its latest change at the latest; 0: no limit
}

// Node is the model of one xlb node and one service of it. The package documentation has its rules.
type Node struct {
	settings Settings
	slots    []Slot
	flows    map[uint64]Record // by flow hash
	phases   []Phase           // by backend
}

// NewNode returns a node with all slots at rest at owners. phases has an element for every backend. The node keeps
// phases, and no reference to owners.
func NewNode(settings Settings, owners []Backend, phases []Phase) *Node {
	n := &Node{settings: settings, slots: make([]Slot, len(owners)), flows: map[uint64]Record{}, phases: phases}
	for s, owner := range owners {
		n.slots[s] = Slot{Current: owner, Previous: owner}
	}
	return n
}

// Change brings in a new table, of the same size as the one before, and new phases. It keeps phases.
func (n *Node) Change(now time.Duration, owners []Backend, phases []Phase) {
	n.phases = phases
	for s, owner := range owners {
		slot := &n.slots[s]
		if slot.Current != owner {
			if !slot.Transition && n.lives(slot.Current) {
				slot.Previous, slot.Transition = slot.Current, true
				slot.Opened, slot.Holds = now, now+n.settings.Idle
			}
			slot.Current, slot.Changed = owner, now
		}
		if !slot.Transition || !n.lives(slot.Previous) {
			slot.Previous = owner
		}
	}
}

// Route returns the backend that gets the packet, -1 for none.
func (n *Node) Route(now time.Duration, p Packet) Backend {
	slot := &n.slots[slotOf(p.Hash, len(n.slots))]
	if !slot.Transition {
		return slot.Current
	}
	r, known := n.flows[p.Hash]
	known = known && !n.expired(now, r)
	if !known {
		r.Born = now
	}
	r.Backend, r.Seen = n.choose(now, p, slot, r, known), now
	n.flows[p.Hash] = r
	return r.Backend
}

func (n *Node) choose(now time.Duration, p Packet, slot *Slot, r Record, known bool) Backend {
	if known {
		if p.SYN && n.accepts(r.Backend) || !p.SYN && n.lives(r.Backend) {
			return r.Backend
		}
		return slot.Current
	}
	if p.SYN || p.UDP && now-slot.Opened > n.settings.LearnUDP {
		return slot.Current
	}
	return slot.Previous
}

// Sweep drops expired records and marks in needed, which has an element for every slot, the transitions that some record
// needs.
func (n *Node) Sweep(now time.Duration, needed []bool) {
	for hash, r := range n.flows {
		if n.expired(now, r) {
			delete(n.flows, hash)
			continue
		}
		if s := slotOf(hash, len(n.slots)); r.Backend != n.slots[s].Current && n.lives(r.Backend) {
			needed[s] = true
		}
	}
}

// End ends the transitions that are not needed, and those whose time is up.
func (n *Node) End(now time.Duration, needed []bool) {
	for s := range n.slots {
		slot := &n.slots[s]
		done := now > slot.Holds && !needed[s]
		late := n.settings.Limit > 0 && now-slot.Changed > n.settings.Limit
		if slot.Transition && (done || late) {
			*slot = Slot{Current: slot.Current, Previous: slot.Current}
		}
	}
}

// PeerLost tells that another node's flows will come here, without the records that needed a transition: all that are
// open stay open until each such flow has shown itself or was idle for too long.
func (n *Node) PeerLost(now time.Duration) {
	for s := range n.slots {
		n.slots[s].Holds = now + n.settings.Idle
	}
}

// Strays returns, by flow hash, the records that existed before a time and that name another backend than Previous, whom
// a node without the record would send the flow to, or than Current, so that the transition must not end.
func (n *Node) Strays(before time.Duration) map[uint64]Record {
	strays := map[uint64]Record{}
	for hash, r := range n.flows {
		slot := &n.slots[slotOf(hash, len(n.slots))]
		if slot.Transition && r.Born <= before && (r.Backend != slot.Previous || r.Backend != slot.Current) {
			strays[hash] = r
		}
	}
	return strays
}

// Slots returns the slots, which are the node's.
func (n *Node) Slots() []Slot { return n.slots }

// Records returns how many records the flow table holds, expired ones included until they are swept.
func (n *Node) Records() int { return len(n.flows) }

func (n *Node) lives(b Backend) bool { return b >= 0 && n.phases[b] != Down }

func (n *Node) accepts(b Backend) bool { return b >= 0 && n.phases[b] == Up }

func (n *Node) expired(now time.Duration, r Record) bool { return now-r.Seen > n.settings.Idle }
