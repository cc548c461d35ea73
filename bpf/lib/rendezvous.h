/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Owners of slots that are computed instead of read, by rendezvous hashing; pure.
 * maps/rendezvous.go computes the same scores, maps/computed.go writes the words.
 */
#pragma once

#include "lib/types.h"

/* The slot's part of its scores. */
static __always_inline __u64 slot_hash(__u32 slot)
{
	__u64 z = (slot + 1ULL) * 0x9e3779b97f4a7c15ULL;

	z ^= z >> 32;
	z *= 0xff51afd7ed558ccdULL;
	return z ^ z >> 32;
}

/* How much a slot is a backend's: 32 bits, of which no two backends have the same. */
static __always_inline __s64 slot_score(__u64 z, __u64 seed)
{
	return z * (seed * 0xc2b2ae3d27d4eb4fULL | 1) >> 32;
}

/* All bits if a is less than b, else none. Opaque, or the compiler makes branches of it, which nobody could foretell. */
static __always_inline __u64 if_less(__s64 a, __s64 b)
{
	__s64 less = a - b;

	asm volatile("" : "+r"(less));
	less >>= 63;
	asm volatile("" : "+r"(less));
	return less;
}

/* The score, or less than any if it does not reach the cutoff. */
static __always_inline __s64 slot_bid(__u64 z, __u64 table, __u32 position)
{
	__s64 score = slot_score(z, table >> COMPUTED_SEED(position) & COMPUTED_SEED_MASK);
	__u32 cutoff = (table >> COMPUTED_CUTOFF(position) & COMPUTED_CUTOFF_MASK) << COMPUTED_CUTOFF_SHIFT;

	return score | if_less(score, cutoff);
}

/* A slot of a computed table as the word of one in `slots`. */
static __always_inline __u64 computed_slot(__u64 table, __u32 slot)
{
	__u64 owners = ((table >> COMPUTED_BASE) - (1 << COMPUTED_BASE_BITS) + 1) * SLOT_STEADY;
	__u64 z = slot_hash(slot), third = owners + 2 * SLOT_STEADY;
	__s64 best = slot_bid(z, table, 0), bid = slot_bid(z, table, 1);
	__u64 less = if_less(best, bid);

	owners += SLOT_STEADY & less;
	if (!(table & COMPUTED_SEED_MASK << COMPUTED_SEED(2)))
		return owners;
	best ^= (best ^ bid) & less;
	less = if_less(best, slot_bid(z, table, 2));
	return owners ^ ((owners ^ third) & less);
}
