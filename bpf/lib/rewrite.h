/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages that make the packet ready to leave, from the backend's templates.
 * Checks come before the first write: a dropped packet is an unchanged one.
 */
#pragma once

#include "lib/config.h"
#include "lib/csum.h"
#include "lib/pkt.h"

/* xlb is a hop like any router: a loop over it ends (RFC 2003, 3.1). */
static __always_inline enum verdict check_hop(struct pkt *p)
{
	if (p->ip->ttl <= 1)
		return drop(p, REASON_TTL_EXPIRED);
	return VERDICT_NEXT;
}

static __always_inline void write_ethernet(struct ethhdr *eth, const struct backend *backend)
{
	__builtin_memcpy(eth, backend->l2, sizeof(*eth));
}

static __always_inline enum verdict rewrite_l2(struct pkt *p)
{
	if (p->ip_len > p->backend->mtu)
		return drop(p, REASON_TOO_BIG);
	ipv4_decrease_ttl(p->ip);
	write_ethernet(p->data, p->backend);
	return VERDICT_NEXT;
}

/*
 * IPv4 in IPv4 (RFC 2003), TOS copied whole (RFC 6040, normal mode). The
 * template's identification is 0, which DF allows (RFC 6864).
 */
static __always_inline enum verdict rewrite_ipip(struct pkt *p)
{
	const struct backend *backend = p->backend;
	__u32 len = p->ip_len + sizeof(struct iphdr);
	__u8 tos = p->ip->tos;
	struct iphdr *outer;

	if (len > backend->mtu)
		return drop(p, REASON_TOO_BIG);
	ipv4_decrease_ttl(p->ip);
	if (bpf_xdp_adjust_head(p->ctx, -(int)sizeof(*outer)))
		return drop(p, REASON_NO_HEADROOM);
	pkt_reload(p);
	outer = p->data + sizeof(struct ethhdr);
	if ((void *)(outer + 1) > p->data_end)
		return drop(p, REASON_NO_HEADROOM);
	write_ethernet(p->data, backend);
	__builtin_memcpy(outer, backend->outer, sizeof(*outer));
	outer->tos = tos;
	outer->tot_len = bpf_htons(len);
	outer->check = csum_fold(backend->outer_sum + bpf_htons(tos) + bpf_htons(len));
	return VERDICT_NEXT;
}

static __always_inline enum verdict rewrite(struct pkt *p)
{
	if (use_ipip && p->backend->forward == FORWARD_IPIP)
		return rewrite_ipip(p);
	if (use_l2 && p->backend->forward == FORWARD_L2)
		return rewrite_l2(p);
	return drop(p, REASON_NO_NEXT_HOP);
}

/*
 * A redirect is asked for here, the last thing that can fail, so that the entry
 * function only names its code.
 */
static __always_inline enum verdict emit(struct pkt *p)
{
	if (!use_redirect || p->backend->ifindex == p->ctx->ingress_ifindex)
		return VERDICT_TX;
	if (bpf_redirect_map(&egress, p->backend->egress, XDP_DROP) != XDP_REDIRECT)
		return drop(p, REASON_NO_EGRESS);
	return VERDICT_REDIRECT;
}
