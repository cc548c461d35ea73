/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every map of the data path, with its contract. All tables are arrays: the
 * JIT inlines their lookup, and Go fills them through mmap. Sizes are set at
 * load time from the configuration's limits.
 */
#pragma once

#include "lib/types.h"

#define TABLE(name_, row_)                             \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);      \
		__uint(map_flags, BPF_F_MMAPABLE);     \
		__uint(max_entries, 1);                \
		__type(key, __u32);                    \
		__type(value, row_);                   \
	} name_ SEC(".maps")

/*
 * Where VIPs are found. Written by Go in two halves: the spare one is filled,
 * then vip_table switches to it. Key: see find_vip(). A miss means the
 * packet is not ours.
 */
TABLE(vips, struct vip);

/* Listeners of VIPs, in halves that switch together with `vips`. */
TABLE(ports, struct port);

/* Services by number. Go switches `table` in place with one store. */
TABLE(services, struct service);

/*
 * The slab of slot tables. Regions are filled while no service points there
 * and reused after a grace period.
 */
TABLE(slots, struct slot);

/*
 * Backends by number, 0 being nobody. A row is written before a slot names it;
 * afterwards a new next hop is written to a fresh row, never in place.
 */
TABLE(backends, struct backend);

/*
 * Counters, one block of counter_rows per CPU, so that a plain add is enough
 * and Go reads them without a system call.
 */
TABLE(counters, struct counter);

/* Interfaces that packets may leave by other than the one they came in on. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} egress SEC(".maps");

/*
 * Which half of `vips` is valid: its first row in the low half of the word, its
 * mask in the high. Go switches it with one store. In a section of its own, so
 * that a pin can carry it over.
 */
volatile __u64 vip_table SEC(".data.state");
