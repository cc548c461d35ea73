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
	R(NONE,             ABORT, "never",  "the pipeline ended without a reason: a bug in xlb")            \
	R(FORWARDED,        EMIT,  "always", "sent to a backend; counted with the backend")                  \
	R(NOT_IPV4,         PASS,  "always", "not IPv4, such as ARP or IPv6: handed to the kernel")          \
	R(MALFORMED,        PASS,  "rarely", "no whole IPv4 header where one is announced: handed to the kernel, which drops and counts it") \
	R(NOT_OURS,         PASS,  "always", "the destination is no VIP: handed to the kernel")              \
	R(NO_SERVICE,       PASS,  "often",  "the VIP has no service on that port or protocol: handed to the kernel") \
	R(BAD_LENGTH,       DROP,  "never",  "for a VIP, but the IP header claims more bytes than arrived, or too few for its protocol") \
	R(FRAGMENT,         DROP,  "rarely", "for a VIP, but an IP fragment: its port cannot be known")      \
	R(TTL_EXPIRED,      DROP,  "rarely", "for a service, but its TTL ends here")                         \
	R(NO_BACKEND,       DROP,  "rarely", "the service has no backend that is up")                        \
	R(NO_NEXT_HOP,      DROP,  "rarely", "the chosen backend's next hop is not resolved")                \
	R(TOO_BIG,          DROP,  "rarely", "longer than the egress MTU once encapsulated")                 \
	R(NO_HEADROOM,      DROP,  "never",  "the driver leaves no room in front of the frame for the outer header") \
	R(NO_EGRESS,        DROP,  "never",  "the egress interface is gone from the redirect table")
/* clang-format on */

enum reason {
#define R(name, verdict, healthy, when) REASON_##name,
	REASONS(R)
#undef R
		REASON_COUNT,
};
