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
#define ADDR_SIZE (4 * ADDR_WORDS)
#define V4_MAPPED bpf_htonl(0xffff)

/* Row of `ports`: a listener on one port of a VIP. */
struct port {
	__u32 key; /* PORT_KEY, 0: empty row */
	__u32 service;
};

/* A port as it lies and a protocol, which is never 0. */
#define PORT_KEY(port, proto) ((port) | (__u32)(proto) << 16)

/* What all packets of a service ask for: the first words of its row in `services`, where they are explained. */
struct service_head {
	__u64 table;
	__u32 flags;
	__u32 number;
};

/*
 * Row of `vips`, one cache line: a perfect hash table. Of many thousand services
 * a packet meets its own in no cache, so that the row has what most VIPs need: the
 * service of one port, often the only one, with a copy of the first words of its row.
 */
struct vip {
	__be32 addr[ADDR_WORDS]; /* the prefix, masked */
	__u16 kind;              /* VIP_KIND, 0: nobody lives here */
	__u16 port_mask;         /* rows in `ports` less one; rows are 2^n */
	__u32 first_key;         /* of one of its rows in `ports`, 0: none */
	struct service_head first;
	__u32 ports;     /* first row in `ports` */
	__u32 port_seed; /* odd; spreads this VIP's ports without collision */
	__u32 ranges;    /* first row in `ranges`: TCP's, then UDP's */
	__u16 tcp_ranges;
	__u16 udp_ranges;
	__u32 tcp_fragments; /* fragment service plus 1, 0 for none */
	__u32 udp_fragments;
};

/* Family, 4 or 6, and bits of the prefix, of 128. */
#define VIP_KIND(family, length) ((family) | (__u16)(length) << 8)

/* Row of `ranges`: a listener on several ports, in host order, both included. */
struct range {
	__u16 first;
	__u16 last;
	__u32 service;
};

/* Most intervals that one VIP can have per protocol: steps of a binary search. */
#define RANGE_STEPS 12

/* Prefix lengths other than a whole address, longest first, 0 ends the list. */
#define PREFIX_LENGTHS 8

struct prefix_lengths {
	__u8 v4[PREFIX_LENGTHS]; /* of 128 bits, as in struct vip */
	__u8 v6[PREFIX_LENGTHS];
};

#define VIP_MARK_BITS 17
#define VIP_BUCKET_BITS 15  /* of a half, at most */
#define VIP_BUCKET_SHIFT 2  /* rows to a bucket: displacements of many VIPs are to stay in the caches */

/*
 * Go sets vip_table: which half of `vips` is valid. The low half of the word is its
 * first row, the high its mask, with the top bit set for the upper half; prefix
 * lengths and displacements go with the half. clock is for programs whose time is
 * fixed.
 */
struct shared_state {
	__u64 vip_table;
	__u64 clock;           /* ns */
	__u64 too_big_arrival; /* of answers, written by the data path */
	__u64 tick;            /* the clock of flow records, in seconds, from Go */
	__u64 heartbeat;       /* the tick that the data path saw last, and when: see daemon.h */
	struct prefix_lengths lengths[2];
	__u16 displacements[2 << VIP_BUCKET_BITS]; /* of hash buckets: see probe_vip() */
	__u64 marks[1 << (VIP_MARK_BITS - 6)]; /* a bit for each VIP that is a whole address: see is_marked() */
};

enum service_flags {
	SERVICE_FILTER = 1,      /* look for rules */
	SERVICE_DENY_OTHERS = 2, /* without a rule: deny */
	SERVICE_RATES = 4,       /* its row in `rates` says something */
	SERVICE_QUIC = 8,
	SERVICE_MSS = 16,
	SERVICE_TRACK_ALWAYS = 32, /* every flow has a record */
	SERVICE_SIGNALS = 64,      /* handshakes are watched */
	SERVICE_BY_SOURCE = 128,   /* affinity: slots by the source within source_mask alone */
};

#define QUIC_ROTATIONS 8

/*
 * Row of `services`, one cache line. It begins with a service_head, of which VIPs'
 * rows have copies. `table` names the slot table: its first row in the low, its shape
 * in the high half. That is the number of slots, of which 0 means that no backend may
 * be chosen, and above it how they are packed.
 */
#define PACKED_SHIFT 29 /* log2 of the bits of a slot in `packed`; 0: they are rows of `slots` */
#define PACKED_SLOTS ((1U << PACKED_SHIFT) - 1)

/*
 * With its top bit set the word is all that there is of a table: owners are computed
 * from what it says of up to three backends with consecutive numbers, that is, the
 * number before the first one's, seeds, and cutoffs in 64ths of what scores may be.
 * Seed 0 says that there is no third. Without a second the first is there twice.
 */
