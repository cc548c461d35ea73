/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages for fragments, docs/DATAPATH.md sections 7 and 12. A first fragment
 * leaves a record of its backend, later ones follow it.
 */
#pragma once

#include "lib/hash.h"
#include "lib/pkt.h"
#include "lib/record.h"

#define NS_PER_SECOND 1000000000ULL
#define FRAGMENT_SECONDS 10

/*
 * A record's value: seconds of the clock, 16 bits of the other hash, the backend.
 * Time is highest, so that the smallest value is the oldest record. The middle
 * guards against a tag and a value of two writers.
 */
static __always_inline __u64 fragment_value(__u64 hash, __u32 seconds, __u32 owner)
{
	return (__u64)seconds << 40 | (hash & 0xffff) << 24 | (owner & 0xffffff);
}

static __always_inline __u32 seconds(void)
{
	return now() / NS_PER_SECOND & 0xffffff;
}

static __always_inline enum verdict orphan(struct pkt *p)
{
	return pass_orphans ? pass(p, REASON_FRAGMENT_UNKNOWN) : drop(p, REASON_FRAGMENT_UNKNOWN);
}

static __always_inline enum verdict follow_fragment(struct pkt *p)
{
	__u32 service = p->proto == IPPROTO_TCP ? p->vip->tcp_fragments : p->vip->udp_fragments;
	struct record *record;
	__u64 value;

	if (p->fragment != FRAGMENT_LATER)
		return VERDICT_NEXT;
	if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP)
		return drop(p, REASON_FRAGMENT);
	if (service)
		return set_service(p, service - 1) ? VERDICT_NEXT : orphan(p);
	p->hash = hash_fragment(p);
	record = find_record(&fragments, fragment_mask, p->hash, tag_fragment(p), false);
	if (!record)
		return orphan(p);
	value = *(volatile __u64 *)&record->value;
	if (!value || (value >> 24 & 0xffff) != (p->hash & 0xffff) ||
	    ((seconds() - (value >> 40)) & 0xffffff) > FRAGMENT_SECONDS)
		return orphan(p);
	p->owner = value & 0xffffff;
	return VERDICT_NEXT;
}

static __always_inline void record_fragment(struct pkt *p)
{
	__u32 service = p->proto == IPPROTO_TCP ? p->vip->tcp_fragments : p->vip->udp_fragments;
	struct record *record;
	__u64 hash;

	if (p->fragment != FRAGMENT_FIRST || p->icmp_error || service)
		return;
	hash = hash_fragment(p);
	record = find_record(&fragments, fragment_mask, hash, tag_fragment(p), true);
	if (record)
		*(volatile __u64 *)&record->value = fragment_value(hash, seconds(), p->owner);
}
