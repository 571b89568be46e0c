/* SPDX-License-Identifier: ISC */
#include "unpacker/rtp_clock.h"

enum { SLICE_SEC = 4 };

static int64_t slice_of(uint64_t ns)
{
	return (int64_t)(ns / (SLICE_SEC * TD_SEC_NS));
}

/* The most that d can have become without a packet to tell, when every bucket is too old. */
static int64_t drifted_d(const struct rtp_clock *c, int64_t slice, uint64_t arrival_ns)
{
	int64_t silent_ns = (int64_t)(arrival_ns - c->last_ns);

	if (!c->set || slice - slice_of(c->last_ns) < RTP_CLOCK_BUCKETS)
		return INT64_MAX;
	return c->min_d + silent_ns / 1000000 * RTP_CLOCK_MAX_PPM;
}

void rtp_clock_add(struct rtp_clock *c, int64_t ts, uint64_t arrival_ns)
{
	int64_t slice = slice_of(arrival_ns);
	int64_t d = rtp_clock_d(ts, arrival_ns), most;
	unsigned i, now = (unsigned)(slice % RTP_CLOCK_BUCKETS);

	/* Nearly always: no slice has begun, and what is least in this one is. */
	if (c->set && slice == c->slice && d >= c->bucket[now].min_d) {
		if (arrival_ns > c->last_ns)
			c->last_ns = arrival_ns;
		return;
	}
	most = drifted_d(c, slice, arrival_ns);
	if (d > most)
		d = most;
	c->slice = slice;
	if (!c->set || arrival_ns > c->last_ns)
		c->last_ns = arrival_ns;
	if (!c->set || c->bucket[now].slice != slice || d < c->bucket[now].min_d) {
		/* An empty clock fills every bucket, so that none needs a flag of its own. */
		for (i = 0; i < RTP_CLOCK_BUCKETS; i++) {
			if (!c->set || i == now) {
				c->bucket[i].slice = slice;
				c->bucket[i].min_d = d;
			}
		}
		c->set = true;
	}
	c->min_d = d;
	for (i = 0; i < RTP_CLOCK_BUCKETS; i++) {
		if (slice - c->bucket[i].slice < RTP_CLOCK_BUCKETS && c->bucket[i].min_d < c->min_d)
			c->min_d = c->bucket[i].min_d;
	}
}
