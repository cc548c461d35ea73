/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages that read headers, docs/DATAPATH.md sections 1, 2, 4, 5 and 9. Only
 * what the next stage needs is read: most of a node's other traffic ends at the
 * VIP, so lengths and ports come after it.
 */
#pragma once

#include "lib/csum.h"
#include "lib/net.h"
#include "lib/pkt.h"

static __always_inline bool is_vlan(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

static __always_inline enum verdict parse_link(struct pkt *p)
{
	struct ethhdr *eth = p->data;
	__u64 at = sizeof(*eth);
	__be16 type;

	if ((void *)(eth + 1) > p->data_end)
		return pass(p, REASON_NOT_IP);
	type = eth->h_proto;
	for (int i = 0; i < VLAN_TAGS_MAX && is_vlan(type); i++) {
		struct vlan_hdr *tag = p->data + at;

		if ((void *)(tag + 1) > p->data_end)
			return pass(p, REASON_NOT_IP);
		type = tag->h_vlan_encapsulated_proto;
		at += sizeof(*tag);
	}
	if (type != bpf_htons(ETH_P_IP) && type != bpf_htons(ETH_P_IPV6))
		return pass(p, REASON_NOT_IP);
	p->v6 = type == bpf_htons(ETH_P_IPV6);
	asm volatile("%0 &= 0x1f" : "+r"(at)); /* the verifier forgets the bound over the loop */
	p->l3 = at;
	return VERDICT_NEXT;
}

/* Reads what the flow and the lengths need; the length is checked for VIPs only. */
static __always_inline enum verdict parse_ip(struct pkt *p)
{
	struct iphdr *ip = p->data + p->l3;
	struct ipv6hdr *ip6 = (void *)ip;

	if (!p->v6) {
		if ((void *)(ip + 1) > p->data_end || ip->version != 4)
			return pass(p, REASON_MALFORMED);
		p->src = last_word(&ip->saddr);
		p->dst = last_word(&ip->daddr);
		return VERDICT_NEXT;
	}
	if ((void *)(ip6 + 1) > p->data_end || ip6->version != 6)
		return pass(p, REASON_MALFORMED);
	if (!use_ipv6)
		return pass(p, REASON_NOT_OURS);
	p->src = (__be32 *)&ip6->saddr;
	p->dst = (__be32 *)&ip6->daddr;
	return VERDICT_NEXT;
}

/* Whether the packet is plain, and p->v6 a constant where this is inlined. */
static __always_inline bool is_plain(const struct pkt *p)
{
	struct iphdr *ip = p->data + p->l3;
	struct ipv6hdr *ip6 = (void *)ip;
	__u8 proto;

	if (p->v6) {
		if ((void *)(ip6 + 1) + PLAIN_L4 > p->data_end)
			return false;
		proto = ip6->nexthdr;
	} else {
		if ((void *)(ip + 1) + PLAIN_L4 > p->data_end || ip->ihl * 4 != IPV4_HEADER_MIN ||
		    ip->frag_off & (IPV4_FRAGMENT_OFFSET | IPV4_MORE_FRAGMENTS))
			return false;
		proto = ip->protocol;
	}
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP;
}

/* 0 if the checksum of an IPv4 header is right. Global, so that the verifier looks at its loops once. */
__noinline int sum_header(struct xdp_md *ctx, __u32 l3)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + (l3 & 0x1f);

	if ((void *)(ip + 1) > data_end)
		return -1;
	return csum_fold(csum_range(ip, data_end, ip->ihl * 4));
}

