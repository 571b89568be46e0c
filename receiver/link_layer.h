/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_LINK_LAYER_H
#define TD_RECEIVER_LINK_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From a captured frame down to the UDP datagram in it. Pure; one reader for every layer. */
struct link_address {
	uint8_t family; /* 4 or 6 */
	uint8_t ip[16]; /* the first 4 bytes for family 4, zeros behind */
	uint16_t port;
};

struct link_datagram {
	struct link_address source, destination;
	const uint8_t *data; /* leads into the frame */
	size_t len;
};

/* True for a pcap link type (LINKTYPE_*, DLT_*) that link_udp() reads: Ethernet (VLAN tags too),
 * raw IP, Linux cooked v1 and v2, BSD loopback. */
bool link_type_known(int link_type);

/* 0 and a datagram; TD_ERR_UNSUPPORTED: something else than UDP over IP, or a fragment;
 * TD_ERR_TRUNCATED: the capture cut the datagram; TD_ERR_MALFORMED. */
int link_udp(struct link_datagram *ret, int link_type, const uint8_t *frame, size_t len);

bool link_address_equal(const struct link_address *a, const struct link_address *b);

#endif
