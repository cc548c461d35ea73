/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Bounded memory shared by all CPUs without locks: buckets of four records in
 * one cache line, and the rate limit that lives in a word. Used by stages; reads
 * no packet.
 */
#pragma once

#include "lib/maps.h"

/*
 * The record with the tag in the bucket that the hash picks. Without one: NULL,
 * or, to `claim` one, the record of the smallest value, emptied and given the tag.
 * Two CPUs that claim one record at once cost one of them its claim.
 */
static __always_inline struct record *find_record(void *table, __u32 mask, __u64 hash, __u64 tag, bool claim)
{
	__u32 first = (hash >> 32 & mask) * BUCKET_RECORDS;
	struct record *oldest = NULL;

	for (__u32 i = 0; i < BUCKET_RECORDS; i++) {
		__u32 row = first + i;
		struct record *record = bpf_map_lookup_elem(table, &row);

		if (!record)
			return NULL;
		if (record->tag == tag)
			return record;
		if (!oldest || record->value < oldest->value)
			oldest = record;
	}
	if (!claim)
		return NULL;
	oldest->value = 0;
	oldest->tag = tag;
	return oldest;
}

#define CONFORM_TRIES 8

/*
 * The generic cell rate algorithm (ITU-T I.371) on one word, the theoretical
 * arrival time: exact for any number of CPUs, but for a packet that loses
 * CONFORM_TRIES races in a row, which passes uncounted.
 */
static __always_inline bool conforms(__u64 *arrival, __u64 interval, __u64 tolerance, __u64 time)
{
	for (int i = 0; i < CONFORM_TRIES; i++) {
		__u64 due = *(volatile __u64 *)arrival;
		__u64 next = (due > time ? due : time) + interval;

		if (due > time + tolerance)
			return false;
		if (__sync_val_compare_and_swap(arrival, due, next) == due)
			return true;
	}
	return true;
}
