/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages that find what a packet is for. The VIP table is a perfect hash made
 * by the control plane ("hash, displace and compress", Belazzougui, Botelho and
 * Dietzfelbinger, 2009): a key's bucket row holds the displacement that leads to
 * its own row. Most displacements are 0, so that both are the same row, and one
 * probe decides.
 */
#pragma once

#include "lib/hash.h"
#include "lib/maps.h"
#include "lib/pkt.h"

static __always_inline enum verdict find_vip(struct pkt *p)
{
	__u64 table = vip_table;
	__u32 first = table, mask = table >> 32;
	__be32 addr = p->ip->daddr;
	__u64 hash = hash_vip4(addr);
	__u32 row = first + (hash & mask);
	struct vip *vip = bpf_map_lookup_elem(&vips, &row);

	if (vip && vip->displacement) {
		row = first + ((hash + vip->displacement * ((hash >> 32) | 1)) & mask);
		vip = bpf_map_lookup_elem(&vips, &row);
	}
	if (!vip || vip->addr[3] != addr || vip->addr[2] != V4_MAPPED)
		return pass(p, REASON_NOT_OURS);
	p->vip = vip;
	return VERDICT_NEXT;
}

/* A VIP's listeners sit where their seeded hash says; the seed avoids collisions. */
static __always_inline enum verdict find_service(struct pkt *p)
{
	const struct vip *vip = p->vip;
	__u8 proto = p->ip->protocol;
	__u32 key = p->dest_port | (__u32)proto << 16;
	__u32 row = vip->ports + (key * vip->port_seed >> 16 & vip->port_mask);
	struct port *port = bpf_map_lookup_elem(&ports, &row);
	struct service *service;

	if (!port || port->port != p->dest_port || port->proto != proto)
		return pass(p, REASON_NO_SERVICE);
	service = bpf_map_lookup_elem(&services, &port->service);
	if (!service)
		return pass(p, REASON_NO_SERVICE);
	p->service = service;
	return VERDICT_NEXT;
}
