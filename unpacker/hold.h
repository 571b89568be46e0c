/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_HOLD_H
#define TD_UNPACKER_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unpacker/packet.h"

/*
 * The packets of one SSRC that nobody has been named for, in the order they came: the newest
 * HOLD_MAX of them, and of these no more than fit. Owns its packets; all zero is an empty hold.
 */
enum {
	HOLD_MAX = 1000,             /* two seconds of the shortest packets, 2.5 ms, and some */
	HOLD_MAX_BYTES = 256 * 1024, /* two seconds of Opus at its best, 510 kbit/s, twice */
};

struct hold {
	struct packet *ring[HOLD_MAX];
	size_t head, len;
	size_t bytes; /* of payload */
};

/* How many have to be counted: those that do not come again. */
size_t hold_clear(struct hold *h);
/* Keeps a copy. *ret_dropped: so many of the oldest had to go for it. TD_ERR_NOMEM. */
int hold_push(struct hold *h, const struct packet *p, size_t *ret_dropped);
struct packet *hold_pop(struct hold *h); /* the oldest, the caller's to free(); NULL: empty */

#endif
