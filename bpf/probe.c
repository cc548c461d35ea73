//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Sends health probes the way of the traffic they stand for, docs/DATAPATH.md
 * section 15: a packet that leaves lo with a backend's number in its mark gets the
 * headers that the data path would give it, and goes out by the same interface.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/csum.h"
#include "lib/net.h"
#include "lib/table.h"
#include "lib/types.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The data path's tables, which the loader puts in the place of these. */
TABLE(backends, struct backend);
TABLE(hops, struct hop);
TABLE(outer6, struct outer_dest);

enum probe_result {
	PROBE_SENT = 0,
	PROBE_UNRESOLVED, /* no backend of that number, or its next hop is not resolved */
	PROBE_TOO_BIG,    /* longer than the egress MTU with the outer headers */
	PROBE_REFUSED,    /* not a packet that the backend's headers can carry */
	PROBE_RESULTS,
};

/* Marked packets by what became of them, in the order of enum probe_result. */
struct probe_counters {
	struct counter sent;
	struct counter unresolved;
	struct counter too_big;
	struct counter refused;
};

_Static_assert(sizeof(struct probe_counters) == PROBE_RESULTS * sizeof(struct counter), "a counter for each result");

/* One row, written by this program alone, on all CPUs at once. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct probe_counters);
} probes SEC(".maps");

/*
 * Probes of this instance: what a mark has above the backend's number. The
 * number has as many bits as in flow records.
 */
const volatile __u32 probe_mark = 0x58000000;

#define PROBE_BACKEND_MASK FLOW_BACKEND_MASK
#define LINK_HEADER 14 /* of lo */
#define LINK_TYPE 12   /* offset of the ethertype, or of the first tag */

/* A probe on its way. What the outer header takes over is read before there is one. */
struct probe {
	struct __sk_buff *skb;
	__u32 backend;
	__be32 dest; /* of an outer IPv4 header */
	const struct hop *hop;
	__u32 len;  /* of the IP packet */
	__u32 hash; /* stands for the flow hash where headers vary */
	__u64 sum;  /* of all words of the IP packet, as it will leave */
	__u8 tos;
};

/* The frame's bounds. The verifier wants the context read at its own address, which the compiler would rather keep moved. */
static __always_inline void *frame(struct __sk_buff *skb)
{
	asm volatile("" : "+r"(skb));
	return (void *)(long)skb->data;
}

static __always_inline void *frame_end(struct __sk_buff *skb)
{
	asm volatile("" : "+r"(skb));
	return (void *)(long)skb->data_end;
}

/*
 * The sums below are those of packets whose inner checksums are right, as they
 * will be when the packet leaves: the device, or the kernel for it, may have yet to
 * fill them in, and the program cannot see whether. A right checksum makes the words
 * of L4 and pseudo-header sum up to 0, so that the pseudo-header alone says what
 * L4 sums up to. Returns false for what has no such checksum.
 */
static __always_inline bool sum_l4(struct probe *p, void *l4, void *data_end, __u64 pseudo, __u8 proto)
{
	struct udphdr *udp = l4;

	if (proto == IPPROTO_UDP && ((void *)(udp + 1) > data_end || !udp->check))
		return false;
	if (proto != IPPROTO_UDP && proto != IPPROTO_TCP && proto != NEXT_ICMPV6)
		return false;
	p->sum += csum_fold(pseudo + bpf_htons(proto));
	return true;
}

