/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why a packet left the pipeline. Append only: the numbers are rows of
 * `counters` and appear in metrics, captures and other people's notes.
 * `go generate ./bpf` turns this list into Go and into docs/counters.md.
 *
 * R(name, verdict, whether healthy traffic ever hits it, when it fires)
 */
#pragma once

/* clang-format off */
#define REASONS(R)                                                                                          \
	R(NONE,              ABORT, "never",  "the pipeline ended without a reason: a bug in xlb")           \
	R(FORWARDED,         EMIT,  "always", "sent to a backend; counted with the backend")                 \
	R(NOT_IP,            PASS,  "always", "neither IPv4 nor IPv6, such as ARP, or behind more than two VLAN tags: handed to the kernel") \
	R(MALFORMED,         PASS,  "rarely", "no whole IP header where one is announced: handed to the kernel, which drops and counts it") \
	R(NOT_OURS,          PASS,  "always", "the destination is no VIP: handed to the kernel")             \
	R(NO_SERVICE,        PASS,  "often",  "the VIP has no service on that port or protocol: handed to the kernel") \
	R(EXTENSION_HEADERS, PASS,  "rarely", "for a VIP, with a routing header or too many extension headers: handed to the kernel") \
	R(BAD_LENGTH,        DROP,  "never",  "for a VIP, but a header claims more bytes than there are, or too few for its protocol") \
	R(BAD_CHECKSUM,      DROP,  "never",  "for a VIP, but the IPv4 header checksum is wrong (option verify_checksum)") \
	R(LAND,              DROP,  "never",  "source and destination address are the same")                 \
	R(MARTIAN,           DROP,  "never",  "the source address can be no host's")                         \
	R(SOURCE_IS_VIP,     DROP,  "never",  "the source address is a VIP")                                 \
	R(DENIED_BY_NODE,    DROP,  "rarely", "the source is in the node's deny list")                       \
	R(DENIED,            DROP,  "rarely", "the service's filter denies the source")                      \
	R(SOURCE_RATE,       DROP,  "rarely", "the source opens more new connections to the service than its limit") \
	R(SERVICE_RATE,      DROP,  "rarely", "the service gets more packets than its limit")                \
	R(FRAGMENT,          DROP,  "rarely", "for a VIP, but a fragment of something other than TCP or UDP")  \
	R(FRAGMENT_UNKNOWN,  DROP,  "rarely", "a later fragment whose first one has not been seen")          \
	R(ECHO_REPLIED,      TX,    "often",  "an ICMP echo request to a VIP, answered")                     \
	R(ECHO_DROPPED,      DROP,  "often",  "an ICMP echo request to a VIP (option icmp.echo: drop)")      \
	R(ICMP_UNMATCHED,    DROP,  "rarely", "an ICMP error to a VIP about no packet of its own")           \
	R(TTL_EXPIRED,       DROP,  "rarely", "for a service, but its TTL or hop limit ends here")           \
	R(NO_BACKEND,        DROP,  "rarely", "the service has no backend that is up")                       \
	R(NO_NEXT_HOP,       DROP,  "rarely", "the chosen backend's next hop is not resolved")               \
	R(TOO_BIG,           DROP,  "rarely", "longer than the egress MTU once encapsulated; the sender is not told")  \
	R(TOO_BIG_ANSWERED,  TX,    "often",  "longer than the egress MTU once encapsulated; the sender is told its path MTU")  \
	R(NO_HEADROOM,       DROP,  "never",  "the driver leaves no room in front of the frame for the outer header") \
	R(NO_EGRESS,         DROP,  "never",  "the egress interface is gone from the redirect table")         \
	R(NO_DAEMON,         PASS,  "never",  "for a VIP, but no daemon has run for longer than dead_daemon says: handed to the kernel, or dropped by drop-after")
/* clang-format on */

enum reason {
#define R(name, verdict, healthy, when) REASON_##name,
	REASONS(R)
#undef R
		REASON_COUNT,
};

_Static_assert(REASON_COUNT <= 64, "rows of counters before the backends'");
