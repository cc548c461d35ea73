/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Ethernet headers as answers need them. */
#pragma once

static __always_inline void swap_macs(struct ethhdr *eth)
{
	__u8 mac[6];

	__builtin_memcpy(mac, eth->h_dest, sizeof(mac));
	__builtin_memcpy(eth->h_dest, eth->h_source, sizeof(mac));
	__builtin_memcpy(eth->h_source, mac, sizeof(mac));
}
