/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Protocol constants that the kernel has as macros, which BTF does not carry. */
#pragma once

#define ETH_P_IP 0x0800
#define IPV4_HEADER_MIN 20
#define IPV4_FRAGMENT bpf_htons(0x3fff) /* more fragments, or an offset */
#define UDP_HEADER 8
#define TCP_HEADER_MIN 20
