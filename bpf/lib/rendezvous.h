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
	return slot * 0x9e3779b97f4a7c15ULL;
}

/* How much a slot is a backend's: 32 bits, of which no two backends have the same. */
static __always_inline __s64 slot_score(__u64 hash, __u64 seed)
{
	hash ^= seed * 0xc2b2ae3d27d4eb4fULL;
	hash ^= hash >> 32;
	return hash * 0xd6e8feb86659fd93ULL >> 32;
}

/* All bits if a is less than b, else none. Opaque, or the compiler makes branches of it, which nobody could foretell. */
static __always_inline __s64 if_less(__s64 a, __s64 b)
{
	__s64 less = a - b;

	asm volatile("" : "+r"(less));
	less >>= 63;
	asm volatile("" : "+r"(less));
	return less;
}

/* A backend's score, and whether it refuses it. */
struct bid {
	__s64 score;
	__s64 refused; /* all bits or none */
};

static __always_inline struct bid slot_bid(__u64 hash, __u64 table, __u32 position)
{
	__s64 score = slot_score(hash, table >> COMPUTED_SEED(position) & COMPUTED_SEED_MASK);
	__u32 cutoff = (table >> COMPUTED_CUTOFF(position) & COMPUTED_CUTOFF_MASK) << COMPUTED_CUTOFF_SHIFT;

	return (struct bid){ score, if_less(score, cutoff) };
}

/*
 * A slot of a computed table as the word of one in `slots`. The backend's row waits
 * for it: what does not depend on each other is computed side by side.
 */
static __always_inline __u64 computed_slot(__u64 table, __u32 slot)
{
	__u64 owners = ((table >> COMPUTED_BASE) - (1 << COMPUTED_BASE_BITS) + 1) * SLOT_STEADY;
	__u64 hash = slot_hash(slot);
	struct bid first = slot_bid(hash, table, 0), second = slot_bid(hash, table, 1), third;
	__s64 is_second = first.refused | (if_less(first.score, second.score) & ~second.refused);
	__s64 best, is_third;

	if (!(table & COMPUTED_SEED_MASK << COMPUTED_SEED(2)))
		return owners + (SLOT_STEADY & is_second);
	first.score |= first.refused; /* less than any */
	second.score |= second.refused;
	best = first.score ^ ((first.score ^ second.score) & is_second);
	third = slot_bid(hash, table, 2);
	is_third = if_less(best, third.score | third.refused);
	return owners + (SLOT_STEADY & is_second & ~is_third) + (2 * SLOT_STEADY & is_third);
}
