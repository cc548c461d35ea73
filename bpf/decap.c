//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * `xlb decap`: takes the outer header off on a backend whose kernel has no
 * tunnel device, or for speed. What is not a whole IPv4-in-IPv4 packet goes to
 * the kernel untouched.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/csum.h"
#include "lib/net.h"
#include "lib/types.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ECN_MASK 0x03
#define ECN_CE 0x03

/* Packets and bytes taken out of tunnels, per CPU; one row. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counter);
} decapsulated SEC(".maps");

/*
 * A router on the way may have marked congestion on the outer header; the
 * server must see it (RFC 6040, 4.2). CE on a flow that knows no ECN is a drop.
 */
static __always_inline bool merge_ecn(struct iphdr *inner, __u8 outer_tos)
{
	__u8 ecn = inner->tos & ECN_MASK;

	if ((outer_tos & ECN_MASK) != ECN_CE || ecn == ECN_CE)
		return true;
	if (!ecn)
		return false;
	/* TOS is the low byte of its word: RFC 1624, eqn. 3 */
	inner->check = csum_fold((__u16)~inner->check + (__u16)~bpf_htons(inner->tos) +
				 bpf_htons(inner->tos | ECN_CE));
	inner->tos |= ECN_CE;
	return true;
}

static __always_inline void count(__u32 bytes)
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
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data, saved;
	struct iphdr *outer = data + sizeof(*eth), *inner = (void *)(outer + 1);
	__u32 len;

	if ((void *)(inner + 1) > data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	len = bpf_ntohs(outer->tot_len);
	if (outer->version != 4 || outer->ihl * 4 != IPV4_HEADER_MIN ||
	    outer->protocol != IPPROTO_IPIP || outer->frag_off & (IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
		return XDP_PASS;
	if (inner->version != 4 || inner->ihl * 4 < IPV4_HEADER_MIN ||
	    bpf_ntohs(inner->tot_len) + sizeof(*outer) > len ||
	    (void *)outer + len > data_end)
		return XDP_PASS;
	if (!merge_ecn(inner, outer->tos))
		return XDP_DROP;
	saved = *eth;
	if (bpf_xdp_adjust_head(ctx, sizeof(*outer)))
		return XDP_DROP;
	eth = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	if ((void *)(eth + 1) > data_end)
		return XDP_DROP;
	*eth = saved;
	count(len);
	return XDP_PASS;
}
