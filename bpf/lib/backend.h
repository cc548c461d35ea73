/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The stage that picks a backend: flow hash -> slot -> owner. The service's
 * table word is read once, so that offset and size belong together.
 */
#pragma once

#include "lib/hash.h"
#include "lib/maps.h"
#include "lib/pkt.h"

static __always_inline enum verdict choose_backend(struct pkt *p)
{
	__u64 table = *(const volatile __u64 *)&p->service->table;
	__u32 offset = table, size = table >> 32;
	__u32 ports = (__u32)p->dest_port << 16 | p->source_port;
	__u64 hash = hash_flow4(p->ip->saddr, p->ip->daddr, ports, p->ip->protocol);
	__u32 row = offset + reduce(hash, size);
	struct slot *slot = bpf_map_lookup_elem(&slots, &row);
	__u32 owner;

	if (!size || !slot)
		return drop(p, REASON_NO_BACKEND);
	owner = slot->current;
	if (!owner)
		return drop(p, REASON_NO_BACKEND);
	p->backend = bpf_map_lookup_elem(&backends, &owner);
	if (!p->backend || p->backend->forward == FORWARD_NONE)
		return drop(p, REASON_NO_NEXT_HOP);
	p->counter = COUNTER_REASONS + owner;
	return VERDICT_NEXT;
}
