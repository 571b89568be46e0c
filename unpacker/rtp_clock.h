/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_RTP_CLOCK_H
#define TD_UNPACKER_RTP_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "common/wrap.h"

/*
 * Where on our clock a stream's RTP timestamps lie. Of every packet, d = arrival - timestamp is the
 * sender's clock offset plus what the network added; the smallest d of the last half minute is the
 * offset with next to nothing added, and follows a sender whose clock runs at another speed. A
 * pause longer than that leaves a few packets to go by, and all of them may be late; but no two
 * clocks drift apart faster than RTP_CLOCK_MAX_PPM.
 *
 * Timestamps go in and out as 64-bit numbers from rtp_clock_unwrap(). Pure: no clock, no memory.
 */
enum { RTP_CLOCK_BUCKETS = 8, RTP_CLOCK_MAX_PPM = 200 };

struct rtp_clock {
	struct {
		int64_t slice; /* arrival / 4 s */
		int64_t min_d;
	} bucket[RTP_CLOCK_BUCKETS];
	int64_t min_d;    /* ns: the least of the buckets ... */
	int64_t slice;    /* ... as of this slice: the last packet's */
	uint64_t last_ns; /* the latest arrival */
	bool set;         /* false: nothing added yet; all zero is an empty clock */
};

/* The 64-bit timestamp that is congruent to `ts` and nearest to what the clock expects at
 * `arrival_ns`; an empty clock takes the one nearest to arrival itself, so that no number grows
 * past what 64 bits hold however often a stream is placed anew. */
static inline int64_t rtp_clock_unwrap(const struct rtp_clock *c, uint32_t ts, uint64_t arrival_ns)
{
	return ts_unwrap(td_ns_to_samples((int64_t)arrival_ns - (c->set ? c->min_d : 0)), ts);
}

/* arrival - ts in nanoseconds: the d of above. */
static inline int64_t rtp_clock_d(int64_t ts, uint64_t arrival_ns)
{
	return (int64_t)arrival_ns - td_samples_to_ns(ts);
}

/* One packet as it arrived. */
void rtp_clock_add(struct rtp_clock *c, int64_t ts, uint64_t arrival_ns);

/* When sample `ts` was recorded, on our clock. Of a clock that is set. */
static inline int64_t rtp_clock_sent_ns(const struct rtp_clock *c, int64_t ts)
{
	return td_samples_to_ns(ts) + c->min_d;
}

#endif
