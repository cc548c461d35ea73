/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet on its way through the stages, and how a stage ends it.
 */
#pragma once

#include "lib/reasons.h"
#include "lib/types.h"

enum verdict {
	VERDICT_NEXT = 0, /* on to the next stage */
	VERDICT_PASS,     /* to the kernel, untouched */
	VERDICT_DROP,
	VERDICT_TX,       /* out by the interface it came in on */
	VERDICT_REDIRECT, /* out by another one */
};

struct pkt {
	struct xdp_md *ctx;
	void *data;
	void *data_end;
	__u32 frame_len; /* as it arrived */

	struct iphdr *ip;
	__u16 ip_len; /* from the IP header; frames may be padded */
	__u16 ip_header_len;
	__be16 source_port;
	__be16 dest_port;

	const struct vip *vip;
	const struct service *service;
	const struct backend *backend;

	__u32 counter; /* row to add to: a reason's or a backend's */
};

/* Makes a stage end the packet: `return drop(p, REASON_X);` */
static __always_inline enum verdict drop(struct pkt *p, enum reason reason)
{
	p->counter = reason;
	return VERDICT_DROP;
}

static __always_inline enum verdict pass(struct pkt *p, enum reason reason)
{
	p->counter = reason;
	return VERDICT_PASS;
}

/* Takes the packet's bounds from the context, at the start and after a resize. */
static __always_inline void pkt_reload(struct pkt *p)
{
	p->data = (void *)(long)p->ctx->data;
	p->data_end = (void *)(long)p->ctx->data_end;
}
