/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The stage that notices that no daemon runs any more, docs/DATAPATH.md section
 * 3: a table that nobody keeps may be wrong by now.
 */
#pragma once

#include "lib/maps.h"
#include "lib/pkt.h"

/*
 * The heartbeat: the tick that was seen last, and since when. One word, so that
 * both belong together; which CPU's is kept is all the same. 0 is none yet.
 */
#define HEARTBEAT_TICK_BITS 16
#define HEARTBEAT_TICK ((1ULL << HEARTBEAT_TICK_BITS) - 1)

/* The clock of silence: jiffies, which the JIT reads without a call. Their low 48 bits do. */
static __always_inline __u64 silence_clock(void)
{
	return fixed_time ? state.clock : bpf_jiffies64();
}

static __always_inline bool daemon_is_silent(void)
{
	__u64 tick = state.tick & HEARTBEAT_TICK, heartbeat = state.heartbeat;
	__u64 clock = silence_clock() << HEARTBEAT_TICK_BITS;

	if (heartbeat && (heartbeat & HEARTBEAT_TICK) == tick)
		return clock - (heartbeat & ~HEARTBEAT_TICK) > silence_limit << HEARTBEAT_TICK_BITS;
	state.heartbeat = clock | tick;
	return false;
}

static __always_inline enum verdict check_daemon(struct pkt *p)
{
	if (silence_policy == SILENCE_KEEP || !daemon_is_silent())
		return VERDICT_NEXT;
	return silence_policy == SILENCE_PASS ? pass(p, REASON_NO_DAEMON) : drop(p, REASON_NO_DAEMON);
}
