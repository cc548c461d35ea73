/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records of flows, docs/DATAPATH.md section 12. They are read only where a
 * slot's owner changes while its old one lives, and for services that ask for
 * it. Used by stages; reads no packet.
 */
#pragma once

#include "lib/maps.h"
#include "lib/pkt.h"

/* What a packet says about its flow. */
#define FLOW_BEGINS 1  /* a TCP SYN */
#define FLOW_ENDS 2    /* a TCP FIN or RST */
#define FLOW_UDP 4
#define FLOW_IS_LOOKED_UP 8 /* by an ICMP error: nothing is recorded */

static __always_inline __u64 flow_record(__u64 hash, __u32 kind, __u32 owner)
{
	return hash >> FLOW_TAG_SHIFT << FLOW_TAG_SHIFT | (state.tick & FLOW_TICK_MASK) << FLOW_TICK_SHIFT |
	       (__u64)kind << FLOW_STATE_SHIFT | owner;
}

static __always_inline __u32 flow_state_of(__u64 record)
{
	return record >> FLOW_STATE_SHIFT & FLOW_STATE_MASK;
}

static __always_inline __u32 flow_age(__u64 record)
{
	return (state.tick - (record >> FLOW_TICK_SHIFT)) & FLOW_TICK_MASK;
}

static __always_inline bool flow_has_ended(__u64 record)
{
	return flow_state_of(record) == FLOW_EMPTY || flow_age(record) > flow_idle;
}

static __always_inline bool backend_has(__u32 id, __u8 flag)
{
	const struct backend *backend = bpf_map_lookup_elem(&backends, &id);

	return backend && backend->hop & flag;
}

/*
 * How gladly a record gives way to another flow, 0 for not at all: what has ended
 * first, then what is closing, then what was seen once, the older the better. A
 * flood of first packets evicts first packets alone.
 */
static __always_inline __u32 flow_evictable(__u64 record)
{
	__u32 kind = flow_state_of(record);

	if (flow_has_ended(record))
		return 3 * (FLOW_TICK_MASK + 1);
	if (kind == FLOW_CLOSING)
		return 2 * (FLOW_TICK_MASK + 1) + flow_age(record);
	return kind == FLOW_NEW ? 1 + flow_age(record) : 0;
}

/* The state of a record that has met another packet of its flow. */
static __always_inline __u32 flow_next_state(__u32 kind, __u32 seen)
{
	if (seen & FLOW_BEGINS)
		return kind == FLOW_CLOSING ? FLOW_NEW : kind;
	if (seen & FLOW_ENDS || kind == FLOW_CLOSING)
		return FLOW_CLOSING;
	return FLOW_KNOWN;
}

/*
 * The owner of a flow in a slot in transition; `slot` is the slot's word, `seen`
 * what the packet says. A flow without a record is the previous owner's, which is
 * why one that cannot be recorded goes there even if it is new. Global, so that
 * the verifier looks at its loop once.
 */
__noinline __u32 track_flow(__u64 hash, __u64 slot, __u32 seen)
{
	__u32 current = slot, previous = slot >> 32 & SLOT_OWNER, row = hash & flow_mask;
	bool begins = seen & FLOW_BEGINS || (seen & FLOW_UDP && slot >> 32 & SLOT_LEARNED);
	struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &row);
	__u32 best = 0, place = 0, owner;
	bool known = false;
	__u64 record;

	if (!bucket)
		return previous;
	for (__u32 i = 0; i < BUCKET_FLOWS; i++) {
		__u32 evictable;

		record = *(volatile __u64 *)&bucket->flows[i];
		if ((record ^ hash) >> FLOW_TAG_SHIFT == 0 && !flow_has_ended(record)) {
			place = i;
			known = true;
			break;
		}
		evictable = flow_evictable(record);
		if (evictable > best) {
			best = evictable;
			place = i;
		}
	}
	place &= BUCKET_FLOWS - 1;
	if (known) {
		record = *(volatile __u64 *)&bucket->flows[place];
		owner = record & FLOW_BACKEND_MASK;
		if (backend_has(owner, seen & FLOW_BEGINS ? BACKEND_ACCEPTS : BACKEND_UP)) {
			__u64 next = flow_record(hash, flow_next_state(flow_state_of(record), seen), owner);

			if (next != record && !(seen & FLOW_IS_LOOKED_UP))
				*(volatile __u64 *)&bucket->flows[place] = next;
			return owner;
		}
		best = 1; /* its backend is gone, and so is the flow: it begins again */
		begins = true;
	}
	if (!backend_has(previous, BACKEND_UP))
		previous = current;
	if (!best) /* no room */
		return previous;
	owner = begins ? current : previous;
	if (owner && !(seen & (FLOW_IS_LOOKED_UP | FLOW_ENDS)))
		*(volatile __u64 *)&bucket->flows[place] = flow_record(hash, FLOW_NEW, owner);
	return owner;
}

/*
 * The record with a flow's tag, 0 if its bucket has none. Without branches, which
 * nobody could foretell: what follows need not wait for the bucket to arrive.
 */
static __always_inline __u64 find_flow(const struct flow_bucket *bucket, __u64 hash)
{
	__u64 found = 0;

	for (int i = BUCKET_FLOWS - 1; i >= 0; i--) {
		__u64 record = *(const volatile __u64 *)&bucket->flows[i];
		__u64 same = (__s64)(((record ^ hash) >> FLOW_TAG_SHIFT) - 1) >> 63;

		asm volatile("" : "+r"(same)); /* else the compiler makes a branch of it */
		found ^= (found ^ record) & same;
	}
	return found;
}

/* What track_flow() says, and without the call where it would leave the record as it is. */
static __always_inline __u32 follow_flow(__u64 hash, __u64 slot, __u32 seen)
{
	__u32 row = hash & flow_mask, owner;
	struct flow_bucket *bucket = bpf_map_lookup_elem(&flows, &row);
	__u64 record;

	if (bucket && !(seen & (FLOW_BEGINS | FLOW_ENDS))) {
		record = find_flow(bucket, hash);
		owner = record & FLOW_BACKEND_MASK;
		if (record == flow_record(hash, FLOW_KNOWN, owner) && backend_has(owner, BACKEND_UP))
			return owner;
	}
	return track_flow(hash, slot, seen);
}
