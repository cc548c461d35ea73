/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Hashes; pure. maps/hash.go computes the same ones. Words are taken from the
 * wire as they lie in memory, read little-endian.
 */
#pragma once

#include "lib/pkt.h"

/* A bijection that spreads every input bit (the finaliser of MurmurHash3). */
static __always_inline __u64 mix64(__u64 h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	h ^= h >> 33;
	return h;
}

/* The keyed sum over addresses, protocol and one more word, from a start that sets uses apart. */
static __always_inline __u64 hash_packet(const struct pkt *p, __u64 start, __u32 word)
{
	__u64 sum = start + hash_keys[3] * word + hash_keys[4] * p->proto;

	if (use_ipv6 && p->v6) {
		for (int i = 0; i < ADDR_WORDS; i++)
			sum += hash_keys[5 + i] * p->src[i] + hash_keys[9 + i] * p->dst[i];
	} else {
		sum += hash_keys[1] * p->src[3] + hash_keys[2] * p->dst[3];
	}
	return mix64(sum);
}

/*
 * The hash of a flow, by which it is recorded: multilinear over 32-bit words with
 * secret 64-bit keys, which makes collisions of chosen inputs unlikely for whoever
 * does not know the keys (Lemire and Kaser, "Strongly universal string hashing is
 * fast", 2014), then mixed, so that neighbouring results tell nothing about the keys.
 */
static __always_inline __u64 hash_tuple(const struct pkt *p)
{
	return hash_packet(p, hash_keys[0], p->ports);
}

/* The same of the source alone, for affinity by source. */
static __always_inline __u64 hash_affine(const struct pkt *p)
{
	const struct service *service = service_row(p);
	__u64 sum = hash_keys[0];

	if (!service)
		return 0;
	if (use_ipv6 && p->v6) {
		for (int i = 0; i < ADDR_WORDS; i++)
			sum += hash_keys[5 + i] * (p->src[i] & service->source_mask[i]);
	} else {
		sum += hash_keys[1] * (p->src[3] & service->source_mask[3]);
	}
	return mix64(sum);
}

static __always_inline bool by_source(const struct pkt *p)
{
	return p->service.flags & SERVICE_BY_SOURCE;
}

/* The name of a flow in its record, without computing again what picked the slot already. */
static __always_inline __u64 flow_name(const struct pkt *p)
{
	return by_source(p) ? hash_tuple(p) : p->hash;
}

/* Two independent hashes of a fragmented packet: where it is recorded, and its tag. */
static __always_inline __u64 hash_fragment(const struct pkt *p)
{
	return hash_packet(p, hash_keys[4], p->ident);
}

static __always_inline __u64 tag_fragment(const struct pkt *p)
{
	__u64 sum = hash_keys[1] + hash_keys[2] * p->ident + hash_keys[0] * (p->proto + 256 * p->v6);

	if (use_ipv6 && p->v6) {
		for (int i = 0; i < ADDR_WORDS; i++)
			sum += hash_keys[9 + i] * p->src[i] + hash_keys[5 + i] * p->dst[i];
	} else {
		sum += hash_keys[3] * p->src[3] + hash_keys[5] * p->dst[3];
	}
	return mix64(sum);
}

/* The source of new connections to a service: an IPv4 address, an IPv6 /64. */
static __always_inline __u64 hash_source(const struct pkt *p)
{
	__u64 sum = hash_keys[0] + hash_keys[4] * p->service.number;

	if (use_ipv6 && p->v6)
		return mix64(sum + hash_keys[5] * p->src[0] + hash_keys[6] * p->src[1]);
	return mix64(sum + hash_keys[1] * p->src[3]);
}

/*
 * Where a VIP lives is no secret: fixed multipliers, mixed once. Multiplication
 * spreads bits upwards alone, so numbers go in with their last byte lowest.
 */
#define VIP_MULTIPLIER 0x9e3779b97f4a7c15ULL
#define VIP_MULTIPLIER_HIGH 0xc2b2ae3d27d4eb4fULL
#define VIP_MULTIPLIER_LENGTH 0x165667b19e3779f9ULL

static __always_inline __u64 hash_vip4(__be32 addr, __u8 length)
{
	__u64 h = (bpf_ntohl(addr) | (__u64)length << 32) * VIP_MULTIPLIER;

	return h ^ (h >> 32);
}

static __always_inline __u64 hash_vip6(const __be32 *addr, __u8 length)
{
	__u64 high = (__u64)bpf_ntohl(addr[0]) << 32 | bpf_ntohl(addr[1]);
	__u64 low = (__u64)bpf_ntohl(addr[2]) << 32 | bpf_ntohl(addr[3]);
	__u64 h = high * VIP_MULTIPLIER_HIGH + low * VIP_MULTIPLIER + length * VIP_MULTIPLIER_LENGTH;

	return h ^ (h >> 32);
}

/*
 * The mark of an address that may be a VIP. Cheap: where two share one, the table
 * decides.
 */
#define MARK_MULTIPLIER 0x9e3779b1U

static __always_inline __u32 mark_vip4(__be32 addr)
{
	return addr * MARK_MULTIPLIER >> (32 - VIP_MARK_BITS);
}

static __always_inline __u32 mark_vip6(const __be32 *addr)
{
	return mark_vip4(addr[1] ^ addr[3]);
}

/* Maps the high half of a hash to [0, n) without a division. */
static __always_inline __u32 reduce(__u64 hash, __u32 n)
{
	return (hash >> 32) * n >> 32;
}
