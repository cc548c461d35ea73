/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet on its way through the stages, and how a stage ends it.
 */
#pragma once

#include "lib/maps.h"
#include "lib/config.h"
#include "lib/reasons.h"
#include "lib/types.h"

/* In the order of XDP's codes, so that the one is the other in the entry function. */
enum verdict {
	VERDICT_NEXT = 0, /* on to the next stage */
	VERDICT_DROP,
	VERDICT_PASS,     /* to the kernel, untouched */
	VERDICT_TX,       /* out by the interface it came in on */
	VERDICT_REDIRECT, /* out by another one */
};

enum fragment {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST, /* has the ports */
	FRAGMENT_LATER, /* has none */
};

/*
 * No pointer to a field is handed to a helper or a function that is not inlined:
 * all fields would have to live on the stack, and be read again, from there on.
 */
struct pkt {
	struct xdp_md *ctx;
	void *data;
	void *data_end;
	__u32 frame_len; /* as it arrived */

	/*
	 * The packet. Lengths are from the IP header; frames may be padded. Whole
	 * words: the verifier keeps the bounds of those alone when they are spilled.
	 */
	__u64 l3;  /* offset of the IP header in the frame */
	__u64 l4;  /* offset of what follows the IP headers, in the IP packet */
	__u64 len; /* of the IP packet */
	/*
	 * TCP or UDP right behind an IP header without options, whole, and with
	 * PLAIN_L4 bytes of the frame behind it. The pipeline is compiled for plain
	 * packets apart: what follows from it costs them nothing.
	 */
	bool plain;
	bool v6;
	__u8 proto;
	__u8 fragment; /* enum fragment */
	bool icmp_error;     /* the flow is the quoted one, reversed */
	__u8 tcp_flags;      /* as in the header, 0 for others */
	__u32 ident;         /* of a fragment, as it lies */
	__u32 fragment_offset; /* in bytes */

	/*
	 * The flow. Addresses stay in the frame, where reading them again costs no more
	 * than from the stack. Of IPv4 they are the last of ADDR_WORDS words.
	 */
	const __be32 *src;
	const __be32 *dst;
	__u32 ports; /* as they lie: destination in the high half, source in the low */

	const struct vip *vip;
	bool served; /* there is a service */
	struct service_head service;
	const struct hop *hop; /* the backend's */
	__be32 dest;           /* the backend's, in an outer IPv4 header */
	__u32 owner;           /* the backend's number */
	__u64 hash;

	__u32 counter; /* row to add to: a reason's or a backend's */
};

/*
 * Ends the packet. What a packet is counted as is known to the compiler no earlier
 * than here: else it has all packets load the reason before a check that few fail.
 */
static __always_inline enum verdict end(struct pkt *p, __u32 reason, enum verdict verdict)
{
	asm volatile("" : "+r"(reason));
	p->counter = reason;
	return verdict;
}

/* Makes a stage end the packet: `return drop(p, REASON_X);` */
static __always_inline enum verdict drop(struct pkt *p, enum reason reason)
{
	return end(p, reason, VERDICT_DROP);
}

static __always_inline enum verdict pass(struct pkt *p, enum reason reason)
{
	return end(p, reason, VERDICT_PASS);
}

static __always_inline enum verdict answer(struct pkt *p, enum reason reason)
{
	return end(p, reason, VERDICT_TX);
}

/*
 * Nothing that stands behind this in the text is done before it, nor joined with
 * what other ways do: for what few packets need, behind a check that most pass.
 */
static __always_inline void keep_apart(void)
{
	asm volatile("" ::: "memory");
}

#define PLAIN_L4 20 /* any TCP header begins so long; with a UDP header, frames of minimum size have as much */

/* Whether what ends at `end` does not lie in the frame. Of plain packets it is known that all headers do. */
static __always_inline bool is_beyond(const struct pkt *p, const void *end)
{
	return !p->plain && end > p->data_end;
}

/* Takes the packet's bounds from the context, at the start and after a resize. */
static __always_inline void pkt_reload(struct pkt *p)
{
	p->data = (void *)(long)p->ctx->data;
	p->data_end = (void *)(long)p->ctx->data_end;
}

/*
 * Sets what stages may read before another has set it. The rest is set by
 * parse_lengths(), so that packets that are not ours do not pay for it.
 */
static __always_inline void pkt_init(struct pkt *p, struct xdp_md *ctx)
{
	p->ctx = ctx;
	p->counter = REASON_NONE;
	pkt_reload(p);
}

static __always_inline void pkt_is_ours(struct pkt *p)
{
	p->fragment = FRAGMENT_NONE;
	p->icmp_error = false;
	p->tcp_flags = 0;
	p->ident = p->fragment_offset = 0;
	p->ports = 0;
	p->served = false;
	p->owner = 0;
}

/* Compares IPv6 addresses by words that are as wide as they come. */
static __always_inline bool is_same6(const __be32 *a, const __be32 *b)
{
	return *(const __u64 *)a == *(const __u64 *)b && *(const __u64 *)(a + 2) == *(const __u64 *)(b + 2);
}

/* The address of which an IPv4 address is the last word; both lie in the IP header. */
static __always_inline const __be32 *last_word(const __be32 *addr)
{
	return addr - (ADDR_WORDS - 1);
}

static __always_inline __be16 dest_port(const struct pkt *p)
{
	return p->ports >> 16;
}

/* The clock: only paths that keep state ask for it. */
static __always_inline __u64 now(void)
{
	return fixed_time ? state.clock : bpf_ktime_get_ns();
}

/*
 * Takes a service's head over, from its own row or a VIP's. By value: to the verifier
 * pointers into two maps are never alike, and it would follow all that comes after twice.
 */
static __always_inline void serve(struct pkt *p, const struct service_head *head)
{
	p->service.table = *(const volatile __u64 *)&head->table; /* once: offset and size belong together */
	p->service.flags = head->flags;
	p->service.number = head->number;
	p->served = true;
}

static __always_inline bool set_service(struct pkt *p, __u32 id)
{
	const struct service_head *head = bpf_map_lookup_elem(&services, &id); /* a row begins with it */

	if (head)
		serve(p, head);
	return head;
}

/* The row of the packet's service, for what few services ask for. */
static __always_inline const struct service *service_row(const struct pkt *p)
{
	__u32 id = p->service.number;

	return bpf_map_lookup_elem(&services, &id);
}
