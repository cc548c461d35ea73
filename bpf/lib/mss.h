/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The stage that lowers TCP's MSS option on SYNs, docs/DATAPATH.md section 13. */
#pragma once

#include "lib/csum.h"
#include "lib/net.h"
#include "lib/pkt.h"

#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_MSS_LEN 4
#define OPTIONS_MAX 10

static __always_inline void lower_mss(struct tcphdr *tcp, __u8 *value, __u16 mss, bool odd)
{
	__u16 old = value[0] << 8 | value[1];
	__be16 old_word = bpf_htons(old), new_word = bpf_htons(mss);

	if (old <= mss)
		return;
	value[0] = mss >> 8;
	value[1] = mss & 0xff;
	if (odd) { /* the value lies across two words of the checksum */
		old_word = old;
		new_word = mss;
	}
	tcp->check = csum_replace(tcp->check, old_word, new_word);
}

/* Not inlined, and global: the verifier looks at its loop once, not for every way that leads here. */
__noinline int find_mss(struct xdp_md *ctx, __u32 offset, __u32 room, __u32 mss)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct tcphdr *tcp = data + (offset & 0x1fff);
	__u32 at = sizeof(*tcp), end;

	if ((void *)(tcp + 1) > data_end)
		return 0;
	end = tcp->doff * 4;
	if (end > room)
		end = room;
	for (int i = 0; i < OPTIONS_MAX; i++) {
		__u8 *option = (void *)tcp + (at & 0x3f);

		if (at + OPTION_MSS_LEN > end || (void *)(option + OPTION_MSS_LEN) > data_end || option[0] == OPTION_END)
			return 0; /* no room for the option any more */
		if (option[0] == OPTION_NOP) {
			at++;
			continue;
		}
		if (option[1] < 2)
			return 0;
		if (option[0] == OPTION_MSS && option[1] == OPTION_MSS_LEN) {
			lower_mss(tcp, option + 2, mss, at & 1);
			return 0;
		}
		at += option[1];
	}
	return 0;
}

static __always_inline enum verdict clamp_mss(struct pkt *p)
{
	const struct service *service;

	if (!use_mss || !(p->tcp_flags & TCP_SYN) || !p->served || !(p->service.flags & SERVICE_MSS))
		return VERDICT_NEXT;
	service = service_row(p);
	if (service)
		find_mss(p->ctx, p->l3 + p->l4, p->len - p->l4, service->mss);
	return VERDICT_NEXT;
}
