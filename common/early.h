/* SPDX-License-Identifier: ISC */
#ifndef TD_COMMON_EARLY_H
#define TD_COMMON_EARLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Datagrams that were quicker than the message with their key: UDP overtakes the gateway, and the
 * first word of a call would be lost to it. A bounded queue; the oldest falls out.
 */
enum { EARLY_MAX = 64 };

struct early_datagram {
	struct early_datagram *next; /* of the queue it is in */
	uint64_t arrival_ns;
	uint32_t flags; /* as given */
	size_t len;
	uint8_t data[];
};

/* Zero when empty; may be moved. */
struct early {
	struct early_datagram *first, *last;
	size_t count;
};

/* Copies the datagram. True when one is lost by that: the oldest of a full queue, or this one for
 * want of memory. */
bool early_put(struct early *e, uint64_t arrival_ns, uint32_t flags, const uint8_t *data,
	size_t len);
/* The oldest one, now the caller's to free(); NULL when there is none. */
struct early_datagram *early_take(struct early *e);
/* When the oldest one arrived; `otherwise` when there is none. */
uint64_t early_since_ns(const struct early *e, uint64_t otherwise);
void early_clear(struct early *e);

#endif
