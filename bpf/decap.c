//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * `xlb decap`: takes the outer headers off on a backend whose kernel has no
 * tunnel device, or for speed: ipip, gre and gue as xlb sends them, IPv4 and IPv6
 * inside and outside. What is not a whole packet of these kinds goes to the
 * kernel untouched.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/csum.h"
#include "lib/net.h"
#include "lib/types.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u16 gue_port = 6080; /* UDP destination port of gue, in host order */

/* Packets and bytes taken out of tunnels, per CPU; one row. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counter);
} decapsulated SEC(".maps");

enum verdict {
	VERDICT_NEXT = 0, /* on to the next stage */
	VERDICT_PASS,     /* to the kernel, untouched */
	VERDICT_DROP,
	VERDICT_TAKEN, /* to the kernel, without the outer headers */
};

/*
 * A packet on its way through the stages. Offsets are in the frame. Headers may
 * be read past `end`, from padding: the inner packet, which comes last, must end
 * before it.
 */
struct tunnelled {
	struct xdp_md *ctx;
	void *data;
	void *data_end;
	__u64 l3;    /* of the outer IP header */
	__u64 at;    /* of the header that comes next */
	__u64 end;   /* of the packet, as the headers read so far say */
	__be16 type; /* ethertype: of the frame, at last of the inner packet */
	__u8 proto;  /* IP protocol of the header that comes next */
	__u8 ecn;    /* of the outer header */
};

/* Runs a stage; leaves the pipeline when it ends the packet. */
#define STAGE(call)                            \
	do {                                   \
		enum verdict v_ = (call);      \
		if (v_ != VERDICT_NEXT)        \
			return v_;             \
	} while (0)

#define LINK_MAX (14 + VLAN_TAGS_MAX * VLAN_TAG)
#define GRE_HEADER 4
#define ECN_MASK 0x03
#define ECN_NONE 0x00
#define ECN_ECT1 0x01
#define ECN_ECT0 0x02
#define ECN_CE 0x03
#define ECN_DROP 0x04 /* no field: the packet must not go on */
#define OFFSET_BITS 0x7f /* the headers in front of the inner packet are at most 22 + 40 + 12 bytes */

static __always_inline bool is_vlan(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

static __always_inline enum verdict parse_link(struct tunnelled *p)
{
	struct ethhdr *eth = p->data;
	__u64 at = sizeof(*eth);

	if ((void *)(eth + 1) > p->data_end)
		return VERDICT_PASS;
	p->type = eth->h_proto;
	for (int i = 0; i < VLAN_TAGS_MAX && is_vlan(p->type); i++) {
		struct vlan_hdr *tag = p->data + at;

		if ((void *)(tag + 1) > p->data_end)
			return VERDICT_PASS;
		p->type = tag->h_vlan_encapsulated_proto;
		at += sizeof(*tag);
	}
	asm volatile("%0 &= 0x1f" : "+r"(at)); /* the verifier forgets the bound over the loop */
	p->l3 = at;
	return VERDICT_NEXT;
}

/* A wrong header checksum is the kernel's to count: nobody else will look at this header. */
static __always_inline bool checksum_is_right(const struct iphdr *ip)
{
	const __u32 *words = (const void *)ip;
	__u64 sum = 0;

	for (int i = 0; i < IPV4_HEADER_MIN / 4; i++)
		sum += words[i];
	return csum_fold(sum) == 0;
}

static __always_inline enum verdict parse_outer4(struct tunnelled *p)
{
	struct iphdr *ip = p->data + p->l3;

	if ((void *)(ip + 1) > p->data_end || ip->version != 4 || ip->ihl * 4 != IPV4_HEADER_MIN)
		return VERDICT_PASS;
	if (ip->frag_off & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET) || !checksum_is_right(ip))
		return VERDICT_PASS;
	p->proto = ip->protocol;
	p->ecn = ip->tos & ECN_MASK;
	p->at = p->l3 + IPV4_HEADER_MIN;
	p->end = p->l3 + length_of(ip->tot_len);
	return VERDICT_NEXT;
}

