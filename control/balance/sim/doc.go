// Package sim replays changes of a service against simulated connections, without a kernel, and counts the connections that
// break: for xlb, and for the ways other balancers keep connections.
//
// # The model of xlb
//
// [Node] is what one xlb node does with a packet and with a change. A slot is at rest, or in transition:
//
//	at rest         the packet goes to Current; no flow state is read or written
//	in transition   TCP with SYN   where the record says if that backend accepts, else Current
//	                other TCP      where the record says if that backend lives, else Previous
//	                UDP            where the record says if that backend lives, else Previous during the learning
//	                               period, then Current
//	                and whatever was chosen is recorded
//
// A slot at rest enters a transition when its owner changes while the old owner lives. If that is dead, the slot only
// changes hands. While a transition is open, further changes replace Current alone. Previous stays: every flow that is
// younger than the opening was recorded at its first packet, so a flow without a record belongs to the owner from before
// the opening. For the same reason a transition stays open when the old owner returns: Current and Previous are
// then equal, but flows of the owners in between live on by their records. When the previous owner dies, Current takes
// its place.
//
// A transition ends after it was open for the idle timeout, so that every older flow has shown itself or is idle for too
// long, as soon as no record in its slot names another backend than Current; or when its time is up. "No record" means on
// no node: what a node may forget depends on the flows that it would inherit.
//
// # The simulation
//
// [Run] makes a fleet of backends, a schedule of changes and the connections from one seed, then plays all packets in order of time
// to all strategies at once, so that they see the same packets and the same changes. A connection is established with
// the backend that got its first packet. It breaks, for a strategy, at its first packet that arrives elsewhere; it is lost unavoidably
// if its server died first. Either way that strategy sees no more of it.
package sim
