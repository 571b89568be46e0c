/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_PACKET_H
#define TD_UNPACKER_PACKET_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* One RTP packet, transport and headers taken off. */
struct packet {
	uint64_t arrival_ns;
	int64_t seq;    /* unwrapped once its stream looked at it; the wire's 16 bits before */
	uint32_t spurt; /* the stream's number of the talk spurt it belongs to */
	uint32_t ts;
	const uint8_t *data; /* borrowed; owned by a packet from packet_keep() */
	uint16_t len;        /* 0: nothing but padding inside */
};

/* A copy with bytes of its own, in one piece for free(); NULL: out of memory. */
static inline struct packet *packet_keep(const struct packet *p)
{
	struct packet *copy = malloc(sizeof(*copy) + p->len);

	if (copy == NULL)
		return NULL;
	*copy = *p;
	copy->data = (uint8_t *)(copy + 1);
	if (p->len > 0)
		memcpy(copy + 1, p->data, p->len);
	return copy;
}

#endif