/* IPv4's header sums up to 0 as well, and so does ICMP, which has no pseudo-header. */
static __always_inline bool sum_ipv4(struct probe *p, struct iphdr *ip, void *data_end)
{
	__u32 header = ip->ihl * 4;

	if (ip->frag_off & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
		return false;
	if (ip->protocol == IPPROTO_ICMP)
		return true;
	return ip->protocol != NEXT_ICMPV6 &&
	       sum_l4(p, (void *)ip + header, data_end, (__u64)ip->saddr + ip->daddr + bpf_htons(p->len - header), ip->protocol);
}

static __always_inline bool sum_ipv6(struct probe *p, struct ipv6hdr *ip, void *data_end)
{
	__u64 addresses = csum_range(&ip->saddr, data_end, 32);

	p->sum = csum_range(ip, data_end, IPV6_HEADER);
	return sum_l4(p, ip + 1, data_end, addresses + ip->payload_len, ip->nexthdr);
}

/* Reads what the outer headers depend on; false for a packet that they cannot carry. */
static __always_inline bool read_packet(struct probe *p)
{
	void *data_end = frame_end(p->skb);
	struct iphdr *ip = frame(p->skb) + LINK_HEADER;
	struct ipv6hdr *ip6 = (void *)ip;
	bool checksum = p->hop->flags & HOP_CHECKSUM;

	p->len = p->skb->len - LINK_HEADER;
	if (checksum && p->skb->gso_size)
		return false; /* segments would each need a checksum of their own */
	if (p->skb->protocol == bpf_htons(ETH_P_IP)) {
		if ((void *)(ip + 1) > data_end)
			return false;
		p->tos = ip->tos;
		return !checksum || sum_ipv4(p, ip, data_end);
	}
	if (p->skb->protocol != bpf_htons(ETH_P_IPV6) || (void *)(ip6 + 1) > data_end)
		return false;
	p->tos = ip6->priority << 4 | ip6->flow_lbl[0] >> 4;
	return !checksum || sum_ipv6(p, ip6, data_end);
}

/*
 * Opens the gap for the outer headers. The flags tell the kernel what will stand
 * there, so that it finds the inner headers when it segments and checksums.
 */
static __always_inline bool open_gap(struct probe *p)
{
	const struct hop *hop = p->hop;
	__u64 flags = hop->flags & HOP_OUTER6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;

	if (hop->forward == FORWARD_GRE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	if (hop->forward == FORWARD_GUE)
		flags |= BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	return !bpf_skb_adjust_room(p->skb, hop->outer_len, BPF_ADJ_ROOM_MAC, flags);
}

/* Template lengths are few; each copy has a length that the compiler knows. */
#define COPY_IF(len, size, to, from)                               \
	if ((len) == (size)) {                                     \
		if ((to) + (size) > data_end)                      \
			return false;                              \
		__builtin_memcpy((to), (from), (size));            \
		return true;                                       \
	}

static __always_inline bool copy_outer(const struct hop *hop, void *to, void *data_end)
{
	COPY_IF(hop->outer_len, IPV4_HEADER_MIN, to, hop->outer)
	COPY_IF(hop->outer_len, IPV4_HEADER_MIN + 4, to, hop->outer)
	COPY_IF(hop->outer_len, IPV4_HEADER_MIN + UDP_HEADER + GUE_HEADER, to, hop->outer)
	COPY_IF(hop->outer_len, IPV6_HEADER, to, hop->outer)
	COPY_IF(hop->outer_len, IPV6_HEADER + 4, to, hop->outer)
	COPY_IF(hop->outer_len, IPV6_HEADER + UDP_HEADER + GUE_HEADER, to, hop->outer)
	return false;
}

static __always_inline bool write_udp(struct probe *p, struct udphdr *udp, void *data_end, __u32 len)
{
	if ((void *)(udp + 1) + GUE_HEADER > data_end)
		return false;
	udp->source = bpf_htons(GUE_SOURCE_PORT | (p->hash & GUE_SOURCE_BITS));
	udp->len = bpf_htons(len);
	return true;
}

static __always_inline bool write_outer4(struct probe *p, struct iphdr *outer, void *data_end)
{
	const struct hop *hop = p->hop;
	__u32 len = p->len + hop->outer_len;
	__u64 sum = (__u64)hop->outer_sum + bpf_htons(p->tos) + bpf_htons(len) + p->dest;

	if ((void *)(outer + 1) > data_end)
		return false;
	outer->daddr = p->dest;
	outer->tos = p->tos;
	outer->tot_len = bpf_htons(len);
	if (hop->flags & HOP_VARY) {
		__be32 vary = p->hash & hop->source_mask;

		outer->saddr |= vary;
		sum += vary;
	}
	outer->check = csum_fold(sum);
	return hop->forward != FORWARD_GUE || write_udp(p, (void *)(outer + 1), data_end, len - IPV4_HEADER_MIN);
}

static __always_inline void write_checksum6(struct probe *p, struct ipv6hdr *outer, void *data_end, __u32 len)
{
	struct udphdr *udp = (void *)(outer + 1);
	__u64 sum = p->sum + csum_range(&outer->saddr, data_end, 32) + bpf_htons(len) + bpf_htons(IPPROTO_UDP);

	udp->check = csum_fold(sum + csum_range(udp, data_end, UDP_HEADER + GUE_HEADER));
	if (!udp->check)
		udp->check = 0xffff;
}

static __always_inline bool write_outer6(struct probe *p, struct ipv6hdr *outer, void *data_end)
{
	const struct outer_dest *dest = bpf_map_lookup_elem(&outer6, &p->backend);
	const struct hop *hop = p->hop;
	__u32 len = p->len + hop->outer_len - IPV6_HEADER;
	__u32 label = p->hash >> 12 & FLOW_LABEL_BITS;

	if (!dest || (void *)(outer + 1) > data_end)
		return false;
	__builtin_memcpy(&outer->daddr, dest->addr, sizeof(dest->addr));
	*(__be32 *)outer = bpf_htonl(6U << 28 | (__u32)p->tos << 20 | label);
	outer->payload_len = bpf_htons(len);
	if (hop->flags & HOP_VARY)
		((__be32 *)&outer->saddr)[3] |= p->hash & hop->source_mask;
	if (hop->forward != FORWARD_GUE)
		return true;
	if (!write_udp(p, (void *)(outer + 1), data_end, len))
		return false;
	if (hop->flags & HOP_CHECKSUM)
		write_checksum6(p, outer, data_end, len);
	return true;
}

static __always_inline bool encapsulate(struct probe *p)
{
	void *outer, *data_end;

	if (!open_gap(p))
		return false;
	outer = frame(p->skb) + LINK_HEADER;
	data_end = frame_end(p->skb);
	if (!copy_outer(p->hop, outer, data_end))
		return false;
	return p->hop->flags & HOP_OUTER6 ? write_outer6(p, outer, data_end) : write_outer4(p, outer, data_end);
}

/* The n-th tag or, behind them all, the ethertype of the backend's template. */
static __always_inline __be16 template_type(const struct hop *hop, __u32 n)
{
	return *(const __be16 *)(hop->l2 + LINK_TYPE + n * VLAN_TAG);
}

static __always_inline bool push_tag(struct probe *p, __u32 n)
{
	const struct hop *hop = p->hop;
	__be16 id = *(const __be16 *)(hop->l2 + LINK_TYPE + n * VLAN_TAG + 2);

	return !bpf_skb_vlan_push(p->skb, template_type(hop, n), bpf_ntohs(id));
}

/* Tags are pushed, the inner one first: the device may want them beside the frame. */
static __always_inline bool write_link(struct probe *p)
{
	struct ethhdr *eth = frame(p->skb);
	__u32 tags = ((__u32)p->hop->l2_len - LINK_HEADER) / VLAN_TAG;

	if ((void *)(eth + 1) > frame_end(p->skb) || tags > VLAN_TAGS_MAX)
		return false;
	__builtin_memcpy(eth, p->hop->l2, LINK_TYPE);
	eth->h_proto = template_type(p->hop, tags);
	if (tags == 2 && !push_tag(p, 1))
		return false;
	return !tags || push_tag(p, 0);
}

static __always_inline void find_hop(struct probe *p)
{
	const volatile __u64 *backend = bpf_map_lookup_elem(&backends, &p->backend);
	__u32 row = 0;
	__u64 word;

	if (backend) {
		word = *backend;
		p->dest = word >> 32;
		row = (__u32)word >> BACKEND_HOP_SHIFT;
	}
	p->hop = bpf_map_lookup_elem(&hops, &row);
}

static __always_inline enum probe_result send(struct __sk_buff *skb)
{
	struct probe p = { .skb = skb, .backend = skb->mark & PROBE_BACKEND_MASK, .hash = bpf_get_hash_recalc(skb) };

	find_hop(&p);
	if (!p.hop || p.hop->forward == FORWARD_NONE)
		return PROBE_UNRESOLVED;
	if (!read_packet(&p))
		return PROBE_REFUSED;
	if (!skb->gso_size && p.len > p.hop->mtu)
		return PROBE_TOO_BIG;
	if (p.hop->forward != FORWARD_L2 && !encapsulate(&p))
		return PROBE_REFUSED;
	if (!write_link(&p) || bpf_redirect(p.hop->ifindex, 0) != TCX_REDIRECT)
		return PROBE_REFUSED;
	return PROBE_SENT;
}

static __always_inline void count(enum probe_result result, __u32 bytes)
{
	__u32 row = 0;
	struct counter *counter = bpf_map_lookup_elem(&probes, &row);

	if (counter) {
		__sync_fetch_and_add(&counter[result].packets, 1);
		__sync_fetch_and_add(&counter[result].bytes, bytes);
	}
}

SEC("tcx/egress")
int probe(struct __sk_buff *skb)
{
	__u32 len = skb->len;
	enum probe_result result;

	if ((skb->mark & ~PROBE_BACKEND_MASK) != probe_mark)
		return TCX_NEXT;
	result = send(skb);
	count(result, len);
	return result == PROBE_SENT ? TCX_REDIRECT : TCX_DROP;
}
