/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is fixed when the program is loaded. The verifier knows the values and
 * removes what they rule out.
 */
#pragma once

#include "lib/types.h"

/* Features that the configuration uses. */
const volatile bool use_ipv6 = true;     /* VIPs of IPv6 */
const volatile bool use_l2 = true;
const volatile bool use_tunnel4 = true;  /* outer IPv4 */
const volatile bool use_tunnel6 = true;  /* outer IPv6 */
const volatile bool use_redirect = true; /* egress other than arrival */
const volatile bool use_prefixes = true; /* VIPs that are prefixes */
const volatile bool use_ranges = true;   /* listeners on port ranges */
const volatile bool use_node_rules = true;
const volatile bool use_filters = true;
const volatile bool use_rates = true;
const volatile bool use_quic = true;
const volatile bool use_mss = true;
const volatile bool use_tracking = true; /* services with tracking other than never */
const volatile bool use_signals = true;  /* services whose handshakes are watched */

/* Choices of the node. */
enum echo_policy {
	ECHO_REPLY = 0,
	ECHO_PASS = 1,
	ECHO_DROP = 2,
};
const volatile __u8 echo_policy;

/* What becomes of packets to VIPs when no daemon has ticked for longer than the limit. */
enum silence_policy {
	SILENCE_KEEP = 0, /* what the tables say */
	SILENCE_PASS = 1,
	SILENCE_DROP = 2,
};
const volatile __u8 silence_policy;
const volatile __u64 silence_limit; /* jiffies; ns where time is fixed */

const volatile bool verify_checksum;
const volatile bool pass_orphans;
const volatile struct rate too_big_rate; /* of answers; interval 0: unlimited */
const volatile bool fixed_time;          /* the clock is `clock`, for tests and offline runs */

/* Flow hash constants, expanded from the configuration's key by Go. */
#define HASH_KEYS 13
const volatile __u64 hash_keys[HASH_KEYS];

/* Sizes: rows of `counters` per CPU, buckets of records less one (2^n - 1). */
const volatile __u32 counter_rows = COUNTER_REASONS;
const volatile __u32 fragment_mask;
const volatile __u32 source_mask;
const volatile __u32 flow_mask;
const volatile __u32 handshake_mask;

/* Rows of `signals` per CPU. */
const volatile __u32 signal_rows = 1;

/* Ticks after which a flow that sent nothing has ended. */
const volatile __u32 flow_idle = 900;
