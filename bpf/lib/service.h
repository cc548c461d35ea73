/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages that find what a packet is for, docs/DATAPATH.md sections 3 and 9. The
 * VIP table is a perfect hash made by the control plane ("hash, displace and
 * compress", Belazzougui, Botelho and Dietzfelbinger, 2009): the displacement of a
 * key's bucket leads to its row, and one probe decides. There is no branch on the
 * way, which of many VIPs would be guessed wrongly for a good part.
 */
#pragma once

#include "lib/hash.h"
#include "lib/pkt.h"

#define V4_PREFIX 96 /* bits of 128 before an IPv4 address */

/* Rows of `vips` are named by number plus 1, so that global functions can return them; 0 is none. */
static __always_inline const struct vip *vip_at(__u32 found)
{
	__u32 row = found - 1;

	return found ? bpf_map_lookup_elem(&vips, &row) : NULL;
}

static __always_inline const struct vip *probe_vip(__u64 table, __u64 hash, __u32 *row)
{
	__u32 first = table, mask = table >> 32, displacement;
	__u64 bucket = hash & mask >> VIP_BUCKET_SHIFT & ((1 << VIP_BUCKET_BITS) - 1);

	/* Opaque, or the compiler makes an OR of the sum, of which the verifier of Linux 6.1 knows no bound. */
	asm volatile("" : "+r"(bucket));
	displacement = state.displacements[(table >> 63 << VIP_BUCKET_BITS) + bucket];
	*row = first + ((hash ^ displacement) * VIP_MULTIPLIER_HIGH >> 33 & mask);
	return bpf_map_lookup_elem(&vips, row);
}

static __always_inline const struct vip *probe_vip4(__u64 table, __be32 addr, __u8 length, __u32 *row)
{
	const struct vip *vip = probe_vip(table, hash_vip4(addr, length), row);

	if (vip && vip->addr[3] == addr && vip->kind == VIP_KIND(4, length))
		return vip;
	return NULL;
}

static __always_inline const struct vip *probe_vip6(__u64 table, const __be32 *addr, __u8 length, __u32 *row)
{
	const struct vip *vip = probe_vip(table, hash_vip6(addr, length), row);

	if (vip && is_same6(vip->addr, addr) && vip->kind == VIP_KIND(6, length))
		return vip;
	return NULL;
}

/* Ones in the bits of a prefix that fall into a 32-bit word that starts at bit `from`. */
static __always_inline __be32 prefix_mask(__u32 length, __u32 from)
{
	if (length <= from)
		return 0;
	if (length >= from + 32)
		return ~0U;
	return bpf_htonl(~0U << ((from + 32 - length) & 31));
}

/*
 * The longest VIP prefix, other than a whole address, around an address; and the
 * same for IPv6. Global, so that the verifier looks at their loops once.
 */
__noinline __u32 lookup_prefix4(__be32 addr)
{
	__u64 table = state.vip_table;
	__u32 half = table >> 63, row;

	for (int i = 0; i < PREFIX_LENGTHS; i++) {
		__u8 length = state.lengths[half].v4[i];

		if (!length)
			break;
		if (probe_vip4(table, addr & prefix_mask(length, V4_PREFIX), length, &row))
			return row + 1;
	}
	return 0;
}

__noinline __u32 lookup_prefix6(const struct in6_addr *addr)
{
	__u64 table = state.vip_table;
	__u32 half = table >> 63, row;
	__be32 masked[ADDR_WORDS];

	if (!addr)
		return 0;
	for (int i = 0; i < PREFIX_LENGTHS; i++) {
		__u8 length = state.lengths[half].v6[i];

		if (!length)
			break;
		for (int w = 0; w < ADDR_WORDS; w++)
			masked[w] = addr->in6_u.u6_addr32[w] & prefix_mask(length, 32 * w);
		if (probe_vip6(table, masked, length, &row))
			return row + 1;
	}
	return 0;
}

/* The same of an address in the frame. */
static __always_inline __u32 lookup_prefix6_of(const __be32 *addr)
{
	struct in6_addr copy = { .in6_u.u6_addr32 = { addr[0], addr[1], addr[2], addr[3] } };

	return lookup_prefix6(&copy);
}

static __always_inline const struct vip *lookup_vip4(__be32 addr)
{
	__u32 row;
	const struct vip *vip = probe_vip4(state.vip_table, addr, 128, &row);

	return vip || !use_prefixes ? vip : vip_at(lookup_prefix4(addr));
}

static __always_inline const struct vip *lookup_vip6(const __be32 *addr)
{
	__u32 row;
	const struct vip *vip = probe_vip6(state.vip_table, addr, 128, &row);

	return vip || !use_prefixes ? vip : vip_at(lookup_prefix6_of(addr));
}

/*
 * Whether an address may be a VIP. Of the sources of packets hardly any is, and each
 * would touch another row of the table.
 */
static __always_inline bool is_marked(__u32 mark)
{
	return state.marks[mark >> 6] >> (mark & 63) & 1;
}

static __always_inline bool is_vip4(__be32 addr)
{
	__u32 row;

	if (is_marked(mark_vip4(addr)) && probe_vip4(state.vip_table, addr, 128, &row))
		return true;
	return use_prefixes && lookup_prefix4(addr);
}

static __always_inline bool is_vip6(const __be32 *addr)
{
	__u32 row;

	if (is_marked(mark_vip6(addr)) && probe_vip6(state.vip_table, addr, 128, &row))
		return true;
	return use_prefixes && lookup_prefix6_of(addr);
}

static __always_inline enum verdict find_vip(struct pkt *p)
{
	p->vip = p->v6 ? lookup_vip6(p->dst) : lookup_vip4(p->dst[3]);
	if (!p->vip)
		return pass(p, REASON_NOT_OURS);
	return VERDICT_NEXT;
}

static __always_inline enum verdict check_source_vip(struct pkt *p)
{
	if (p->v6 ? is_vip6(p->src) : is_vip4(p->src[3]))
		return drop(p, REASON_SOURCE_IS_VIP);
	return VERDICT_NEXT;
}

/*
 * The service, plus 1, of the one of `count` intervals from row `first` on that
 * holds a port, or 0. Global, so that the verifier looks at its loop once.
 */
__noinline __u32 find_range(__u32 first, __u32 count, __u32 port)
{
	struct range *range;

	for (int i = 0; i < RANGE_STEPS && count > 1; i++) {
		__u32 half = count / 2, row = first + half;

		range = bpf_map_lookup_elem(&ranges, &row);
		if (range && range->first <= port) {
			first += half;
			count -= half;
		} else {
			count = half;
		}
	}
	range = count ? bpf_map_lookup_elem(&ranges, &first) : NULL;
	return range && range->first <= port && port <= range->last ? range->service + 1 : 0;
}

static __always_inline bool find_range_service(struct pkt *p)
{
	const struct vip *vip = p->vip;
	__u32 port = bpf_ntohs(dest_port(p)), service;

	if (p->proto == IPPROTO_TCP)
		service = find_range(vip->ranges, vip->tcp_ranges, port);
	else
		service = find_range(vip->ranges + vip->tcp_ranges, vip->udp_ranges, port);
	return service && set_service(p, service - 1);
}

/* A VIP's listeners sit where their seeded hash says; the seed avoids collisions. */
static __always_inline const struct port *find_port(const struct vip *vip, __u32 key)
{
	__u32 row = vip->ports + (key * vip->port_seed >> 16 & vip->port_mask);
	const struct port *port = bpf_map_lookup_elem(&ports, &row);

	return port && port->key == key ? port : NULL;
}

static __always_inline enum verdict find_service(struct pkt *p)
{
	__u32 key = PORT_KEY(dest_port(p), p->proto);
	const struct port *port;

	if (p->served || p->owner)
		return VERDICT_NEXT; /* a later fragment */
	if (p->vip->first_key == key) {
		serve(p, &p->vip->first);
		return VERDICT_NEXT;
	}
	keep_apart();
	port = find_port(p->vip, key);
	if (port && set_service(p, port->service))
		return VERDICT_NEXT;
	if (use_ranges && find_range_service(p))
		return VERDICT_NEXT;
	return pass(p, REASON_NO_SERVICE);
}
