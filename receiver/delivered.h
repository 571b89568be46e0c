/* SPDX-License-Identifier: ISC */
#ifndef TD_RECEIVER_DELIVERED_H
#define TD_RECEIVER_DELIVERED_H

#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "common/counters.h"
#include "common/dave_nonces.h"
#include "common/ipc.h"
#include "common/map.h"

/*
 * How far the streams of a lane have come back from its worker: so that a replacement is given what
 * is missing and nothing twice, everything is counted once, whichever worker it came from, and no
 * frame that was encrypted end to end opens in two of them. One thread at a time. All zero is
 * empty.
 */
enum { DELIVERED_MAX = 16384 }; /* streams, and senders; those beyond are not followed */

/* A stream of which nothing came for so long is forgotten: whatever a worker was told before is
 * through its windows long since. */
#define DELIVERED_KEPT_NS (60 * TD_SEC_NS)

struct delivered {
	struct map streams;    /* by connection and SSRC */
	struct map conns;      /* to the senders whose frames were encrypted */
	size_t senders;        /* of all of them */
	bool decodes;          /* sound comes as frames, and not as packets alone */
	uint64_t newest_ns;    /* the highest time of arrival that came back */
	uint64_t forgotten_ns; /* streams of which everything came before it may be forgotten */
};

void delivered_free(struct delivered *d);

/* A message came back. False: it was delivered before the worker was replaced, and is not wanted a
 * second time. */
bool delivered_frame(struct delivered *d, uint64_t conn, const struct ipc_frame *f);
bool delivered_opus(struct delivered *d, uint64_t conn, const struct ipc_opus *o);
/* Counters of a stream came back: everything of it that came before them is counted, and what they
 * are about is done with even if nothing else came of it. */
void delivered_counted(struct delivered *d, uint64_t conn, const struct ipc_counters *c);
void delivered_forget(struct delivered *d, uint64_t conn);

/* The worker is gone: calls each with what has to be counted in its place, so that every packet is
 * counted once when a replacement counts those that did not come back. */
void delivered_worker_lost(struct delivered *d,
	void (*each)(void *user, uint64_t conn, uint32_t ssrc, uint64_t user_id,
		const uint64_t delta[static COUNTER_COUNT]),
	void *user);

/*
 * Calls each with the nonces that sound and packets of an epoch were opened with and came back:
 * what an attacker may send again, however much later. Not those of packets that a new worker has
 * to open once more.
 */
typedef void delivered_nonces(void *user, uint64_t conn, uint32_t epoch_no, uint64_t user_id,
	const struct dave_nonces *nonces);
void delivered_used(const struct delivered *d, uint64_t conn, uint32_t epoch_no,
	delivered_nonces *each, void *user);

/* What a new worker has to do with a packet that arrived at at_ns. */
enum delivered_state {
	DELIVERED_NOT,     /* its sound has not come back, */
	DELIVERED_COUNTED, /* and if it is the duplicate of one that waits, that was counted */
	DELIVERED_LATELY,  /* it has; what comes next in the stream sounds right only behind it */
	DELIVERED_OPENED,  /* so has this, and it is what its nonce was used for */
	DELIVERED_LONG_AGO,
};
enum delivered_state delivered_look(const struct delivered *d, uint64_t conn, uint32_t ssrc,
	uint16_t seq, uint64_t at_ns);

#endif
