/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_PACKET_H
#define TD_UNPACKER_PACKET_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/counters.h"

/* What became of the end-to-end encryption around a packet. */
enum packet_state {
	PACKET_OPEN,    /* data is Opus */
	PACKET_SEALED,  /* data is encrypted: waits for its key until sealed_until_ns */
	PACKET_DROPPED, /* takes its place in the sequence and nothing else */
};

/* One RTP packet, transport and headers taken off. */
struct packet {
	uint64_t arrival_ns;
	int64_t seq;    /* unwrapped once its stream looked at it; the wire's 16 bits before */
	uint32_t spurt; /* the stream's number of the talk spurt it belongs to */
	uint32_t ts;
	const uint8_t *data; /* borrowed; owned by a packet from packet_keep() */
	uint16_t len;        /* 0: nothing but padding inside */
	bool plain_ok;       /* unencrypted frames were taken when it arrived */
	bool again;          /* IPC_PACKET_AGAIN */
	bool opened;         /* IPC_PACKET_OPENED */
	bool counted;        /* IPC_PACKET_COUNTED */
	bool undecoded;      /* IPC_PACKET_UNDECODED */
	uint64_t nonce;      /* with IPC_FRAME_DAVE_OPENED: as in struct ipc_frame */
	uint32_t epoch_no;
	uint8_t flags;            /* IPC_FRAME_*: what it is counted as */
	uint8_t state;            /* enum packet_state */
	uint8_t reason;           /* enum td_counter: why it is not open */
	uint64_t sealed_until_ns; /* 0 unless sealed */
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
