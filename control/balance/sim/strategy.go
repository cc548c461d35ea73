package sim

import (
	"maps"
	"slices"
	"time"
)

// strategy is a way of choosing a backend for each packet, on all nodes.
type strategy interface {
	// change tells of a new table.
	change(now time.Duration, owners []Backend, phases []Phase)
	// route returns the backend that gets the packet of flow i, and whether the node looked at flow state. holder has the
	// connection, -1 if there is none yet.
	route(now time.Duration, node int, i int32, p Packet, holder Backend) (b Backend, state bool)
	// without returns an independent copy in which a node has lost its memory.
	without(now time.Duration, node int) strategy
	// sweep is called from time to time, and returns how many flow records all nodes hold.
	sweep(now time.Duration) int
}

// stateless is a table and nothing else.
type stateless struct{ owners []Backend }

func (s *stateless) change(_ time.Duration, owners []Backend, _ []Phase) { s.owners = owners }

func (s *stateless) route(_ time.Duration, _ int, _ int32, p Packet, _ Backend) (Backend, bool) {
	return s.owners[slotOf(p.Hash, len(s.owners))], false
}

func (s *stateless) without(time.Duration, int) strategy { return &stateless{s.owners} }

func (s *stateless) sweep(time.Duration) int { return 0 }

// cached is a table and, per node, a cache of bounded size with the backend of the flows that were seen last. A TCP SYN is
// always chosen by the table; so is a flow that the cache does not know, and one whose backend is dead.
type cached struct {
	stateless
	phases []Phase
	nodes  []*lru
}

func newCached(nodes, size, flows int) *cached {
	c := &cached{}
	for range nodes {
		c.nodes = append(c.nodes, newLRU(size, flows))
	}
	return c
}

func (c *cached) change(now time.Duration, owners []Backend, phases []Phase) {
	c.stateless.change(now, owners, phases)
	c.phases = phases
}

func (c *cached) route(now time.Duration, node int, i int32, p Packet, holder Backend) (Backend, bool) {
	if !p.SYN {
		if b, ok := c.nodes[node].get(i); ok && c.phases[b] != Down {
			return b, true
		}
	}
	b, _ := c.stateless.route(now, node, i, p, holder)
	c.nodes[node].put(i, b)
	return b, true
}

func (c *cached) without(_ time.Duration, node int) strategy {
	clone := &cached{stateless: c.stateless, phases: c.phases}
	for i, l := range c.nodes {
		if i == node {
			l = newLRU(len(l.ring)-1, len(l.where))
		}
		clone.nodes = append(clone.nodes, &lru{where: slices.Clone(l.where), ring: slices.Clone(l.ring), len: l.len})
	}
	return clone
}

func (c *cached) sweep(time.Duration) int {
	n := 0
	for _, l := range c.nodes {
		n += l.len
	}
	return n
}

// lru keeps the entries that were used last: a ring in order of use. Flows are numbered, so that an array finds them.
type lru struct {
	where []int32 // by flow: its entry, 0 if none
	ring  []entry // entry 0 is the head: its next is the one used last
	len   int
}

type entry struct {
	flow       int32
	backend    Backend
	prev, next int32
}

func newLRU(size, flows int) *lru {
	return &lru{where: make([]int32, flows), ring: make([]entry, size+1)}
}

func (l *lru) get(flow int32) (Backend, bool) {
	e := l.where[flow]
	if e == 0 {
		return 0, false
	}
	l.unlink(e)
	l.link(e)
	return l.ring[e].backend, true
}

func (l *lru) put(flow int32, b Backend) {
	e := l.where[flow]
	switch {
	case e != 0:
		l.unlink(e)
	case l.len < len(l.ring)-1:
		l.len++
		e = int32(l.len)
	default:
		e = l.ring[0].prev
		l.where[l.ring[e].flow] = 0
		l.unlink(e)
	}
	l.where[flow] = e
	l.ring[e].flow, l.ring[e].backend = flow, b
	l.link(e)
}

func (l *lru) unlink(e int32) {
	prev, next := l.ring[e].prev, l.ring[e].next
	l.ring[prev].next, l.ring[next].prev = next, prev
}

func (l *lru) link(e int32) {
	first := l.ring[0].next
	l.ring[e].prev, l.ring[e].next = 0, first
	l.ring[0].next, l.ring[first].prev = e, e
}

// tracked is xlb: nodes of the model.
type tracked struct {
	variant Variant
	nodes   []*Node
	needed  []bool
}

// newTracked begins with the nodes at rest.
func newTracked(v Variant, nodes int, owners []Backend, phases []Phase) *tracked {
	t := &tracked{variant: v, needed: make([]bool, len(owners))}
	for range nodes {
		t.nodes = append(t.nodes, NewNode(v.Settings, owners, phases))
	}
	return t
}

func (t *tracked) change(now time.Duration, owners []Backend, phases []Phase) {
	for _, n := range t.nodes {
		n.Change(now, owners, phases)
	}
}

func (t *tracked) route(now time.Duration, node int, _ int32, p Packet, holder Backend) (Backend, bool) {
	n := t.nodes[node]
	slot := n.slots[slotOf(p.Hash, len(n.slots))]
	b := n.Route(now, p)
	if t.variant.SecondChance && slot.Transition && holder >= 0 && b != holder {
		if b == slot.Current {
			return slot.Previous, true
		}
		return slot.Current, true
	}
	return b, slot.Transition
}

func (t *tracked) without(now time.Duration, node int) strategy {
	clone := &tracked{variant: t.variant, needed: make([]bool, len(t.needed))}
	for _, n := range t.nodes {
		copied := *n
		copied.slots, copied.flows = slices.Clone(n.slots), maps.Clone(n.flows)
		clone.nodes = append(clone.nodes, &copied)
	}
	lost := clone.nodes[node]
	if t.variant.HandOver > 0 {
		strays := lost.Strays(now - t.variant.HandOver)
		for _, n := range clone.nodes {
			maps.Copy(n.flows, strays)
		}
	}
	clear(lost.flows)
	if !t.variant.Alone {
		for _, n := range clone.nodes {
			n.PeerLost(now)
		}
	}
	return clone
}

func (t *tracked) sweep(now time.Duration) int {
	records := 0
	clear(t.needed)
	for _, n := range t.nodes {
		records += n.Records()
		n.Sweep(now, t.needed)
		if t.variant.Alone {
			n.End(now, t.needed)
			clear(t.needed)
		}
	}
	if !t.variant.Alone {
		for _, n := range t.nodes {
			n.End(now, t.needed)
		}
	}
	return records
}
