/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Layouts shared with Go. bpf2go emits the Go side from BTF; nothing mirrors
 * them by hand. Fixed widths, explicit padding, addresses and ports in wire
 * order. Go reads and writes these rows through mmap while packets fly, so
 * whatever may change under a packet is one aligned 8-byte word.
 */
#pragma once

/* An IPv4 address is carried as ::ffff:a.b.c.d, so that keys have one shape. */
#define ADDR_WORDS 4
#define V4_MAPPED bpf_htonl(0xffff)

/* Row of `vips`: a perfect hash table that also holds its own displacements. */
struct vip {
	__be32 addr[ADDR_WORDS]; /* all zero: nobody lives here */
	__u32 displacement;      /* of the hash bucket with this row's number */
	__u32 ports;             /* first row in `ports` */
	__u32 port_mask;         /* rows in `ports` less one; rows are 2^n */
	__u32 port_seed;         /* odd; spreads this VIP's ports without collision */
};

/* Row of `ports`: a listener of a VIP. */
struct port {
	__be16 port;
	__u8 proto; /* 0: empty row */
	__u8 pad;
	__u32 service;
};

/*
 * Row of `services`, one cache line. `table` names the slot table: offset in
 * the low, size in the high half; size 0 means no backend may be chosen.
 */
struct service {
	__u64 table;
	__u32 flags; /* none yet; keeps its place for affinity and tracking */
	__u32 pad[13];
};

/*
 * Row of `slots`. In the steady state both owners are equal and no per-flow
 * memory is read. Owner 0 is nobody.
 */
struct slot {
	__u32 current;
	__u32 previous;
};

enum __attribute__((packed)) forward {
	FORWARD_NONE = 0, /* unresolved: dropped with a reason */
	FORWARD_L2 = 1,
	FORWARD_IPIP = 2,
};

#define L2_TEMPLATE 24    /* Ethernet and two VLAN tags, padded to words */
#define OUTER_TEMPLATE 64 /* an IPv6 header and a UDP-based tunnel's */

/*
 * Row of `backends`, two cache lines: all that a packet needs to leave for a
 * backend, computed by the control plane. With Ethernet and IPv4 the second
 * line is not touched.
 */
struct backend {
	enum forward forward;
	__u8 l2_len;     /* bytes used of l2 */
	__u16 mtu;       /* largest IP packet on the way out, outer header included */
	__u32 ifindex;   /* where it leaves; the arrival interface means XDP_TX */
	__u32 egress;    /* its key in `egress` */
	__u32 outer_sum; /* outer IPv4 checksum before length and TOS, unfolded */
	__u8 l2[L2_TEMPLATE];
	__u8 outer[OUTER_TEMPLATE];
	__u8 pad[24];
};

/* Row of `counters`. Bytes are those of the frame as it arrived. */
struct counter {
	__u64 packets;
	__u64 bytes;
};

/*
 * Rows of `counters`, per CPU: one per reason, then one per backend. A packet
 * adds to exactly one of them: a forwarded one to its backend's.
 */
#define COUNTER_REASONS 64

_Static_assert(sizeof(struct vip) == 32, "two to a cache line");
_Static_assert(sizeof(struct port) == 8, "eight to a cache line");
_Static_assert(sizeof(struct service) == 64, "one cache line");
_Static_assert(sizeof(struct slot) == 8, "one atomic word");
_Static_assert(sizeof(struct backend) == 128, "two cache lines");
_Static_assert(__builtin_offsetof(struct backend, outer) + 20 <= 64,
	       "Ethernet and an outer IPv4 header stay in the first line");
_Static_assert(sizeof(struct counter) == 16, "never across a line");
