/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The stage that keeps packets within the egress MTU, docs/DATAPATH.md section
 * 13: a sender that can be told the path MTU is told, at a bounded rate.
 */
#pragma once

#include "lib/csum.h"
#include "lib/link.h"
#include "lib/net.h"
#include "lib/pkt.h"
#include "lib/record.h"

#define QUOTE4 520  /* an answer of 548 bytes, within RFC 1812's 576 */
#define QUOTE6 1232 /* an answer of 1280 bytes, RFC 4443 section 2.4 */
#define IPV6_MTU_MIN 1280
#define LINK_MAX (14 + VLAN_TAGS_MAX * VLAN_TAG)

struct answer4 {
	struct iphdr ip;
	struct icmphdr icmp;
} __attribute__((packed));

struct answer6 {
	struct ipv6hdr ip;
	struct icmp6hdr icmp;
} __attribute__((packed));

/*
 * Opens a gap of `room` bytes behind the link header, cuts the packet to `quote`
 * bytes, and turns the MACs round. The packet starts at l3 + room then.
 */
static __always_inline bool make_room(struct xdp_md *ctx, __u32 l3, __u32 frame_len, int room, __u32 quote)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u8 link[LINK_MAX + 2];

	if (data + LINK_MAX > data_end)
		return false;
	__builtin_memcpy(link, data, LINK_MAX);
	if (bpf_xdp_adjust_head(ctx, -room))
		return false;
	if (bpf_xdp_adjust_tail(ctx, (int)(l3 + quote) - (int)frame_len))
		return false;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	if (data + LINK_MAX > data_end)
		return false;
	if (l3 == 14)
		__builtin_memcpy(data, link, 14);
	else if (l3 == 14 + VLAN_TAG)
		__builtin_memcpy(data, link, 14 + VLAN_TAG);
	else
		__builtin_memcpy(data, link, LINK_MAX);
	swap_macs(data);
	return true;
}

/*
 * The answers are global functions, so that the verifier looks at them once, not
 * for every way that leads here. They return 0, or -1 when the driver has no
 * room; len is the packet's, frame_len the frame's.
 */
__noinline int answer_too_big4(struct xdp_md *ctx, __u32 l3, __u32 len, __u32 frame_len, __u32 mtu)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 quote = len < QUOTE4 ? len : QUOTE4;
	struct iphdr *ip = data + (l3 & 0x1f);
	__be32 src, dst;
	struct answer4 *a;

	if ((void *)(ip + 1) > data_end)
		return -1;
	src = ip->saddr;
	dst = ip->daddr;
	if (!make_room(ctx, l3, frame_len, sizeof(*a), quote))
		return -1;
	data_end = (void *)(long)ctx->data_end;
	a = (void *)(long)ctx->data + (l3 & 0x1f);
	if ((void *)(a + 1) > data_end)
		return -1;
	*a = (struct answer4){
		.ip = { .version = 4, .ihl = 5, .ttl = IP_TTL, .protocol = IPPROTO_ICMP,
			.tot_len = bpf_htons(sizeof(*a) + quote), .frag_off = IPV4_DONT_FRAGMENT,
			.saddr = dst, .daddr = src },
		.icmp = { .type = ICMP_UNREACHABLE, .code = ICMP_FRAGMENTATION_NEEDED },
	};
	a->icmp.un.frag.mtu = bpf_htons(mtu);
	a->ip.check = csum_fold(csum_range(&a->ip, data_end, sizeof(a->ip)));
	a->icmp.checksum = csum_fold(csum_range(&a->icmp, data_end, sizeof(a->icmp) + quote));
	return 0;
}

__noinline int answer_too_big6(struct xdp_md *ctx, __u32 l3, __u32 len, __u32 frame_len, __u32 mtu)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 quote = len < QUOTE6 ? len : QUOTE6;
	__u16 icmp_len = sizeof(struct icmp6hdr) + quote;
	struct ipv6hdr *ip = data + (l3 & 0x1f);
	struct in6_addr src, dst;
	struct answer6 *a;
	__u64 sum;

	if ((void *)(ip + 1) > data_end)
		return -1;
	src = ip->saddr;
	dst = ip->daddr;
	if (!make_room(ctx, l3, frame_len, sizeof(*a), quote))
		return -1;
	data_end = (void *)(long)ctx->data_end;
	a = (void *)(long)ctx->data + (l3 & 0x1f);
	if ((void *)(a + 1) > data_end)
		return -1;
	*a = (struct answer6){
		.ip = { .version = 6, .hop_limit = IP_TTL, .nexthdr = NEXT_ICMPV6, .payload_len = bpf_htons(icmp_len),
			.saddr = dst, .daddr = src },
		.icmp = { .icmp6_type = ICMPV6_TOO_BIG },
	};
	a->icmp.icmp6_dataun.un_data32[0] = bpf_htonl(mtu < IPV6_MTU_MIN ? IPV6_MTU_MIN : mtu);
	sum = csum_range(&a->ip.saddr, data_end, 32) + bpf_htons(icmp_len) + bpf_htons(NEXT_ICMPV6);
	sum += csum_range(&a->icmp, data_end, icmp_len);
	a->icmp.icmp6_cksum = csum_fold(sum);
	return 0;
}

/* An IPv4 sender that did not ask for it is not told: its packet may be fragmented elsewhere. */
static __always_inline bool may_be_told(const struct pkt *p)
{
	struct iphdr *ip = p->data + p->l3;

	if (p->icmp_error || p->fragment == FRAGMENT_LATER)
		return false;
	return p->v6 || ((void *)(ip + 1) <= p->data_end && ip->frag_off & IPV4_DONT_FRAGMENT);
}

static __always_inline bool answers_conform(void)
{
	return !too_big_rate.interval ||
	       conforms((__u64 *)&state.too_big_arrival, too_big_rate.interval, too_big_rate.tolerance, now());
}

static __always_inline enum verdict check_size(struct pkt *p)
{
	__u32 mtu = p->hop->mtu;
	int failed;

	if (p->len <= mtu)
		return VERDICT_NEXT;
	if (!may_be_told(p) || !answers_conform())
		return drop(p, REASON_TOO_BIG);
	if (p->v6)
		failed = answer_too_big6(p->ctx, p->l3, p->len, p->frame_len, mtu);
	else
		failed = answer_too_big4(p->ctx, p->l3, p->len, p->frame_len, mtu);
	return failed ? drop(p, REASON_NO_HEADROOM) : answer(p, REASON_TOO_BIG_ANSWERED);
}
