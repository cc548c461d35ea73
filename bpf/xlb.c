//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The data path: one packet in, one verdict and exactly one count out.
 * docs/ARCHITECTURE.md shows the journey as a table.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "lib/backend.h"
#include "lib/daemon.h"
#include "lib/filter.h"
#include "lib/fragment.h"
#include "lib/icmp.h"
#include "lib/mss.h"
#include "lib/parse.h"
#include "lib/rewrite.h"
#include "lib/service.h"
#include "lib/signal.h"
#include "lib/toobig.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Runs a stage; leaves the pipeline when it ends the packet. */
#define STAGE(call)                            \
	do {                                   \
		enum verdict v_ = (call);      \
		if (v_ != VERDICT_NEXT)        \
			return v_;             \
	} while (0)

/*
 * What becomes of a packet that is ours. It is compiled three times: for plain
 * packets of either family, of which much is a constant here, and for all others.
 */
static __always_inline enum verdict forward(struct pkt *p)
{
	STAGE(check_daemon(p));
	STAGE(parse_lengths(p));
	STAGE(check_source(p));
	STAGE(check_source_vip(p));
	STAGE(parse_extensions(p));
	STAGE(check_fragment_end(p));
	STAGE(check_node_rules(p));
	STAGE(follow_fragment(p));
	STAGE(handle_icmp(p));
	STAGE(parse_ports(p));
	STAGE(find_service(p));
	STAGE(check_filter(p));
	STAGE(check_rates(p));
	STAGE(check_hop(p));
	STAGE(choose_backend(p));
	record_fragment(p);
	STAGE(find_next_hop(p));
	STAGE(check_size(p));
	STAGE(clamp_mss(p));
	watch_handshake(p);
	STAGE(rewrite(p));
	return emit(p);
}

static __always_inline enum verdict pipeline(struct pkt *p)
{
	STAGE(parse_link(p));
	if (p->v6) {
		STAGE(parse_ip(p));
		STAGE(find_vip(p));
		p->plain = is_plain(p);
		if (p->plain)
			return forward(p);
	} else {
		STAGE(parse_ip(p));
		STAGE(find_vip(p));
		p->plain = is_plain(p);
		if (p->plain)
			return forward(p);
	}
	return forward(p);
}

/* The only place that counts. */
static __always_inline void count(const struct pkt *p)
{
	__u32 row = bpf_get_smp_processor_id() * counter_rows + p->counter;
	struct counter *counter = bpf_map_lookup_elem(&counters, &row);

	if (counter) {
		counter->packets++;
		counter->bytes += p->frame_len;
	}
}

SEC("xdp")
int xlb(struct xdp_md *ctx)
{
	struct pkt p;
	enum verdict verdict;

	pkt_init(&p, ctx);
	p.frame_len = p.data_end - p.data;
	verdict = pipeline(&p);
	count(&p);
	switch (verdict) {
	case VERDICT_PASS:
		return XDP_PASS;
	case VERDICT_DROP:
		return XDP_DROP;
	case VERDICT_TX:
		return XDP_TX;
	case VERDICT_REDIRECT:
		return XDP_REDIRECT;
	case VERDICT_NEXT:
		break; /* not reached: emit() always decides */
	}
	return XDP_ABORTED;
}
