/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map of the data path, with its contract. Sizes are set at load time from
 * the configuration's limits.
 */
#pragma once

#include "lib/table.h"
#include "lib/types.h"

/*
 * Where VIPs are found. Written by Go in two halves: the spare one is filled,
 * then vip_table switches to it. Key: see lookup_vip(). A miss means the packet
 * is not ours.
 */
TABLE(vips, struct vip);

/* Listeners of VIPs, in halves that switch together with `vips`. */
TABLE(ports, struct port);
TABLE(ranges, struct range);

/* Services by number. Go switches `table` in place with one store. */
TABLE(services, struct service);

/* Limits of services by number, and the data path's own state of them. */
TABLE(rates, struct service_rates);

/*
 * QUIC server IDs, a block of 2^n rows per service, without collisions. A block
 * is filled before a service names it.
 */
TABLE(server_ids, struct server_id);

/*
 * The slab of slot tables. Regions are filled while no service points there
 * and reused after a grace period.
 */
TABLE(slots, struct slot);

/*
 * The same for services with few backends while none of their slots is in
 * transition: 2 or 4 bits a slot, so that thousands of tables fit the caches. A
 * region's first row is the number before that of backend 1 of its slots, 0 of
 * which is nobody.
 */
TABLE(packed, __u64);

/*
 * Backends by number, 0 being nobody. A row is written before a slot names it;
 * where it changes later, it changes in one store.
 */
TABLE(backends, struct backend);

/*
 * Header templates, by the number that backends' rows have; 0 is of those whose
 * next hop is not resolved. A row is written before a backend names it, stays as it
 * is while one does, and is reused after a grace period.
 */
TABLE(hops, struct hop);

/* Addresses of backends by number, where `hops` says that they are needed. */
TABLE(outer6, struct outer_dest);

/*
 * Counters, one block of counter_rows per CPU, so that a plain add is enough
 * and Go reads them without a system call.
 */
TABLE(counters, struct counter);

/*
 * Go's alone: what to add to each row of `counters`, summed over CPUs. What was
 * counted before this program's counters began, less what was taken back.
 */
TABLE(counter_base, struct counter);

/* Go's alone: who has the number of a service or backend. */
TABLE(service_names, struct service_name);
TABLE(backend_names, struct backend_name);

/*
 * First fragments seen, and sources under a limit of new connections. Written
 * by the data path alone, shared by all CPUs, bounded: a full bucket loses its
 * oldest record. A miss is a fragment out of order, or a source not seen lately.
 */
TABLE(fragments, struct record);
TABLE(sources, struct record);

/*
 * Flows of slots in transition, and of services that track always. Written by the
 * data path, shared by all CPUs without locks: a record is one word, and a lost
 * race costs one insertion. Go ages and counts them through the mapping. A miss
 * means that the flow belongs to the slot's previous owner.
 */
TABLE(flows, struct flow_bucket);

/*
 * Handshakes that clients have begun and not completed, of services that ask for
 * signals: buckets of records as in `flows`. Written by the data path alone, shared
 * by all CPUs without locks. A miss is a connection that is established, or not
 * watched.
 */
TABLE(handshakes, struct flow_bucket);

/*
 * Signals by backend, one block of signal_rows per CPU, like `counters`.
 */
TABLE(signals, struct signal_counter);

/*
 * Source prefixes of filters. The kernel's trie, because an update of one rule
 * among tens of thousands must be one step; only services with a filter pay its
 * lookup. Value: RULE_DENY or RULE_ALLOW. A miss leaves it to the filter's
 * default.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct rule_key);
	__type(value, __u32);
} rules SEC(".maps");

/* Interfaces that packets may leave by other than the one they came in on. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} egress SEC(".maps");

/* Words that change while packets fly; a section of its own, so that a pin can carry it over. */
volatile struct shared_state state SEC(".data.state");