#define COMPUTED_TABLE (1ULL << 63)
#define COMPUTED_SLOTS 4099
#define COMPUTED_BASE 42
#define COMPUTED_BASE_BITS 21
#define COMPUTED_SEED(position) (8 * (position))
#define COMPUTED_SEED_MASK 0xffULL
#define COMPUTED_CUTOFF(position) (24 + 6 * (position))
#define COMPUTED_CUTOFF_MASK 0x3f
#define COMPUTED_CUTOFF_SHIFT 26

struct service {
	__u64 table;
	__u32 flags;                    /* enum service_flags */
	__u32 number;                   /* its own */
	__be32 source_mask[ADDR_WORDS]; /* SERVICE_BY_SOURCE; of IPv4, the last word */
	__u32 ids;                      /* first row in `server_ids`: the seed's */
	__u32 id_mask;                  /* rows after it less one; changes with ids in one word */
	__u16 mss;
	__u8 id_lengths[QUIC_ROTATIONS]; /* bytes of the server ID, 0: not in use */
	__u16 sample_mask;               /* SERVICE_SIGNALS: flows whose hash has none of these bits are watched */
	__u8 pad[12];
};

/* A limit by GCRA, in ns. Interval 0 is no limit. */
struct rate {
	__u64 interval;
	__u64 tolerance;
};

/* Row of `rates`, by service. The data path writes `arrival` alone. */
struct service_rates {
	struct rate packets;
	struct rate new_connections; /* per source */
	__u64 arrival;               /* theoretical arrival time of the next packet */
	__u64 pad[3];
};

/*
 * Row of `slots`, read as one word. In the steady state both owners are equal and
 * no per-flow memory is read. In a transition `previous` has SLOT_TRANSITION set
 * and names the owner of all flows without a record. Owner 0 is nobody.
 */
struct slot {
	__u32 current;
	__u32 previous;
};

#define SLOT_TRANSITION 0x80000000
#define SLOT_LEARNED 0x40000000 /* UDP flows without a record are new ones */
#define SLOT_OWNER 0x3fffffff
#define SLOT_STEADY (1 + (1ULL << 32)) /* times the owner: the word in the steady state */

/*
 * Row of `flows`: eight records of eight bytes, one cache line. A record is one
 * word: the 28 highest bits of the flow's hash, 12 of the tick it was last seen
 * in, 3 of state, 21 of the backend. The hash's low bits pick the bucket.
 */
#define BUCKET_FLOWS 8

struct flow_bucket {
	__u64 flows[BUCKET_FLOWS];
};

enum flow_state {
	FLOW_EMPTY = 0,
	FLOW_NEW = 1,   /* seen once */
	FLOW_KNOWN = 2, /* seen again */
	FLOW_CLOSING = 3,
};

#define FLOW_TAG_SHIFT 36
#define FLOW_TICK_SHIFT 24
#define FLOW_TICK_MASK 0xfff
#define FLOW_STATE_SHIFT 21
#define FLOW_STATE_MASK 0x7
#define FLOW_BACKEND_MASK 0x1fffff

/* Row of `server_ids`. The first of a service's block holds the seed of the others as its id. */
struct server_id {
	__u64 id; /* its bytes as a number, first byte highest */
	__u32 backend;
	__u8 rotation;
	__u8 used;
	__u8 pad[2];
};

enum __attribute__((packed)) forward {
	FORWARD_NONE = 0, /* unresolved: dropped with a reason */
	FORWARD_L2 = 1,
	FORWARD_IPIP = 2,
	FORWARD_GRE = 3,
	FORWARD_GUE = 4,
};

enum backend_flags {
	BACKEND_UP = 1,      /* lives: takes packets of flows that it has */
	BACKEND_ACCEPTS = 2, /* takes new flows */
};

#define BACKEND_HOP_SHIFT 8 /* flags are below the hop */

/*
 * Row of `backends`, read as one word, so that whatever changes of a backend is
 * one step.
 */
struct backend {
	__u32 hop;   /* enum backend_flags and, above, its row in `hops`: 0 is unresolved */
	__be32 dest; /* of the outer header, where that is IPv4 */
};

enum hop_flags {
	HOP_L2 = 1,       /* one of three: there is no outer header, */
	HOP_OUTER4 = 2,   /* it is IPv4, */
	HOP_OUTER6 = 4,   /* or IPv6 */
	HOP_CHECKSUM = 8, /* GUE: the UDP checksum is computed */
	HOP_VARY = 16,    /* the outer source varies within source_mask */
};

#define L2_TEMPLATE 22    /* Ethernet and two VLAN tags */
#define OUTER_TEMPLATE 64 /* an IPv6 header, UDP and GUE, with room to grow */

/*
 * Row of `hops`, two cache lines: all that a packet needs to leave but the outer
 * destination, computed by the control plane. Backends that share a next hop share
 * it. With Ethernet and IPv4 the second line is not touched.
 */
