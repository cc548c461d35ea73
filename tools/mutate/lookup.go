package main

// lookup is what goes wrong while the VIP and its service are sought: sections 3 and 9 of docs/DATAPATH.md.
var lookup = []mutation{
	{"vip: the displacement is added, not mixed in", "lib/service.h",
		`(hash ^ displacement) * VIP_MULTIPLIER_HIGH`,
		`(hash + displacement) * VIP_MULTIPLIER_HIGH`},
	{"vip: an IPv4 address finds an IPv6 VIP that ends in it", "lib/service.h",
		`vip->addr[3] == addr && vip->kind == VIP_KIND(4, length)`,
		`vip->addr[3] == addr && vip->kind >> 8 == length`},
	{"vip: an address finds a prefix that begins with it", "lib/service.h",
		`vip->kind == VIP_KIND(4, length)`,
		`(vip->kind & 0xff) == 4`},
	{"vip: IPv6 VIPs are told apart by their place alone", "lib/service.h",
		`is_same6(vip->addr, addr) && `,
		``},
	{"vip: prefixes are one bit short", "lib/service.h",
		`bpf_htonl(~0U << ((from + 32 - length) & 31))`,
		`bpf_htonl(~0U << ((from + 33 - length) & 31))`},
	{"vip: prefix masks are in the wrong byte order", "lib/service.h",
		`bpf_htonl(~0U << ((from + 32 - length) & 31))`,
		`~0U << ((from + 32 - length) & 31)`},
	{"vip: a prefix that ends between two words reaches over the second", "lib/service.h",
		`if (length <= from)`,
		`if (length < from)`},
	{"vip: the shortest prefix wins", "lib/service.h",
		`__u8 length = state.lengths[half].v4[i];

		if (!length)
			break;`,
		`__u8 length = state.lengths[half].v4[PREFIX_LENGTHS - 1 - i];

		if (!length)
			continue;`},
	{"vip: a prefix wins over a whole address", "lib/service.h",
		`return vip || !use_prefixes ? vip : vip_at(lookup_prefix4(addr));`,
		`const struct vip *other = vip_at(lookup_prefix4(addr));

	return other ? other : vip;`},
	{"vip: prefix lengths are always the first half's", "lib/service.h",
		`__noinline __u32 lookup_prefix4(__be32 addr)
{
	__u64 table = state.vip_table;
	__u32 half = table >> 63, row;`,
		`__noinline __u32 lookup_prefix4(__be32 addr)
{
	__u64 table = state.vip_table;
	__u32 half = 0, row;`},

	{"service: a port's protocol is not compared", "lib/service.h",
		`PORT_KEY(dest_port(p), p->proto)`,
		`PORT_KEY(dest_port(p), IPPROTO_TCP)`},
	{"service: the first port takes what the other protocol sends", "lib/service.h",
		`if (p->vip->first_key == key) {`,
		`if ((p->vip->first_key & 0xffff) == (key & 0xffff)) {`},
	{"service: a range does not hold its first port", "lib/service.h",
		`if (range && range->first <= port) {`,
		`if (range && range->first < port) {`},
	{"service: a range does not hold its last port", "lib/service.h",
		`port <= range->last`,
		`port < range->last`},
	{"service: the search for a range forgets one of an odd number", "lib/service.h",
		`count -= half;`,
		`count = half;`},
	{"service: the search for a range ends a step early", "lib/types.h",
		`#define RANGE_STEPS 12`,
		`#define RANGE_STEPS 11`},
	{"service: UDP's ranges are sought among TCP's", "lib/service.h",
		`find_range(vip->ranges + vip->tcp_ranges, vip->udp_ranges, port)`,
		`find_range(vip->ranges, vip->udp_ranges, port)`},
	{"service: ranges are compared in the wrong byte order", "lib/service.h",
		`port = bpf_ntohs(dest_port(p)), service`,
		`port = dest_port(p), service`},

	{"silence: passes where it should drop", "lib/daemon.h",
		`silence_policy == SILENCE_PASS ?`,
		`silence_policy != SILENCE_PASS ?`},
	{"silence: begins at its limit", "lib/daemon.h",
		`> silence_limit << HEARTBEAT_TICK_BITS`,
		`>= silence_limit << HEARTBEAT_TICK_BITS`},
	{"silence: is counted from the last packet", "lib/daemon.h",
		"if (heartbeat && (heartbeat & HEARTBEAT_TICK) == tick)\n\t\treturn",
		"if (heartbeat && (heartbeat & HEARTBEAT_TICK) == tick)\n\t\treturn state.heartbeat = clock | tick,"},
	{"silence: is there before the first packet", "lib/daemon.h",
		`if (heartbeat && (`,
		`if ((`},
	{"silence: a tick that goes back says nothing", "lib/daemon.h",
		`(heartbeat & HEARTBEAT_TICK) == tick)`,
		`(heartbeat & HEARTBEAT_TICK) >= tick)`},
	{"silence: the tick reaches into the clock", "lib/daemon.h",
		`state.tick & HEARTBEAT_TICK, heartbeat`,
		`state.tick, heartbeat`},
	{"silence: real time counts where time is fixed", "lib/daemon.h",
		`return fixed_time ? state.clock : bpf_jiffies64();`,
		`return bpf_jiffies64();`},
	{"silence: malformed packets come first", "xlb.c",
		"\tSTAGE(check_daemon(p));\n\tSTAGE(parse_lengths(p));\n",
		"\tSTAGE(parse_lengths(p));\n\tSTAGE(check_daemon(p));\n"},
}
