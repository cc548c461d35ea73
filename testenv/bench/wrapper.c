//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the benchmark puts around the data path; it never ships. `vary` undoes
 * what the last run did to the frame, since BPF_PROG_TEST_RUN does not, writes the
 * next flow's packet and tail-calls what is measured: the product's program as it
 * is, or, for the control, `nothing`. Both do the same, so that the difference of
 * their times is the product's alone: its own growing of the frame included, the
 * undoing, which the control pays for as well, excluded.
 *
 * Stores are as wide as the fields that the data path reads: a load that spans two
 * fresh stores would wait for both, which no packet from a wire does.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define FRAME 128 /* bytes of every frame */
#define LINK_WORDS 3
#define SPREAD_FLOWS 0x9e3779b1U
#define SPREAD_VIPS 0x85ebca6bU
#define SPREAD_IDS 0xc2b2ae35U

/* The frame of flow 0, as far as a program changes it; set by Go. */
const volatile __u32 link[LINK_WORDS]; /* MAC addresses */
const volatile __be16 ether_type;
const volatile __u32 hop; /* the word with the TTL or hop limit */
const volatile __be32 source;
const volatile __be32 dest;

/* Where these lie in the frame; id_at 0: it has no QUIC server ID. */
const volatile __u32 hop_at = 22;
const volatile __u32 source_at = 26;
const volatile __u32 dest_at = 30;
const volatile __u32 port_at = 34;
const volatile __u32 id_at;

const volatile bool grows; /* the program puts a header in front */
const volatile __u64 flows = 1;
const volatile __u32 vips = 1;
const volatile __u32 server_ids = 1;

__u32 turn;   /* packets so far */
__u32 misses; /* of references: flows that were not found */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} measured SEC(".maps");

/* A number below n, all of them equally often, in an order that looks random. */
static __always_inline __u32 draw(__u32 spread, __u64 n)
{
	return (__u64)(turn * spread) * n >> 32;
}

SEC("xdp")
int vary(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 flow = draw(SPREAD_FLOWS, flows);
	int grown = (int)(data_end - data) - FRAME;

	if (grows && bpf_xdp_adjust_head(ctx, grown))
		return XDP_ABORTED;
	asm volatile("" : "+r"(ctx)); /* else both ways here share a load of ctx plus something */
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	if (data + FRAME > data_end)
		return XDP_ABORTED;
	for (int i = 0; i < LINK_WORDS; i++)
		((__u32 *)data)[i] = link[i];
	((struct ethhdr *)data)->h_proto = ether_type;
	*(__u32 *)(data + hop_at) = hop;
	*(__be32 *)(data + source_at) = source | (flow & 0xffffff00);
	*(__be32 *)(data + dest_at) = dest | (__u32)bpf_htons(draw(SPREAD_VIPS, vips)) << 16;
	*(__be16 *)(data + port_at) = bpf_htons(0x8000 | (flow & 0xff));
	if (id_at)
		*(__be16 *)(data + id_at) = bpf_htons(draw(SPREAD_IDS, server_ids));
	turn++;
	bpf_tail_call_static(ctx, &measured, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

/* The references: one operation on a table of the kernel. A find is TX. */
struct flow_key {
	__be32 source;
	__be32 dest;
	__be16 source_port;
	__be16 dest_port;
	__u32 proto;
};

#define REFERENCE(name_, type_, key_)                \
	struct {                                     \
		__uint(type, BPF_MAP_TYPE_##type_);  \
		__uint(max_entries, 1);              \
		__type(key, key_);                   \
		__type(value, __u64);                \
	} name_ SEC(".maps")

REFERENCE(lru_hash, LRU_HASH, struct flow_key);
REFERENCE(hash, HASH, struct flow_key);
REFERENCE(array, ARRAY, __u32);

static __always_inline int found(volatile __u64 *value)
{
	if (value && *value)
		return XDP_TX;
	misses++;
	return XDP_DROP;
}

static __always_inline int lookup_flow(struct xdp_md *ctx, void *table)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct iphdr *ip = data + sizeof(struct ethhdr);
	struct udphdr *ports = (void *)(ip + 1);
	struct flow_key key;

	if ((void *)(ports + 1) > data_end)
		return XDP_ABORTED;
	key = (struct flow_key){ ip->saddr, ip->daddr, ports->source, ports->dest, ip->protocol };
	return found(bpf_map_lookup_elem(table, &key));
}

SEC("xdp")
int ref_lru_hash(struct xdp_md *ctx)
{
	return lookup_flow(ctx, &lru_hash);
}

SEC("xdp")
int ref_hash(struct xdp_md *ctx)
{
	return lookup_flow(ctx, &hash);
}

SEC("xdp")
int ref_array(struct xdp_md *ctx)
{
	__u32 row = 0;

	(void)ctx;
	return found(bpf_map_lookup_elem(&array, &row));
}
