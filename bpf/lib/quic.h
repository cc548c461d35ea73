/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * QUIC connection IDs that name their server, docs/DATAPATH.md section 12: the
 * plaintext encoding of draft-ietf-quic-load-balancers, on the invariants of
 * RFC 8999 and the packet types of RFC 9000 and RFC 9369.
 */
#pragma once

#include "lib/maps.h"
#include "lib/net.h"
#include "lib/pkt.h"

#define QUIC_LONG 0x80
#define QUIC_TYPE 0x30
#define QUIC_V1 bpf_htonl(1)
#define QUIC_V1_HANDSHAKE 0x20
#define QUIC_V2 bpf_htonl(0x6b3343cf)
#define QUIC_V2_HANDSHAKE 0x30
#define QUIC_LONG_CID 6
#define QUIC_SHORT_CID 1
#define SERVER_ID_MAX 8
#define SERVER_ID_PROBES 8 /* rows that an ID may lie behind its own */
#define ROTATION_SHIFT 5 /* of 8 rotations, the last is never in use */

/* Where the connection ID of a long header starts, 0 if it cannot name a server. */
static __always_inline __u32 long_cid(void *payload, void *end, __u32 len, __u32 *cid_len)
{
	__u8 *bytes = payload, type;
	__be32 version;

	if (len < QUIC_LONG_CID || payload + QUIC_LONG_CID > end)
		return 0;
	__builtin_memcpy(&version, bytes + 1, sizeof(version));
	type = bytes[0] & QUIC_TYPE;
	if (!(version == QUIC_V1 && type == QUIC_V1_HANDSHAKE) && !(version == QUIC_V2 && type == QUIC_V2_HANDSHAKE))
		return 0;
	*cid_len = bytes[5];
	return QUIC_LONG_CID + *cid_len <= len ? QUIC_LONG_CID : 0;
}

/* Both ends of the ID have to reach the bits that pick the row. */
static __always_inline __u64 server_id_hash(__u8 rotation, __u64 id, __u64 seed)
{
	id += rotation * 0x9e3779b97f4a7c15ULL;
	return (id ^ id >> 32) * seed;
}

static __always_inline __u32 lookup_server_id(const struct service *service, __u8 rotation, __u64 id)
{
	__u64 block = *(const volatile __u64 *)&service->ids;
	__u32 row = block, mask = block >> 32;
	struct server_id *known = bpf_map_lookup_elem(&server_ids, &row);

	if (!known)
		return 0;
	row += 1 + (server_id_hash(rotation, id, known->id) >> 40 & mask);
	for (int i = 0; i < SERVER_ID_PROBES; i++, row++) {
		known = bpf_map_lookup_elem(&server_ids, &row);
		if (!known || !known->used)
			return 0;
		if (known->id == id && known->rotation == rotation)
			return known->backend;
	}
	return 0;
}

/*
 * The backend that the connection ID of the UDP packet at `offset` names and that
 * is up, or 0. Global, so that the verifier looks at its loop once.
 */
__noinline __u32 quic_owner(struct xdp_md *ctx, __u32 offset, __u32 service_id)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	struct service *service = bpf_map_lookup_elem(&services, &service_id);
	struct udphdr *udp = data + (offset & 0x1fff);
	void *payload = udp + 1;
	__u32 len, start = QUIC_SHORT_CID, cid_len, owner;
	__u8 *cid, rotation, id_len;
	struct backend *backend;
	__u64 id = 0;

	if (!service || payload + 1 > data_end)
		return 0;
	len = bpf_ntohs(udp->len);
	if (len <= UDP_HEADER)
		return 0;
	len -= UDP_HEADER;
	cid_len = len - QUIC_SHORT_CID;
	if (*(__u8 *)payload & QUIC_LONG)
		start = long_cid(payload, data_end, len, &cid_len);
	cid = payload + start;
	if (!start || !cid_len || (void *)(cid + 1) > data_end)
		return 0;
	rotation = cid[0] >> ROTATION_SHIFT;
	id_len = service->id_lengths[rotation];
	if (!id_len || cid_len < 1U + id_len)
		return 0;
	for (int i = 0; i < SERVER_ID_MAX && i < id_len; i++) {
		__u8 *byte = cid + 1 + i;

		asm volatile("" : "+r"(byte)); /* one register for check and load */
		if ((void *)(byte + 1) > data_end)
			return 0;
		id = id << 8 | *byte;
	}
	owner = lookup_server_id(service, rotation, id);
	backend = bpf_map_lookup_elem(&backends, &owner);
	return backend && backend->hop & BACKEND_UP && backend->hop >> BACKEND_HOP_SHIFT ? owner : 0;
}