/* An extension header is a protocol that no later stage knows. */
static __always_inline enum verdict parse_outer6(struct tunnelled *p)
{
	struct ipv6hdr *ip = p->data + p->l3;

	if ((void *)(ip + 1) > p->data_end || ip->version != 6)
		return VERDICT_PASS;
	p->proto = ip->nexthdr;
	p->ecn = ip->flow_lbl[0] >> 4 & ECN_MASK;
	p->at = p->l3 + IPV6_HEADER;
	p->end = p->at + length_of(ip->payload_len);
	return VERDICT_NEXT;
}

static __always_inline enum verdict parse_outer(struct tunnelled *p)
{
	if (p->type == bpf_htons(ETH_P_IP))
		STAGE(parse_outer4(p));
	else if (p->type == bpf_htons(ETH_P_IPV6))
		STAGE(parse_outer6(p));
	else
		return VERDICT_PASS;
	return p->data + p->end > p->data_end ? VERDICT_PASS : VERDICT_NEXT;
}

/* RFC 2784, with neither checksum nor the fields of RFC 2890: as xlb sends it. */
static __always_inline enum verdict parse_gre(struct tunnelled *p)
{
	struct gre_base_hdr *gre = p->data + (p->at & OFFSET_BITS);

	if ((void *)(gre + 1) > p->data_end || gre->flags)
		return VERDICT_PASS;
	if (gre->protocol == bpf_htons(ETH_P_IP))
		p->proto = IPPROTO_IPIP;
	else if (gre->protocol == bpf_htons(ETH_P_IPV6))
		p->proto = IPPROTO_IPV6;
	else
		return VERDICT_PASS;
	p->at += GRE_HEADER;
	return VERDICT_NEXT;
}

struct gue_header {
	__u8 version_control_length; /* all zero: variant 0, data, no extensions */
	__u8 proto;
	__be16 flags;
};

/*
 * The UDP checksum is not verified, present or not: it would cost a walk over the
 * payload, and the inner packet has checksums of its own (RFC 6935, section 5).
 */
static __always_inline enum verdict parse_gue(struct tunnelled *p)
{
	struct udphdr *udp = p->data + (p->at & OFFSET_BITS);
	struct gue_header *gue = (void *)(udp + 1);
	__u64 end;

	if ((void *)(gue + 1) > p->data_end)
		return VERDICT_PASS;
	end = p->at + length_of(udp->len);
	if (udp->dest != bpf_htons(gue_port) || end > p->end)
		return VERDICT_PASS;
	if (gue->version_control_length || gue->flags)
		return VERDICT_PASS;
	p->proto = gue->proto;
	p->at += UDP_HEADER + GUE_HEADER;
	p->end = end;
	return VERDICT_NEXT;
}

static __always_inline enum verdict parse_tunnel(struct tunnelled *p)
{
	if (p->proto == IPPROTO_GRE)
		return parse_gre(p);
	if (p->proto == IPPROTO_UDP)
		return parse_gue(p);
	return VERDICT_NEXT;
}

/*
 * What the inner field becomes, so that the server learns what routers on the way
 * have written into the outer one (RFC 6040, figure 4). Congestion met by a flow
 * that knows no ECN is a drop.
 */
static __always_inline __u8 merge_ecn(__u8 outer, __u8 inner)
{
	if (outer == ECN_CE)
		return inner == ECN_NONE ? ECN_DROP : ECN_CE;
	return outer == ECN_ECT1 && inner == ECN_ECT0 ? ECN_ECT1 : inner;
}

