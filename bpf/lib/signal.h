/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The stage that watches handshakes, docs/DATAPATH.md section 13: what clients
 * tell about a backend. It changes no packet.
 */
#pragma once

#include "lib/hash.h"
#include "lib/maps.h"
#include "lib/net.h"
#include "lib/pkt.h"
#include "lib/track.h"

#define HANDSHAKE_SECONDS 4 /* clients send a SYN again after 1 s and after 3 s (RFC 6298) */
#define SAMPLE_SHIFT 20     /* bits of a hash that pick whom to watch: neither the bucket's nor the tag's */

static __always_inline struct signal_counter *signals_of(__u32 backend)
{
	__u32 row = bpf_get_smp_processor_id() * signal_rows + backend;

	return bpf_map_lookup_elem(&signals, &row);
}

/* A handshake that is not over by then never will be, and its record's place is free. */
static __always_inline bool handshake_has_ended(__u64 record)
{
	return flow_state_of(record) == FLOW_EMPTY || flow_age(record) > HANDSHAKE_SECONDS;
}

/* Two CPUs may want one place: only who gets it counts. */
static __always_inline bool replace_record(__u64 *place, __u64 old, __u64 new)
{
	return __sync_val_compare_and_swap(place, old, new) == old;
}

/*
 * Notes a segment of a watched flow. No record gives way before its time: a flood
 * of SYNs takes free places, which makes the sample of others smaller and their
 * counts no worse. Global, so that the verifier looks at its loop once.
 */
__noinline int note_segment(__u64 hash, __u32 tcp_flags, __u32 owner)
{
	__u32 row = hash & handshake_mask;
	struct flow_bucket *bucket = bpf_map_lookup_elem(&handshakes, &row);
	bool known = false, room = false;
	struct signal_counter *counts;
	__u32 place = 0;
	__u64 record;

	if (!bucket)
		return 0;
	for (__u32 i = 0; i < BUCKET_FLOWS && !known; i++) {
		record = *(volatile __u64 *)&bucket->flows[i];
		if (handshake_has_ended(record)) {
			if (!room)
				place = i;
			room = true;
		} else if ((record ^ hash) >> FLOW_TAG_SHIFT == 0) {
			place = i;
			known = true;
		}
	}
	if (!known && !(tcp_flags & TCP_SYN))
		return 0;
	place &= BUCKET_FLOWS - 1;
	record = *(volatile __u64 *)&bucket->flows[place];
	if (tcp_flags & TCP_SYN) {
		counts = signals_of(owner);
		if (!counts)
			return 0;
		if (known && (record & FLOW_BACKEND_MASK) == owner)
			counts->retransmitted++;
		else if ((known || room) && replace_record(&bucket->flows[place], record, flow_record(hash, FLOW_NEW, owner)))
			counts->syns++;
		else
			counts->missed++;
		return 0;
	}
	counts = signals_of(record & FLOW_BACKEND_MASK);
	if (counts && replace_record(&bucket->flows[place], record, 0) && !(tcp_flags & TCP_RST))
		counts->completed++;
	return 0;
}

/* The segments that say something: a SYN, an ACK, or a RST, but not the SYN+ACK of somebody who is no client. */
static __always_inline bool tells_of_handshake(__u32 flags)
{
	return (flags & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK) && flags & (TCP_SYN | TCP_ACK | TCP_RST);
}

static __always_inline void watch_handshake(struct pkt *p)
{
	const struct service *service;
	__u64 hash;

	if (!use_signals || !p->served || !(p->service.flags & SERVICE_SIGNALS) || !tells_of_handshake(p->tcp_flags))
		return;
	service = service_row(p);
	hash = flow_name(p);
	if (service && !(hash >> SAMPLE_SHIFT & service->sample_mask))
		note_segment(hash, p->tcp_flags, p->owner);
}
