/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages that read headers. Only what the next stage needs is read: the bulk of
 * a node's other traffic ends at the VIP, so ports come after it.
 */
#pragma once

#include "lib/net.h"
#include "lib/pkt.h"

static __always_inline enum verdict parse_ip(struct pkt *p)
{
	struct ethhdr *eth = p->data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(eth + 1) > p->data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return pass(p, REASON_NOT_IPV4);
	if ((void *)(ip + 1) > p->data_end || ip->version != 4)
		return pass(p, REASON_MALFORMED);
	p->ip = ip;
	return VERDICT_NEXT;
}

/*
 * Lengths come from the IP header: a frame may be padded to Ethernet's minimum.
 * Both protocols start with their ports; the least whole header is asked for.
 */
static __always_inline enum verdict parse_ports(struct pkt *p)
{
	struct iphdr *ip = p->ip;
	__u32 header = ip->ihl * 4;
	__u32 len = bpf_ntohs(ip->tot_len);
	__u32 l4_min = ip->protocol == IPPROTO_TCP ? TCP_HEADER_MIN : UDP_HEADER;
	__be16 *ports;

	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return pass(p, REASON_NO_SERVICE);
	if (ip->frag_off & IPV4_FRAGMENT)
		return drop(p, REASON_FRAGMENT);
	if (header < IPV4_HEADER_MIN || len < header + l4_min ||
	    (void *)ip + len > p->data_end)
		return drop(p, REASON_BAD_LENGTH);
	ports = (void *)ip + header;
	if ((void *)(ports + 2) > p->data_end)
		return drop(p, REASON_BAD_LENGTH);
	p->ip_len = len;
	p->ip_header_len = header;
	p->source_port = ports[0];
	p->dest_port = ports[1];
	return VERDICT_NEXT;
}
