/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Protocol constants that the kernel has as macros, which BTF does not carry. */
#pragma once

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define VLAN_TAG 4
#define VLAN_TAGS_MAX 2

#define IPV4_HEADER_MIN 20
#define IPV4_MORE_FRAGMENTS bpf_htons(0x2000)
#define IPV4_DONT_FRAGMENT bpf_htons(0x4000)
#define IPV4_FRAGMENT_OFFSET bpf_htons(0x1fff)
#define IPV6_HEADER 40
#define IPV6_MORE_FRAGMENTS bpf_htons(0x0001)
#define IPV6_FRAGMENT_OFFSET bpf_htons(0xfff8)
#define IP_TTL 64

#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_ICMPV6 58
#define NEXT_DESTINATION 60

#define UDP_HEADER 8
#define TCP_HEADER_MIN 20
#define TCP_FLAGS 13 /* offset in the header */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10
#define GRE_HEADER 4
#define GUE_HEADER 4

/*
 * A length as a header has it. Before Linux 6.8 the verifier forgets that a half-word
 * has 16 bits when its bytes are swapped, and the compiler would leave out a mask
 * that it need not see.
 */
static __always_inline __u32 length_of(__be16 field)
{
	__u32 len = bpf_ntohs(field);

	asm volatile("%0 &= 0xffff" : "+r"(len));
	return len;
}

/* What the flow hash may fill of outer headers. */
#define GUE_SOURCE_PORT 0xc000
#define GUE_SOURCE_BITS 0x3fff
#define FLOW_LABEL_BITS 0xfffff

#define ICMP_HEADER 8
#define ICMP_ECHO_REQUEST 8
#define ICMP_ECHO_ANSWER 0
#define ICMP_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMPV6_ECHO_REQUEST_TYPE 128
#define ICMPV6_ECHO_ANSWER_TYPE 129
#define ICMPV6_TOO_BIG 2
