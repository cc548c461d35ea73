/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages for ICMP to a VIP, docs/DATAPATH.md section 8: echo is answered, errors
 * take the way of the flow that they quote.
 */
#pragma once

#include "lib/csum.h"
#include "lib/link.h"
#include "lib/net.h"
#include "lib/pkt.h"

static __always_inline bool is_echo_request(const struct pkt *p, const struct icmphdr *icmp)
{
	return icmp->type == (p->v6 ? ICMPV6_ECHO_REQUEST_TYPE : ICMP_ECHO_REQUEST) && icmp->code == 0;
}

/* RFC 792 and RFC 4443: what a router or host says about a packet. */
static __always_inline bool is_error(const struct pkt *p, __u8 type)
{
	if (p->v6)
		return type >= 1 && type <= 4;
	return type == 3 || type == 4 || type == 11 || type == 12;
}

static __always_inline enum verdict reply_echo(struct pkt *p, struct icmphdr *icmp)
{
	__u16 old = icmp->type, new = p->v6 ? ICMPV6_ECHO_ANSWER_TYPE : ICMP_ECHO_ANSWER;
	struct iphdr *ip = p->data + p->l3;
	struct ipv6hdr *ip6 = (void *)ip;
	struct in6_addr src6;
	__be32 src;

	if ((void *)(ip + 1) > p->data_end)
		return drop(p, REASON_BAD_LENGTH);
	if (p->v6) {
		if ((void *)(ip6 + 1) > p->data_end)
			return drop(p, REASON_BAD_LENGTH);
		src6 = ip6->saddr;
		ip6->saddr = ip6->daddr;
		ip6->daddr = src6;
		ip6->hop_limit = IP_TTL;
	} else {
		/* TTL is the low byte of its word as it lies */
		ip->check = csum_replace(ip->check, ip->ttl | ip->protocol << 8, IP_TTL | ip->protocol << 8);
		ip->ttl = IP_TTL;
		src = ip->saddr;
		ip->saddr = ip->daddr;
		ip->daddr = src;
	}
	icmp->type = new;
	icmp->checksum = csum_replace(icmp->checksum, old, new);
	swap_macs(p->data);
	return answer(p, REASON_ECHO_REPLIED);
}

static __always_inline enum verdict handle_echo(struct pkt *p, struct icmphdr *icmp)
{
	if (echo_policy == ECHO_REPLY)
		return reply_echo(p, icmp);
	if (echo_policy == ECHO_PASS)
		return pass(p, REASON_NO_SERVICE);
	return drop(p, REASON_ECHO_DROPPED);
}

/* Takes the ports of the quoted packet, which came from the VIP, as a reply would have them. */
static __always_inline enum verdict take_quoted_ports(struct pkt *p, __u32 offset, __u8 proto)
{
	__u32 *ports = p->data + p->l3 + (offset & 0x1fff);

	if (offset + 8 > p->len || (void *)(ports + 2) > p->data_end)
		return drop(p, REASON_ICMP_UNMATCHED);
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return drop(p, REASON_ICMP_UNMATCHED);
	p->proto = proto;
	p->ports = *ports << 16 | *ports >> 16;
	p->icmp_error = true;
	return VERDICT_NEXT;
}

static __always_inline enum verdict match_quoted4(struct pkt *p)
{
	__u32 offset = p->l4 + ICMP_HEADER;
	struct iphdr *quoted = p->data + p->l3 + (offset & 0x1fff);

	if (offset + IPV4_HEADER_MIN > p->len || (void *)(quoted + 1) > p->data_end)
		return drop(p, REASON_ICMP_UNMATCHED);
	if (quoted->version != 4 || quoted->ihl < 5 || quoted->frag_off & IPV4_FRAGMENT_OFFSET ||
	    quoted->saddr != p->dst[3])
		return drop(p, REASON_ICMP_UNMATCHED);
	p->src = last_word(&quoted->daddr);
	return take_quoted_ports(p, offset + quoted->ihl * 4, quoted->protocol);
}

static __always_inline enum verdict match_quoted6(struct pkt *p)
{
	__u32 offset = p->l4 + ICMP_HEADER;
	struct ipv6hdr *quoted = p->data + p->l3 + (offset & 0x1fff);
	__be32 *from;

	if (offset + IPV6_HEADER > p->len || (void *)(quoted + 1) > p->data_end)
		return drop(p, REASON_ICMP_UNMATCHED);
	from = (__be32 *)&quoted->saddr;
	if (quoted->version != 6 || from[0] != p->dst[0] || from[1] != p->dst[1] || from[2] != p->dst[2] ||
	    from[3] != p->dst[3])
		return drop(p, REASON_ICMP_UNMATCHED);
	p->src = (__be32 *)&quoted->daddr;
	return take_quoted_ports(p, offset + IPV6_HEADER, quoted->nexthdr);
}

static __always_inline enum verdict handle_icmp(struct pkt *p)
{
	struct icmphdr *icmp = p->data + p->l3 + (p->l4 & 0x1fff);

	if (p->plain || p->proto != (p->v6 ? NEXT_ICMPV6 : IPPROTO_ICMP) || p->fragment == FRAGMENT_LATER)
		return VERDICT_NEXT;
	if (p->fragment == FRAGMENT_FIRST)
		return drop(p, REASON_FRAGMENT);
	if (p->len - p->l4 < ICMP_HEADER || (void *)(icmp + 1) > p->data_end)
		return drop(p, REASON_BAD_LENGTH);
	if (is_echo_request(p, icmp))
		return handle_echo(p, icmp);
	if (!is_error(p, icmp->type))
		return pass(p, REASON_NO_SERVICE);
	return p->v6 ? match_quoted6(p) : match_quoted4(p);
}
