/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages that make the packet ready to leave, from the next hop's templates,
 * docs/DATAPATH.md sections 13 and 14. Whatever may refuse it comes before.
 */
#pragma once

#include "lib/csum.h"
#include "lib/net.h"
#include "lib/pkt.h"

/* What an outer header takes over from the packet. */
struct inner {
	__u8 tos;
	__u32 len;
};

static __always_inline bool decrease_ttl(struct pkt *p, struct inner *inner)
{
	struct iphdr *ip = p->data + p->l3;
	struct ipv6hdr *ip6 = (void *)ip;

	inner->len = p->len;
	if (!p->v6) {
		if (is_beyond(p, ip + 1))
			return false;
		inner->tos = ip->tos;
		ipv4_decrease_ttl(ip);
		return true;
	}
	if (is_beyond(p, ip6 + 1))
		return false;
	inner->tos = ip6->priority << 4 | ip6->flow_lbl[0] >> 4;
	ip6->hop_limit--;
	return true;
}

/*
 * Copies a template by words: left to itself, the compiler copies what may be
 * unaligned by bytes. Templates are aligned, and every platform with XDP loads
 * and stores unaligned words. The length is a constant wherever this is inlined.
 */
static __always_inline void copy_words(void *to, const void *from, __u32 len)
{
	__u32 at = 0;

	for (; at + 8 <= len; at += 8)
		*(__u64 *)(to + at) = *(const __u64 *)(from + at);
	if (at + 4 <= len) {
		*(__u32 *)(to + at) = *(const __u32 *)(from + at);
		at += 4;
	}
	if (at + 2 <= len)
		*(__u16 *)(to + at) = *(const __u16 *)(from + at);
}

/*
 * Template lengths are few and even, the first one asked for being the commonest;
 * each copy has a length that the compiler knows, and its own code.
 */
#define COPY_IF(len, size, to, from)                     \
	if ((len) == (size)) {                           \
		if ((to) + (size) > p->data_end)         \
			return false;                    \
		copy_words((to), (from), (size));        \
		keep_apart();                            \
		return true;                             \
	}                                                \
	keep_apart();

static __always_inline bool write_link(struct pkt *p)
{
	const struct hop *hop = p->hop;

	COPY_IF(hop->l2_len, 14, p->data, hop->l2)
	COPY_IF(hop->l2_len, 14 + VLAN_TAG, p->data, hop->l2)
	COPY_IF(hop->l2_len, 14 + 2 * VLAN_TAG, p->data, hop->l2)
	return false;
}

static __always_inline bool copy_outer4(struct pkt *p, struct iphdr *outer)
{
	if ((void *)(outer + 1) > p->data_end)
		return false;
	copy_words(outer, p->hop->outer, __builtin_offsetof(struct iphdr, daddr));
	outer->daddr = p->dest;
	return true;
}

/* There is an address for each backend that there is. */
static __always_inline bool copy_outer6(struct pkt *p, struct ipv6hdr *outer)
{
	__u32 owner = p->owner;
	const struct outer_dest *dest = bpf_map_lookup_elem(&outer6, &owner);

	if (!dest || (void *)(outer + 1) > p->data_end)
		return false;
	copy_words(outer, p->hop->outer, __builtin_offsetof(struct ipv6hdr, daddr));
	copy_words(&outer->daddr, dest->addr, sizeof(outer->daddr));
	return true;
}

/* Writes what is between the outer IP header and the packet, `len` bytes with it. */
static __always_inline bool write_rest(struct pkt *p, void *to, __u32 header, __u32 len)
{
	const void *from = p->hop->outer + header;
	__u32 rest = p->hop->outer_len - header;
	struct udphdr *udp = to;

	if (!rest)
		return true;
	COPY_IF(rest, GRE_HEADER, to, from)
	if (rest != UDP_HEADER + GUE_HEADER || to + UDP_HEADER + GUE_HEADER > p->data_end)
		return false;
	copy_words(to, from, UDP_HEADER + GUE_HEADER);
	udp->source = bpf_htons(GUE_SOURCE_PORT | (p->hash & GUE_SOURCE_BITS));
	udp->len = bpf_htons(len);
	return true;
}