static __always_inline enum verdict parse_ipv4(struct pkt *p)
{
	struct iphdr *ip = p->data + p->l3;
	__be16 frag;

	if (is_beyond(p, ip + 1))
		return drop(p, REASON_BAD_LENGTH);
	p->l4 = p->plain ? IPV4_HEADER_MIN : ip->ihl * 4;
	p->len = length_of(ip->tot_len);
	if (p->l4 < IPV4_HEADER_MIN || p->len < p->l4 || (void *)ip + p->len > p->data_end)
		return drop(p, REASON_BAD_LENGTH);
	if (verify_checksum && sum_header(p->ctx, p->l3))
		return drop(p, REASON_BAD_CHECKSUM);
	p->proto = ip->protocol;
	if (p->plain)
		return VERDICT_NEXT;
	frag = ip->frag_off;
	if (frag & IPV4_FRAGMENT_OFFSET)
		p->fragment = FRAGMENT_LATER;
	else if (frag & IPV4_MORE_FRAGMENTS)
		p->fragment = FRAGMENT_FIRST;
	p->fragment_offset = bpf_ntohs(frag & IPV4_FRAGMENT_OFFSET) * 8;
	p->ident = ip->id;
	return VERDICT_NEXT;
}

static __always_inline enum verdict parse_ipv6(struct pkt *p)
{
	struct ipv6hdr *ip6 = p->data + p->l3;

	if (is_beyond(p, ip6 + 1))
		return drop(p, REASON_BAD_LENGTH);
	p->len = IPV6_HEADER + length_of(ip6->payload_len);
	if ((void *)ip6 + p->len > p->data_end)
		return drop(p, REASON_BAD_LENGTH);
	p->proto = ip6->nexthdr;
	p->l4 = IPV6_HEADER;
	return VERDICT_NEXT;
}

static __always_inline enum verdict parse_lengths(struct pkt *p)
{
	pkt_is_ours(p);
	return p->v6 ? parse_ipv6(p) : parse_ipv4(p);
}

/* An address that no host sends from: RFC 1122, 3.2.1.3; RFC 4291, 2.5. */
static __always_inline bool is_martian(const struct pkt *p)
{
	__u8 first = p->v6 ? p->src[0] & 0xff : p->src[3] & 0xff;

	if (p->v6) /* unspecified, loopback, mapped; multicast */
		return (p->src[0] == 0 && p->src[1] == 0) || first == 0xff;
	return first == 0 || first == 127 || first >= 224;
}

static __always_inline bool is_land(const struct pkt *p)
{
	if (!p->v6)
		return p->src[3] == p->dst[3];
	return is_same6(p->src, p->dst);
}

static __always_inline enum verdict check_source(struct pkt *p)
{
	if (is_land(p))
		return drop(p, REASON_LAND);
	if (is_martian(p))
		return drop(p, REASON_MARTIAN);
	return VERDICT_NEXT;
}

#define EXTENSION_HEADERS_MAX 6

static __always_inline bool is_extension(__u8 proto)
{
	return proto == NEXT_HOP_BY_HOP || proto == NEXT_DESTINATION || proto == NEXT_FRAGMENT || proto == NEXT_ROUTING;
}

/* What a walk over extension headers found. */
struct extensions {
	__u32 l4; /* offset in the IP packet of what follows them */
	__u32 ident;
	__u32 fragment_offset;
	__u8 proto;
	__u8 fragment; /* enum fragment */
	__u8 pad[2];
};

/*
 * Walks IPv6 extension headers, RFC 8200 section 4. Returns REASON_NONE, or why
 * the packet goes no further. Global, so that the verifier looks at its loop once.
 */
