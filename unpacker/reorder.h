/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_REORDER_H
#define TD_UNPACKER_REORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unpacker/packet.h"

/*
 * The packets of one SSRC in the order of their sequence numbers. One that is next passes at once;
 * one behind a gap waits for those before it, but never longer than `window_ns` after it arrived:
 * then every gap before it is given up. One that is sealed leaves when it is opened or at its
 * sealed_until_ns, and nothing behind it before it does. Owns what waits. No clock: time comes with
 * the calls and never falls.
 */
enum { REORDER_SLOTS = 512, REORDER_FEW = 16 };
#define REORDER_NEVER UINT64_MAX

enum reorder_verdict {
	REORDER_FITS,      /* put it */
	REORDER_DUPLICATE, /* waits or was played */
	REORDER_LATE,      /* its place was given up */
	REORDER_FAR,       /* more than REORDER_SLOTS away from all that came so far */
};

struct reorder {
	struct packet **slot; /* of seq at seq % slots: next and up, to the highest */
	size_t slots;         /* a power of two; as many as that takes while something waits */
	struct packet *few[REORDER_FEW];
	uint64_t came[REORDER_SLOTS / 64]; /* bit seq % REORDER_SLOTS: came; those below next */
	uint64_t window_ns, oldest_ns;     /* oldest_ns: arrival of what waits longest */
	uint64_t hold_until_ns;            /* packets of hold_spurt and later wait for this */
	int64_t next, highest;
	size_t waiting;
	uint32_t hold_spurt;
	bool started; /* next and highest mean something */
	bool open;    /* nothing was released yet: what comes lower moves the start */
};

void reorder_init(struct reorder *r, uint64_t window_ns); /* not to be copied from here on */
void reorder_free(struct reorder *r);                     /* what waits is dropped */

/* What to do with a packet of this number; *ret is the number unwrapped. */
enum reorder_verdict reorder_check(const struct reorder *r, uint16_t seq, int64_t *ret);

/* Packets of this spurt and later ones are not released before `until_ns`. */
void reorder_hold(struct reorder *r, uint32_t spurt, uint64_t until_ns);
static inline bool reorder_holds(const struct reorder *r, uint64_t now_ns)
{
	return now_ns < r->hold_until_ns;
}

/* The waiting packet of this number, still the reorder's; NULL: none. */
struct packet *reorder_at(struct reorder *r, int64_t seq);

/* The packet is the next one, nothing holds it, and it may be played without being kept: its place
 * is taken. Else false, and reorder_put() is what to call. */
bool reorder_pass(struct reorder *r, const struct packet *p, uint64_t now_ns);
/* Keeps a copy of a packet that fits and lies less than REORDER_SLOTS above `next`.
 * TD_ERR_NOMEM. */
int reorder_put(struct reorder *r, const struct packet *p);

/* When the next packet is due whatever comes; REORDER_NEVER when none waits. */
uint64_t reorder_due(const struct reorder *r);
/* The next packet that may be released at now_ns, the caller's to free(); *ret_lost is how many
 * numbers before it are given up. NULL: none. now_ns REORDER_NEVER releases everything. */
struct packet *reorder_pop(struct reorder *r, uint64_t now_ns, int64_t *ret_lost);

/* Nothing waits: the next packet has this number, and nothing is known of those before. */
void reorder_restart(struct reorder *r, int64_t seq);

#endif
