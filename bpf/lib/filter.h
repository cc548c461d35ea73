/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages that refuse sources and excess, docs/DATAPATH.md sections 6, 10 and 11.
 */
#pragma once

#include "lib/hash.h"
#include "lib/pkt.h"
#include "lib/record.h"

static __always_inline __u32 lookup_rule(const struct pkt *p, __u32 service)
{
	struct rule_key key = { .bits = 32 + 128, .service = bpf_htonl(p->v6 ? service | RULE_IPV6 : service) };
	__u32 *rule;

	if (p->v6)
		__builtin_memcpy(key.addr, p->src, ADDR_SIZE);
	else
		key.addr[3] = p->src[3], key.addr[2] = V4_MAPPED;
	rule = bpf_map_lookup_elem(&rules, &key);
	return rule ? *rule : 0;
}

static __always_inline enum verdict check_node_rules(struct pkt *p)
{
	if (use_node_rules && lookup_rule(p, NODE_RULES) == RULE_DENY)
		return drop(p, REASON_DENIED_BY_NODE);
	return VERDICT_NEXT;
}

static __always_inline enum verdict check_filter(struct pkt *p)
{
	__u32 rule;

	if (!use_filters || !p->served || !(p->service.flags & SERVICE_FILTER))
		return VERDICT_NEXT;
	rule = lookup_rule(p, p->service.number);
	if (!rule)
		rule = p->service.flags & SERVICE_DENY_OTHERS ? RULE_DENY : RULE_ALLOW;
	return rule == RULE_DENY ? drop(p, REASON_DENIED) : VERDICT_NEXT;
}

static __always_inline bool source_conforms(const struct pkt *p, const struct rate *rate)
{
	__u64 hash = hash_source(p), time = now();
	struct record *record = find_record(&sources, source_mask, hash, mix64(~hash), true);

	/* The bucket is in use by others: the record that is due first gives way. */
	return !record || conforms(&record->value, rate->interval, rate->tolerance, time);
}

static __always_inline enum verdict check_rates(struct pkt *p)
{
	struct service_rates *limits;
	__u32 id;

	if (!use_rates || p->icmp_error || !p->served || !(p->service.flags & SERVICE_RATES))
		return VERDICT_NEXT;
	id = p->service.number;
	limits = bpf_map_lookup_elem(&rates, &id);
	if (!limits)
		return VERDICT_NEXT;
	if (limits->new_connections.interval && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && !source_conforms(p, &limits->new_connections))
		return drop(p, REASON_SOURCE_RATE);
	if (limits->packets.interval &&
	    !conforms(&limits->arrival, limits->packets.interval, limits->packets.tolerance, now()))
		return drop(p, REASON_SERVICE_RATE);
	return VERDICT_NEXT;
}
