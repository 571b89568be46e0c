/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_DELIVERED_H
#define TD_RECEIVER_DELIVERED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/counters.h"
#include "common/ipc.h"
#include "common/map.h"

/*
 * How far the streams of a lane have come back from its worker: so that a replacement is given what
 * is missing and nothing twice, and what came back but was not counted yet when the worker died is
 * counted all the same. One thread at a time. All zero is empty.
 */
enum { DELIVERED_MAX = 16384 }; /* streams; those beyond are not followed */

struct delivered {
	struct map streams; /* by connection and SSRC */
	bool decodes;       /* sound comes as frames, and not as packets alone */
};

void delivered_free(struct delivered *d);

/* A message came back. False: it was delivered before the worker was replaced, and is not wanted a
 * second time. */
bool delivered_frame(struct delivered *d, uint64_t conn, const struct ipc_frame *f);
bool delivered_opus(struct delivered *d, uint64_t conn, const struct ipc_opus *o);
/* Everything of this stream that came back so far is counted. */
void delivered_counted(struct delivered *d, uint64_t conn, uint32_t ssrc);
void delivered_forget(struct delivered *d, uint64_t conn);

/* The worker is gone: calls each with what came back of a stream and was not counted. */
void delivered_worker_lost(struct delivered *d,
	void (*each)(void *user, uint64_t conn, uint32_t ssrc, uint64_t user_id,
		const uint64_t delta[static COUNTER_COUNT]),
	void *user);
/* What a new worker has to do with a packet that came lately. */
enum delivered_state {
	DELIVERED_NOT,    /* its sound has not come back */
	DELIVERED_LATELY, /* it has; what comes next in the stream sounds right only behind it */
	DELIVERED_LONG_AGO,
};
enum delivered_state delivered_look(const struct delivered *d, uint64_t conn, uint32_t ssrc,
	uint16_t seq);

#endif
