// Package balance computes slot tables: which backend of a service owns which slot.
//
// The table is a pure function of the set of configured (key, weight) pairs, the table size and the live fraction of each
// backend. Neither history, nor the order of the configuration, nor the machine enters, so nodes that know the same facts
// hold the same table without talking to each other.
//
// # Home
//
// [NewHome] fills the home table over the configured backends, by one of two methods. Only the ratios of weights matter to
// either.
//
// Tables of more than 4,099 slots, by Maglev's method (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
// Balancer", NSDI 2016, section 3.4): the slots are a prime M, each backend has a permutation of them, pos, pos+skip,
// pos+2*skip ... mod M, and the backends take turns; at its turn a backend takes the first slot of its permutation that is
// still free. Weights decide how often a turn comes: turn k (from 0) of a backend of weight w falls at time (k + 1/2)/w,
// compared exactly as a fraction; at equal times the heavier backend goes first, then the one with the smaller key hash.
// With equal weights that is the paper's round robin. In general a backend gets its share of M to within 1.5 slots plus
// its share of n/2 slots for n backends, which is half a percent of what it owns where Size picks M. A backend whose share
// is less than about half a slot gets none.
//
// Tables of up to 4,099 slots, which is what up to 40 backends get, by rendezvous with quotas. A slot prefers the backends
// in the order of their scores, maps.SlotScore of slot and seed (rendezvous hashing: Thaler and Ravishankar, "Using
// name-based mappings to increase hit rates", 1998); with unequal weights in the order of x/weight, the least first, where
// x is the score made exponentially distributed (weighted rendezvous: Schindelhauer and Schomaker, "Weighted distributed
// hash tables", SPAA 2005), which for equal weights is the same order. Backends of one seed and weight are told apart by a
// second hash of slot and key. Each backend has a quota: its share of the slots, rounded by largest remainders, so that
// none is left over. Slots bid where they prefer to be; a backend refuses what is above its quota, the lowest scores first
// (of equal ones the lower slot), and who is refused bids where it would be next best: deferred acceptance (Gale and
// Shapley, "College admissions and the stability of marriage", 1962), whose outcome does not depend on the order of the
// bids. So each backend ends with a cutoff, the lowest score that it takes, or 0 if it has refused nothing, which is so
// for at least one; and each slot has the backend that it prefers among those whose cutoff it reaches.
//
// In tables of exactly 4,099 slots over up to three backends of equal weight and different seeds, cutoffs are multiples of
// 2^26, a 64th of all scores, so that the data path can compute owners:
//
//	owner(s) = the backend b with the highest SlotScore(s, seed(b)) among those with SlotScore(s, seed(b)) >= cutoff(b) * 2^26
//
// Of the multiples below and above each exact cutoff, those are chosen with which the fullest backend has the fewest
// slots. Shares are then right to 0.1 % as a rule, and to 0.6 % at worst. In all other tables of up to 4,099 slots they are
// right to the slot.
//
// # Resolve
//
// [Home.Resolve] asks for each slot s the candidates
//
//	c0 = home[s], c1 = home[h(s,1)], c2 = home[h(s,2)], ... c63
//
// in turn. Candidate b accepts at step i iff u(s,i,b) < f(b), where f(b) is its live fraction, rounded up to a multiple of
// 2^-53, and u a fixed hash to [0,1).
// The first to accept owns the slot. Each step draws b with the probability of its weight, so backends hold slots in
// proportion to weight * f. (The step is part of u for the sake of small services: were a backend's first refusal final,
// one of two equal backends would at f = 1/2 hold a quarter of the slots, not a third.)
//
// If all 64 candidates refuse, the slot goes to the live backend with the least x(s,b) / (weight * f), where x is a fixed
// hash with the exponential distribution: weighted rendezvous, which keeps the proportions. So every slot has an
// owner as soon as one f is above 0. 64 candidates fail with probability (1 - live share)^64: 5e-20 with half of the
// weight down, 0.1 % with 90 % down, half with 99 % down. There the fallback, whose cost grows with the number of live
// backends, has few of those to look at, while a longer walk would cost more than it.
//
// # Why nothing moves needlessly
//
// Give backend b at slot s a score that depends on nothing but s, b and f(b): none if f(b) = 0; else the first step at which
// b is the candidate and accepts, the earlier the better; else, worse than any step, its rendezvous value. The owner is the
// backend with the best score, ties going to a fixed order. Raising f(b) can only better b's score and touches no other's.
// Let slot s pass from a to b when fractions change. If neither f(a) fell nor f(b) rose, a still beats b: a contradiction.
// Hence:
//
//   - a slot changes its owner only if the old owner's f fell or the new owner's f rose;
//   - if only f(b) rises, slots move to b alone; if only f(b) falls, from b alone;
//   - the former fractions bring back exactly the former table.
//
// This covers walk and fallback alike, and any mixture of the two. A change of the configured set or its weights rebuilds
// home, which moves more than the ideal: by 0.6 % of the slots where one is added to 100 backends, and of 4,099 slots by
// 0.4 % where one is added to 2, 1.1 % to 7, 1.7 % to 39.
//
// The algorithm is frozen as version 2: all nodes of a cluster must agree on every slot, whatever release they run. (Version
// 1, which had Maglev at all sizes, was never released.)
// Integers and correctly rounded floating-point operations alone are used, so that processors agree as well.
package balance
