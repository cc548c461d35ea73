/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Internet checksums (RFC 1071, RFC 1624); pure. */
#pragma once

/* Complement of a sum of 16-bit words, which may be longer than 16 bits. */
static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* The same of a sum of few words: no more than 32 bits. */
static __always_inline __u16 csum_fold_few(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* A sum and one more word, of 32 bits: the carry is brought round. */
static __always_inline __u32 csum_add(__u32 sum, __u32 word)
{
	__u64 wide = (__u64)sum + word;

	return wide + (wide >> 32);
}

/* A checksum after one of its words has changed (RFC 1624, eqn. 3). */
static __always_inline __u16 csum_replace(__u16 check, __u16 old, __u16 new)
{
	return csum_fold_few((__u32)(__u16)~check + (__u16)~old + new);
}

/*
 * Lowers the TTL by one. The TTL is the high byte of its 16-bit word, so the
 * word falls by 0x0100 and the stored complement rises by as much, with the
 * carry brought round (RFC 1624, 3).
 */
static __always_inline void ipv4_decrease_ttl(struct iphdr *ip)
{
	__u32 check = ip->check + bpf_htons(0x0100);

	ip->check = check + (check >= 0xffff);
	ip->ttl--;
}

#define CSUM_CHUNK 32
#define CSUM_CHUNKS 112 /* more than a page's frame can hold */

/*
 * Adds the words of `len` bytes from `at`; what does not lie before `end` counts
 * as absent. For rare packets: it reads them whole.
 */
static __noinline __attribute__((unused)) __u64 csum_range(void *at, void *end, __u32 len)
{
	__u64 sum = 0;

	for (int i = 0; i < CSUM_CHUNKS; i++) {
		__u32 *words = at;

		if (len < CSUM_CHUNK || at + CSUM_CHUNK > end)
			break;
		for (int w = 0; w < CSUM_CHUNK / 4; w++)
			sum += words[w];
		at += CSUM_CHUNK;
		len -= CSUM_CHUNK;
	}
	for (int i = 0; i < CSUM_CHUNK / 2; i++) {
		if (len < 2 || at + 2 > end)
			break;
		sum += *(__u16 *)at;
		at += 2;
		len -= 2;
	}
	if (len == 1 && at + 1 <= end)
		sum += *(__u8 *)at;
	return sum;
}
