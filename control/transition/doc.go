// Package transition decides which slots of a service are in transition and for how long, so that no change breaks a
// connection. It writes nothing and has no clock: whoever calls it says what time it is, and stores the moves that come
// back in the order in which they came.
//
// The rules are those of [github.com/xlb-project/xlb/control/balance/sim.Node], which tests hold [Table] to:
//
//   - A slot at rest that changes hands while its owner lives enters a transition, with that owner as Previous. If the
//     owner is dead, the slot only changes hands: its clients should learn quickly.
//   - While a transition is open, changes replace Current alone, also when the first owner returns: flows of the owners in
//     between live on by their records. When Previous dies, Current takes its place.
//   - A transition ends after it was open for the idle timeout, so that every older flow has shown itself, once no record
//     needs it; or when its time is up.
//
// A record needs its slot's transition if it names a backend that lives and is not Current. [Scan] finds that out for all
// services in one pass over the flow table, and in the same pass which records nobody needs. Under affinity by source a
// record does not tell its slot. There a transition is needed if any record of the service names one of those that owned
// the slot since it opened, other than Current; or, where those are not known, anyone but Current.
//
// A record on another node needs a transition here as one of this node does: [Table.HoldFor]. [Table.Hold] is for the loss of
// a node, whose flows come without their records.
//
// Records of dead backends are to be forgotten before these come back without their connections: a scan has to see each
// death. [Quarantine] keeps the number of a backend that is gone from being given anew while something names it.
//
// With 1,048,583 slots, of which 104,858 are in transition, and 1,000,000 records, on one core of an AMD EPYC: a change
// that opens them takes 16 ms, one that moves nothing 8 ms, a scan and a sweep 18 ms (go test -bench=. ./control/transition).
package transition
