/* SPDX-License-Identifier: ISC */
#ifndef TD_TESTS_VOICESERVER_WIRE_H
#define TD_TESTS_VOICESERVER_WIRE_H

#include "tests/voiceserver/rng.h"
#include "tests/voiceserver/scenario.h"

/*
 * The network between the server and one client: datagrams go in, and come out later, in another
 * order, twice, damaged or not at all.
 */
struct wire;

/* What a stream of one sender to one client remembers. Starts with its own random numbers and
 * zeros. */
struct wire_stream {
	struct rng rng;
	unsigned burst_left;
	uint64_t last_ns;
};

/* What becomes of a datagram; the first two arrive usable. */
enum wire_fate {
	WIRE_SENT,
	WIRE_DELAYED,    /* others overtake it */
	WIRE_DUPLICATED, /* comes twice */
	WIRE_LOST,
	WIRE_CORRUPT,    /* its tag does not verify */
	WIRE_TRUNCATED,  /* shorter than its own header says */
	WIRE_UNREADABLE, /* arrives, and its frame cannot be decrypted */
};
static inline bool wire_arrives(enum wire_fate fate)
{
	return fate <= WIRE_DUPLICATED;
}
const char *wire_fate_name(enum wire_fate fate);

int wire_new(struct wire **ret); /* TD_ERR_NOMEM */
void wire_free(struct wire *w);  /* NULL is fine */

/* Sends a copy of a datagram at call time call_ns, server time now_ns. */
enum wire_fate wire_push(struct wire *w, const struct faults *f, struct wire_stream *s,
	uint64_t now_ns, uint64_t call_ns, const uint8_t *data, size_t len);
/* Random bytes, at once. */
void wire_garbage(struct wire *w, struct rng *rng, uint64_t now_ns);

/* When the next datagram arrives; UINT64_MAX: none is under way. */
uint64_t wire_next_ns(const struct wire *w);
/* Takes that datagram; its length. It is valid until the next wire_* call. */
size_t wire_pop(struct wire *w, const uint8_t **ret);

#endif
