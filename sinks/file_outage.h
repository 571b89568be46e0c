/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_FILE_OUTAGE_H
#define TD_SINKS_FILE_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "sinks/sink.h"

/*
 * A disk that does not take what is written, as the tracks of one session see it together: when one
 * of them may try again, and what is said of it. One clear event tells of the first file, a second
 * one counts those that followed; the same when they go on. One thread. All zero but for host is a
 * disk without faults.
 *
 * A track tries again after 5 s; one whose parts end early again and again after up to a minute.
 * However many tracks there are, attempts that fail take a tenth of the time at most.
 */
struct outage {
	const struct td_host *host;
	uint64_t try_ns;                   /* nobody tries before */
	bool failed;                       /* a file ended, or could not begin */
	int cause;                         /* errno of the one that was said last */
	uint64_t ended_ns, resumed_ns;     /* when that was said last; 0: never */
	uint32_t more_ended, more_resumed; /* since then */
};

/* What a track has to remember. All zero to begin with. */
struct outage_track {
	uint64_t retry_ns, began_ns; /* of the next attempt; of the part */
	unsigned shift;              /* parts in a row that ended early */
};

/* The wall clock, but for tests. */
uint64_t outage_now(void);
/* Replaces it; NULL: the real one. Not for threads. */
void outage_test_clock(uint64_t (*now)(void));

/* A file of the track ended, or could not be made (cause: errno; 0: r tells), and the next may be
 * tried later. */
void outage_ended(struct outage *o, struct outage_track *t, const char *file, int r, int cause,
	const char *so);
/* As that, and somebody else has said so, or will: the next one may be tried soon. */
void outage_ended_quietly(struct outage *o, struct outage_track *t);
/* Whether the track may make its next file now. */
bool outage_may_try(const struct outage *o, const struct outage_track *t);
/* It tried from began_ns on; file: what it goes on in; NULL: this one could not be made. */
void outage_tried(struct outage *o, struct outage_track *t, uint64_t began_ns, const char *file);
/* About once a second, and at the end (last): says what was not worth an event of its own. */
void outage_tick(struct outage *o, bool last);

#endif