__noinline int walk_extensions(struct xdp_md *ctx, __u32 l3, __u32 len, struct extensions *found)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ipv6hdr *ip6 = data + (l3 & 0x1f);
	__u32 at = IPV6_HEADER;
	bool fragmented = false;
	__u8 proto;

	if (!found || (void *)(ip6 + 1) > data_end)
		return REASON_BAD_LENGTH;
	proto = ip6->nexthdr;
	for (int i = 0; i < EXTENSION_HEADERS_MAX && is_extension(proto); i++) {
		struct ipv6_opt_hdr *header = (void *)ip6 + (at & 0x3fff);
		struct frag_hdr *frag = (void *)header;
		__u32 size = 8;

		if (proto == NEXT_ROUTING || (proto == NEXT_FRAGMENT && fragmented))
			return REASON_EXTENSION_HEADERS;
		if (at + size > len || (void *)(frag + 1) > data_end)
			return REASON_BAD_LENGTH;
		if (proto == NEXT_FRAGMENT) {
			fragmented = true;
			found->ident = frag->identification;
			found->fragment_offset = bpf_ntohs(frag->frag_off & IPV6_FRAGMENT_OFFSET);
			if (found->fragment_offset)
				found->fragment = FRAGMENT_LATER;
			else if (frag->frag_off & IPV6_MORE_FRAGMENTS)
				found->fragment = FRAGMENT_FIRST;
		} else {
			size += header->hdrlen * 8;
			if (at + size > len)
				return REASON_BAD_LENGTH;
		}
		proto = header->nexthdr;
		at += size;
		if (found->fragment == FRAGMENT_LATER)
			break;
	}
	found->proto = proto;
	found->l4 = at;
	if (is_extension(proto) && found->fragment != FRAGMENT_LATER)
		return REASON_EXTENSION_HEADERS;
	return REASON_NONE;
}

static __always_inline enum verdict parse_extensions(struct pkt *p)
{
	struct extensions found = {};
	int reason;

	if (p->plain || !use_ipv6 || !p->v6 || !is_extension(p->proto))
		return VERDICT_NEXT;
	reason = walk_extensions(p->ctx, p->l3, p->len, &found);
	if (reason == REASON_EXTENSION_HEADERS)
		return pass(p, REASON_EXTENSION_HEADERS);
	if (reason != REASON_NONE)
		return drop(p, REASON_BAD_LENGTH);
	p->l4 = found.l4;
	p->proto = found.proto;
	p->fragment = found.fragment;
	p->ident = found.ident;
	p->fragment_offset = found.fragment_offset;
	return VERDICT_NEXT;
}

/* A later fragment that would reach past the largest packet: "ping of death". */
static __always_inline enum verdict check_fragment_end(struct pkt *p)
{
	if (p->fragment == FRAGMENT_LATER && p->fragment_offset + p->len - p->l4 > 65535)
		return drop(p, REASON_BAD_LENGTH);
	return VERDICT_NEXT;
}

static __always_inline enum verdict parse_tcp(struct pkt *p, struct tcphdr *tcp)
{
	__u32 room = p->len - p->l4;

	if (room < TCP_HEADER_MIN || is_beyond(p, tcp + 1))
		return drop(p, REASON_BAD_LENGTH);
	if (p->fragment == FRAGMENT_NONE && (tcp->doff < 5 || tcp->doff * 4 > room))
		return drop(p, REASON_BAD_LENGTH);
	p->ports = *(__u32 *)tcp;
	p->tcp_flags = ((__u8 *)tcp)[TCP_FLAGS];
	return VERDICT_NEXT;
}

static __always_inline enum verdict parse_udp(struct pkt *p, struct udphdr *udp)
{
	__u32 room = p->len - p->l4;

	if (room < UDP_HEADER || is_beyond(p, udp + 1))
		return drop(p, REASON_BAD_LENGTH);
	if (p->fragment == FRAGMENT_NONE && (bpf_ntohs(udp->len) < UDP_HEADER || bpf_ntohs(udp->len) > room))
		return drop(p, REASON_BAD_LENGTH);
	p->ports = *(__u32 *)udp;
	return VERDICT_NEXT;
}

static __always_inline enum verdict parse_ports(struct pkt *p)
{
	void *l4 = p->data + p->l3 + (p->l4 & 0x1fff);

	if (p->icmp_error || p->fragment == FRAGMENT_LATER)
		return VERDICT_NEXT;
	if (p->proto == IPPROTO_TCP)
		return parse_tcp(p, l4);
	if (p->plain || p->proto == IPPROTO_UDP)
		return parse_udp(p, l4);
	return pass(p, REASON_NO_SERVICE);
}
