/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Hashes; pure. maps/hash.go computes the same ones. Words are taken from the
 * wire as they lie in memory, read little-endian.
 */
#pragma once

#include "lib/config.h"

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

/*
 * The flow hash: multilinear over 32-bit words with secret 64-bit keys, which
 * makes collisions of chosen inputs unlikely for whoever does not know the keys
 * (Lemire and Kaser, "Strongly universal string hashing is fast", 2014), then
 * mixed, so that neighbouring results tell nothing about the keys.
 */
static __always_inline __u64 hash_flow4(__be32 src, __be32 dst, __u32 ports, __u8 proto)
{
	return mix64(hash_keys[0] + hash_keys[1] * src + hash_keys[2] * dst +
		     hash_keys[3] * ports + hash_keys[4] * proto);
}

/* Where a VIP lives is no secret: a fixed multiplier, mixed once. */
static __always_inline __u64 hash_vip4(__be32 addr)
{
	__u64 h = (__u64)addr * 0x9e3779b97f4a7c15ULL;

	return h ^ (h >> 29);
}

/* Maps the high half of a hash to [0, n) without a division. */
static __always_inline __u32 reduce(__u64 hash, __u32 n)
{
	return (hash >> 32) * n >> 32;
}
