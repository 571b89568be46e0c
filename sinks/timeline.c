/* SPDX-License-Identifier: ISC */
#include "sinks/timeline.h"

#include "common/clock.h"
#include "common/wrap.h"

int64_t timeline_position(uint64_t start_ns, int64_t at_ns)
{
	int64_t max_ns = td_samples_to_ns(TIMELINE_MAX_POS);
	__int128 ns = (__int128)at_ns - start_ns;

	if (ns > max_ns)
		return TIMELINE_MAX_POS;
	if (ns < -max_ns)
		return -TIMELINE_MAX_POS;
	return td_ns_to_samples((int64_t)ns);
}

static int64_t distance(int64_t a, int64_t b)
{
	return a > b ? a - b : b - a;
}

/* The position by the clock; never further ahead than arrival allows. */
static int64_t by_clock(uint64_t start_ns, const struct timeline_frame *frame, int64_t *ret_latest,
	bool *ret_jump)
{
	int64_t arrival_ns = frame->arrival_ns > INT64_MAX ? INT64_MAX : (int64_t)frame->arrival_ns;
	int64_t arrival = timeline_position(start_ns, arrival_ns);
	int64_t sent = timeline_position(start_ns, frame->sent_ns);

	*ret_latest = arrival + TIMELINE_MAX_LEAD;
	*ret_jump = sent > *ret_latest;
	return *ret_jump ? arrival : sent;
}

struct timeline_place timeline_place(struct timeline *t, uint64_t start_ns,
	const struct timeline_frame *frame, int64_t written)
{
	struct timeline_place place = { 0 };
	bool clock_nonsense, anew = true, push = true;
	int64_t latest, rtp, step, follows, off;
	int64_t clock = by_clock(start_ns, frame, &latest, &clock_nonsense);

	rtp = t->begun ? ts_unwrap(t->next_rtp, frame->rtp_ts) : frame->rtp_ts;
	step = rtp - t->next_rtp;
	follows = t->next_pos + step;
	off = distance(clock, follows);
	if (t->begun && frame->spurt) {
		/* RTP time goes on without a break and the clock does not object: the same spurt.
		 */
		anew = step != 0 || off >= TIMELINE_SLACK || follows > latest;
		push = anew;
	} else if (t->begun) {
		/* A small step back is a careless sender: the samples are new all the same. */
		push = step < 0 && step >= -TIMELINE_SLACK;
		if (push)
			follows = t->next_pos;
		anew = (step < 0 && !push) || follows > latest ||
			(step >= 0 && off > TIMELINE_MAX_LEAD);
		push = push || anew;
		place.jump = anew;
	}
	if (anew) {
		follows = clock;
		place.jump = place.jump || clock_nonsense;
	}
	/* A little before the end of what is there: moved behind it rather than cut. Position 0 is
	 * no such end: who spoke before it would be late for the rest of the spurt. */
	if (push && written > 0 && follows < written && written - follows <= TIMELINE_SLACK &&
		written <= latest)
		follows = written;

	place.pos = follows;
	if (follows < 0)
		place.skip = -follows < frame->samples ? (uint32_t)-follows : frame->samples;
	if (follows + place.skip < written && place.skip < frame->samples) {
		place.overlap = true;
		place.skip = written - follows < frame->samples ? (uint32_t)(written - follows)
								: frame->samples;
	}
	t->begun = true;
	t->next_rtp = rtp + frame->samples;
	t->next_pos = follows + frame->samples;
	return place;
}
