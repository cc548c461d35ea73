/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages that pick a backend, docs/DATAPATH.md section 12: flow hash, slot, owner.
 */
#pragma once

#include "lib/track.h"
#include "lib/hash.h"
#include "lib/pkt.h"
#include "lib/quic.h"
#include "lib/rendezvous.h"

/* xlb is a hop like any router: a loop over it ends (RFC 2003, 3.1). */
static __always_inline enum verdict check_hop(struct pkt *p)
{
	struct iphdr *ip = p->data + p->l3;
	struct ipv6hdr *ip6 = (void *)ip;

	if (p->v6 ? is_beyond(p, ip6 + 1) : is_beyond(p, ip + 1))
		return drop(p, REASON_BAD_LENGTH);
	if ((p->v6 ? ip6->hop_limit : ip->ttl) <= 1)
		return drop(p, REASON_TTL_EXPIRED);
	return VERDICT_NEXT;
}

/* Whether the slot's word alone does not tell the owner. Tracking always is a transition without end. */
static __always_inline bool in_transition(const struct pkt *p, __u64 *owners)
{
	if (*owners >> 32 & SLOT_TRANSITION)
		return p->fragment != FRAGMENT_LATER;
	if (!(p->service.flags & SERVICE_TRACK_ALWAYS) || p->fragment == FRAGMENT_LATER)
		return false;
	*owners |= (__u64)SLOT_LEARNED << 32;
	return (__u32)*owners;
}

/* What the packet says about its flow; without branches, which the verifier would follow each. */
static __always_inline __u32 seen(const struct pkt *p)
{
	__u32 flags = p->tcp_flags;
	__u32 begins = flags >> 1 & ~(flags >> 4) & 1; /* SYN without ACK */
	__u32 ends = (flags | flags >> 2) & 1;         /* FIN or RST */

	return begins * FLOW_BEGINS | ends * FLOW_ENDS | p->icmp_error * FLOW_IS_LOOKED_UP |
	       (p->proto == IPPROTO_UDP) * FLOW_UDP;
}

/* A packed slot as the word of one in `slots`. */
static __always_inline __u64 packed_slot(__u32 first, __u32 shape, __u64 hash)
{
	__u32 width = shape >> PACKED_SHIFT, bit = reduce(hash, shape & PACKED_SLOTS) << width;
	__u32 row = first + 1 + bit / 64;
	const __u64 *before = bpf_map_lookup_elem(&packed, &first);
	const volatile __u64 *word = bpf_map_lookup_elem(&packed, &row);
	__u64 owner;

	if (!before || !word)
		return 0;
	owner = *word >> bit % 64 & ((1 << (1 << width)) - 1);
	return owner ? (owner + *before) * SLOT_STEADY : 0;
}

static __always_inline __u64 wide_slot(__u32 first, __u32 size, __u64 hash)
{
	__u32 row = first + reduce(hash, size);
	const volatile __u64 *slot = bpf_map_lookup_elem(&slots, &row);

	return size && slot ? *slot : 0;
}

static __always_inline __u32 slot_owner(const struct pkt *p)
{
	__u64 table = p->service.table;
	__u32 first = table, shape = table >> 32;
	__u64 owners;

	if (shape <= PACKED_SLOTS)
		owners = wide_slot(first, shape, p->hash);
	else if (table & COMPUTED_TABLE)
		owners = computed_slot(table, reduce(p->hash, COMPUTED_SLOTS));
	else
		owners = packed_slot(first, shape, p->hash);
	if (!use_tracking || !in_transition(p, &owners))
		return owners;
	return follow_flow(flow_name(p), owners, seen(p));
}

static __always_inline bool asks_quic(const struct pkt *p)
{
	return use_quic && p->service.flags & SERVICE_QUIC && p->proto == IPPROTO_UDP && !p->icmp_error &&
	       p->fragment == FRAGMENT_NONE;
}

static __always_inline enum verdict choose_backend(struct pkt *p)
{
	if (p->owner)
		return VERDICT_NEXT; /* a later fragment */
	if (!p->served)
		return drop(p, REASON_NO_BACKEND);
	p->hash = by_source(p) ? hash_affine(p) : hash_tuple(p);
	if (asks_quic(p))
		p->owner = quic_owner(p->ctx, p->l3 + p->l4, p->service.number);
	if (!p->owner)
		p->owner = slot_owner(p);
	if (!p->owner)
		return drop(p, REASON_NO_BACKEND);
	return VERDICT_NEXT;
}

/* Whether a hop is resolved, and the program was loaded with what its mode needs. */
static __always_inline bool can_forward(const struct hop *hop)
{
	if (use_tunnel4 && hop->flags & HOP_OUTER4)
		return true;
	if (use_l2 && hop->flags & HOP_L2)
		return true;
	return use_tunnel6 && hop->flags & HOP_OUTER6;
}

static __always_inline enum verdict find_next_hop(struct pkt *p)
{
	__u32 owner = p->owner, row;
	const volatile __u64 *backend = bpf_map_lookup_elem(&backends, &owner);
	__u64 word;

	if (!backend)
		return drop(p, REASON_NO_NEXT_HOP);
	word = *backend;
	row = (__u32)word >> BACKEND_HOP_SHIFT;
	p->dest = word >> 32;
	p->hop = bpf_map_lookup_elem(&hops, &row);
	if (!p->hop || !can_forward(p->hop))
		return drop(p, REASON_NO_NEXT_HOP);
	return VERDICT_NEXT;
}