struct hop {
	enum forward forward;
	__u8 l2_len;     /* bytes used of l2 */
	__u8 outer_len;  /* bytes used of outer */
	__u8 flags;      /* enum hop_flags */
	__u16 mtu;       /* largest IP packet of a client's, which leaves room for the outer header */
	__u16 egress;    /* where it leaves: key in `egress` */
	__u32 ifindex;   /* the same; the arrival interface means XDP_TX */
	__u32 outer_sum; /* of the outer IPv4 header without length, TOS and destination, unfolded */
	__u8 l2[L2_TEMPLATE];
	__u8 head_len; /* l2_len and outer_len */
	__u8 pad;
	__u8 outer[OUTER_TEMPLATE];
	__be32 source_mask; /* bits of the outer source's last word that vary */
	__u8 pad2[20];
};

/* Row of `outer6`: a backend's address where the outer header is IPv6. */
struct outer_dest {
	__be32 addr[ADDR_WORDS];
};

/*
 * Row of `fragments` and `sources`: four to a bucket, one cache line. The tag is
 * a hash of the whole key; value 0 is an empty row.
 */
struct record {
	__u64 tag;
	__u64 value;
};

#define BUCKET_RECORDS 4

/* Key of `rules`: bits of service and address, in this order. */
struct rule_key {
	__u32 bits;
	__be32 service;
	__be32 addr[ADDR_WORDS];
};

#define RULE_DENY 1
#define RULE_ALLOW 2
#define NODE_RULES 0x7fffffff /* the node's own list, as a service number */
#define RULE_IPV6 0x80000000  /* with the service number: a short IPv6 prefix covers no IPv4 address */

/* Row of `counters`. Bytes are those of the frame as it arrived. */
struct counter {
	__u64 packets;
	__u64 bytes;
};

/* Row of `signals`: what clients' handshakes, as far as they are watched, tell about a backend. */
struct signal_counter {
	__u64 syns;          /* handshakes begun */
	__u64 completed;     /* of them, those that the client has completed */
	__u64 retransmitted; /* SYNs sent again, since nobody had answered */
	__u64 missed;        /* handshakes begun that found no place in the table, and count for nothing else */
};

/*
 * Rows of `counters`, per CPU: one per reason, then one per backend. A packet
 * adds to exactly one of them: a forwarded one to its backend's.
 */
#define COUNTER_REASONS 64

/*
 * Rows of `service_names` and `backend_names`: who has a number. The data path
 * never looks; a daemon that starts finds here what its predecessor meant. `used`
 * is cleared first and set last, so that a row is whole or nobody's.
 */
#define NAME_BYTES 64

struct service_name {
	__u64 used;
	__u8 name[NAME_BYTES];
};

struct backend_name {
	__u64 used;
	__u64 live;    /* the live fraction, a float64 */
	__u8 addr[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u32 service;
	__u32 weight;
	__u8 admin; /* what an operator ordered; the control plane's own numbers */
	__u8 pad[7];
	__u8 name[NAME_BYTES];
};

_Static_assert(sizeof(struct vip) == 64, "one cache line");
_Static_assert(sizeof(struct port) == 8, "eight to a cache line");
_Static_assert(sizeof(struct range) == 8, "eight to a cache line");
_Static_assert(sizeof(struct service) == 64, "one cache line");
_Static_assert(__builtin_offsetof(struct service, table) == __builtin_offsetof(struct service_head, table) &&
		       __builtin_offsetof(struct service, flags) == __builtin_offsetof(struct service_head, flags) &&
		       __builtin_offsetof(struct service, number) == __builtin_offsetof(struct service_head, number),
	       "a service's row begins with its head");
_Static_assert(__builtin_offsetof(struct service, ids) % 8 == 0, "ids and id_mask are one word");
_Static_assert(sizeof(struct service_rates) == 64, "one cache line");
_Static_assert(sizeof(struct slot) == 8, "one atomic word");
_Static_assert(sizeof(struct flow_bucket) == 64, "one cache line");
_Static_assert(sizeof(struct server_id) == 16, "four to a cache line");
_Static_assert(sizeof(struct backend) == 8, "one atomic word");
_Static_assert(sizeof(struct outer_dest) == 16, "four to a cache line");
_Static_assert(sizeof(struct hop) == 128, "two cache lines");
_Static_assert(__builtin_offsetof(struct hop, outer) + 20 <= 64,
	       "Ethernet and an outer IPv4 header stay in the first line");
_Static_assert(sizeof(struct record) * BUCKET_RECORDS == 64, "a bucket is a line");
_Static_assert(sizeof(struct signal_counter) == 32, "never across a line");
_Static_assert(sizeof(struct counter) == 16, "never across a line");
_Static_assert(sizeof(struct service_name) % 8 == 0, "the stride of an mmapped array");
_Static_assert(sizeof(struct backend_name) % 8 == 0, "the stride of an mmapped array");