static __always_inline enum verdict open_inner4(struct tunnelled *p)
{
	struct iphdr *ip = p->data + (p->at & OFFSET_BITS);
	__u32 header, len;
	__u8 tos, ecn;

	if ((void *)(ip + 1) > p->data_end)
		return VERDICT_PASS;
	header = ip->ihl * 4;
	len = length_of(ip->tot_len);
	if (ip->version != 4 || header < IPV4_HEADER_MIN || len < header || p->at + len > p->end)
		return VERDICT_PASS;
	tos = ip->tos;
	ecn = merge_ecn(p->ecn, tos & ECN_MASK);
	if (ecn == ECN_DROP)
		return VERDICT_DROP;
	if (ecn != (tos & ECN_MASK)) {
		ip->tos = (tos & ~ECN_MASK) | ecn;
		/* the other byte of the word does not change */
		ip->check = csum_replace(ip->check, bpf_htons(tos), bpf_htons(ip->tos));
	}
	p->type = bpf_htons(ETH_P_IP);
	return VERDICT_NEXT;
}

static __always_inline enum verdict open_inner6(struct tunnelled *p)
{
	struct ipv6hdr *ip = p->data + (p->at & OFFSET_BITS);
	__u8 ecn;

	if ((void *)(ip + 1) > p->data_end)
		return VERDICT_PASS;
	if (ip->version != 6 || p->at + sizeof(*ip) + length_of(ip->payload_len) > p->end)
		return VERDICT_PASS;
	ecn = merge_ecn(p->ecn, ip->flow_lbl[0] >> 4 & ECN_MASK);
	if (ecn == ECN_DROP)
		return VERDICT_DROP;
	ip->flow_lbl[0] = (ip->flow_lbl[0] & ~(ECN_MASK << 4)) | ecn << 4;
	p->type = bpf_htons(ETH_P_IPV6);
	return VERDICT_NEXT;
}

static __always_inline enum verdict open_inner(struct tunnelled *p)
{
	if (p->proto == IPPROTO_IPIP)
		return open_inner4(p);
	if (p->proto == IPPROTO_IPV6)
		return open_inner6(p);
	return VERDICT_PASS;
}

/* Moves the link header, tags included, to the inner packet, which may be of the other family. */
static __always_inline enum verdict take_off(struct tunnelled *p)
{
	__u8 link[LINK_MAX];

	if (p->data + LINK_MAX > p->data_end)
		return VERDICT_PASS;
	__builtin_memcpy(link, p->data, LINK_MAX);
	if (bpf_xdp_adjust_head(p->ctx, (int)(p->at - p->l3)))
		return VERDICT_DROP;
	p->data = (void *)(long)p->ctx->data;
	p->data_end = (void *)(long)p->ctx->data_end;
	if (p->data + LINK_MAX > p->data_end)
		return VERDICT_DROP;
	if (p->l3 == 14)
		__builtin_memcpy(p->data, link, 14);
	else if (p->l3 == 14 + VLAN_TAG)
		__builtin_memcpy(p->data, link, 14 + VLAN_TAG);
	else
		__builtin_memcpy(p->data, link, LINK_MAX);
	*(__be16 *)(p->data + (p->l3 & 0x1f) - sizeof(p->type)) = p->type;
	return VERDICT_TAKEN;
}

static __always_inline enum verdict pipeline(struct tunnelled *p)
{
	STAGE(parse_link(p));
	STAGE(parse_outer(p));
	STAGE(parse_tunnel(p));
	STAGE(open_inner(p));
	return take_off(p);
}

static __always_inline void count(__u64 bytes)
{
	__u32 row = 0;
	struct counter *counter = bpf_map_lookup_elem(&decapsulated, &row);

	if (counter) {
		counter->packets++;
		counter->bytes += bytes;
	}
}

SEC("xdp")
int decap(struct xdp_md *ctx)
{
	struct tunnelled p = { .ctx = ctx };

	p.data = (void *)(long)ctx->data;
	p.data_end = (void *)(long)ctx->data_end;
	switch (pipeline(&p)) {
	case VERDICT_TAKEN:
		count(p.end - p.l3);
		return XDP_PASS;
	case VERDICT_PASS:
		return XDP_PASS;
	case VERDICT_DROP:
		return XDP_DROP;
	case VERDICT_NEXT:
		break; /* not reached: take_off() always decides */
	}
	return XDP_ABORTED;
}