static __always_inline bool write_outer4(struct pkt *p, const struct inner *inner)
{
	const struct hop *hop = p->hop;
	struct iphdr *outer = p->data + (hop->l2_len & 0x1f);
	__u32 len = inner->len + hop->outer_len;
	__u32 sum = csum_add(hop->outer_sum + bpf_htons(inner->tos) + bpf_htons(len), p->dest);

	if (!copy_outer4(p, outer))
		return false;
	outer->tos = inner->tos;
	outer->tot_len = bpf_htons(len);
	if (hop->flags & HOP_VARY) {
		__be32 vary = (__u32)p->hash & hop->source_mask;

		outer->saddr |= vary;
		sum = csum_add(sum, vary);
	}
	outer->check = csum_fold_few(sum);
	return write_rest(p, outer + 1, IPV4_HEADER_MIN, len - IPV4_HEADER_MIN);
}

/*
 * Writes the UDP checksum of the packet whose outer IPv6 header is at `offset`,
 * over all that follows (RFC 8200, 8.1). Global, so that the verifier looks at it
 * once. Returns 0, or -1 if there is no such packet.
 */
__noinline int write_checksum6(struct xdp_md *ctx, __u32 offset, __u32 len)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ipv6hdr *outer = data + (offset & 0x1f);
	struct udphdr *udp = (void *)(outer + 1);
	__u64 sum;

	if ((void *)(udp + 1) > data_end)
		return -1;
	sum = csum_range(&outer->saddr, data_end, 32) + bpf_htons(len) + bpf_htons(IPPROTO_UDP);
	udp->check = csum_fold(sum + csum_range(udp, data_end, len));
	if (!udp->check)
		udp->check = 0xffff;
	return 0;
}

static __always_inline bool write_outer6(struct pkt *p, const struct inner *inner)
{
	const struct hop *hop = p->hop;
	struct ipv6hdr *outer = p->data + (hop->l2_len & 0x1f);
	__u32 len = inner->len + hop->outer_len - IPV6_HEADER;
	__u32 label = p->hash >> 12 & FLOW_LABEL_BITS;

	if (!copy_outer6(p, outer))
		return false;
	*(__be32 *)outer = bpf_htonl(6U << 28 | (__u32)inner->tos << 20 | label);
	outer->payload_len = bpf_htons(len);
	if (hop->flags & HOP_VARY)
		((__be32 *)&outer->saddr)[3] |= (__u32)p->hash & hop->source_mask;
	if (!write_rest(p, outer + 1, IPV6_HEADER, len))
		return false;
	return !(hop->flags & HOP_CHECKSUM) || !write_checksum6(p->ctx, hop->l2_len, len);
}

static __always_inline bool write_headers(struct pkt *p, const struct inner *inner)
{
	const struct hop *hop = p->hop;

	if (!write_link(p))
		return false;
	if (use_l2 && hop->flags & HOP_L2)
		return true;
	if (use_tunnel6 && hop->flags & HOP_OUTER6)
		return write_outer6(p, inner);
	return use_tunnel4 && write_outer4(p, inner);
}

static __always_inline enum verdict rewrite(struct pkt *p)
{
	int room = (int)p->hop->head_len - (int)p->l3;
	struct inner inner = {};

	if (!decrease_ttl(p, &inner))
		return drop(p, REASON_BAD_LENGTH);
	if (room && bpf_xdp_adjust_head(p->ctx, -room))
		return drop(p, REASON_NO_HEADROOM);
	pkt_reload(p);
	if (!write_headers(p, &inner))
		return drop(p, REASON_NO_HEADROOM);
	p->counter = COUNTER_REASONS + p->owner;
	return VERDICT_NEXT;
}

/*
 * A redirect is asked for here, the last thing that can fail, so that the entry
 * function only names its code.
 */
static __always_inline enum verdict emit(struct pkt *p)
{
	if (!use_redirect || p->hop->ifindex == p->ctx->ingress_ifindex)
		return VERDICT_TX;
	if (bpf_redirect_map(&egress, p->hop->egress, XDP_DROP) != XDP_REDIRECT)
		return drop(p, REASON_NO_EGRESS);
	return VERDICT_REDIRECT;
}
