/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "sinks/timeline.h"

enum { FRAME = 960, START = 1000 };

/* One frame in milliseconds after the start of the session, and where it has to go. */
struct step {
	int64_t sent_ms, arrival_ms;
	uint32_t rtp_ts;
	bool spurt;
	int64_t want_pos;
	uint32_t want_skip;
	bool want_overlap, want_jump;
};

static uint64_t at_ns(int64_t ms)
{
	return (uint64_t)((int64_t)(START * TD_SEC_NS) + ms * (int64_t)TD_MS_NS);
}

/* Runs a table the way a track does: what is placed is written. Returns what is written. */
static int64_t run(const struct step *steps, size_t count, int64_t written)
{
	struct timeline t = { 0 };

	for (size_t i = 0; i < count; i++) {
		const struct step *s = &steps[i];
		struct timeline_frame f = { at_ns(s->arrival_ms), (int64_t)at_ns(s->sent_ms),
			s->rtp_ts, FRAME, s->spurt };
		struct timeline_place p = timeline_place(&t, at_ns(0), &f, written);

		if (p.pos != s->want_pos || p.skip != s->want_skip ||
			p.overlap != s->want_overlap || p.jump != s->want_jump)
			fail_msg("step %zu: pos %lld skip %u overlap %d jump %d", i,
				(long long)p.pos, p.skip, p.overlap, p.jump);
		if (p.skip < FRAME)
			written = p.pos + FRAME;
	}
	return written;
}
#define RUN(...)                                  \
	run((const struct step[]){ __VA_ARGS__ }, \
		sizeof((const struct step[]){ __VA_ARGS__ }) / sizeof(struct step), 0)
#define RUN_ON(written, ...)                      \
	run((const struct step[]){ __VA_ARGS__ }, \
		sizeof((const struct step[]){ __VA_ARGS__ }) / sizeof(struct step), written)

static void spurt_by_clock_then_by_rtp(void **state)
{
	(void)state;
	/* Arrival and sent_ns jitter inside the spurt: RTP rules. */
	RUN({ 100, 105, 5000, true, 4800, 0, false, false },
		{ 131, 140, 5960, false, 5760, 0, false, false },
		{ 137, 190, 6920, false, 6720, 0, false, false },
		/* one frame of RTP missing: a gap of exactly one frame */
		{ 185, 191, 8840, false, 8640, 0, false, false });
}

static void spurt_that_goes_on_is_the_same_spurt(void **state)
{
	(void)state;
	RUN({ 100, 100, 0, true, 4800, 0, false, false },
		{ 219, 219, 960, true, 5760, 0, false, false }, /* 99 ms off: nothing inserted */
		{ 41, 219, 1920, true, 6720, 0, false, false }, /* 99 ms the other way */
		{ 260, 260, 2880, true, 12480, 0, false, false } /* 100 ms: silence */);
}

static void gap_dtx_1s(void **state)
{
	(void)state;
	RUN({ 0, 0, 0, true, 0, 0, false, false },
		{ 1020, 1020, 48960, true, 48960, 0, false, false },
		/* also where the pause is inside a spurt as the unpacker saw it */
		{ 2040, 2040, 48960 + 48960, false, 97920, 0, false, false });
}

static void gap_10min(void **state)
{
	(void)state;
	RUN({ 0, 0, 0, true, 0, 0, false, false },
		{ 600000, 600010, 28800000, true, 28800000, 0, false, false },
		{ 600020, 600030, 28800960, false, 28800960, 0, false, false });
}

static void ts_wrap(void **state)
{
	(void)state;
	RUN({ 0, 0, UINT32_MAX - 959, true, 0, 0, false, false },
		{ 20, 20, 0, false, 960, 0, false, false },
		{ 40, 40, 960, false, 1920, 0, false, false });
	RUN({ 0, 0, UINT32_MAX - 100, true, 0, 0, false, false },
		{ 40, 40, 1819, false, 1920, 0, false, false });
}

static void ts_jump_backwards(void **state)
{
	(void)state;
	RUN({ 0, 0, 1000000, true, 0, 0, false, false },
		{ 20, 20, 1000960, false, 960, 0, false, false },
		/* RTP starts anew: the clock says where */
		{ 500, 500, 5000, false, 24000, 0, false, true },
		{ 520, 520, 5960, false, 24960, 0, false, false },
		/* a few samples back: new sound all the same, nothing is cut */
		{ 540, 540, 6900, false, 25920, 0, false, false },
		{ 560, 560, 7860, false, 26880, 0, false, false });
}

static void ts_jump_forward_2_31(void **state)
{
	(void)state;
	RUN({ 0, 0, 0, true, 0, 0, false, false },
		{ 20, 20, 0x80000000u, false, 960, 0, false, true },
		{ 40, 40, 0x80000000u + 960, false, 1920, 0, false, false },
		/* an hour of RTP in 20 ms */
		{ 60, 60, 0x80000000u + 172800000, false, 2880, 0, false, true });
}

static void sender_ts_frozen_in_pause(void **state)
{
	(void)state;
	/* Five seconds of clock, none of RTP. */
	RUN({ 0, 0, 0, true, 0, 0, false, false },
		{ 5000, 5000, 960, true, 240000, 0, false, false },
		{ 5020, 5020, 1920, false, 240960, 0, false, false },
		/* and where nobody called it a spurt */
		{ 12000, 12000, 2880, false, 576000, 0, false, true });
}

static void clock_drift_100ppm(void **state)
{
	struct timeline t = { 0 };
	int64_t written = 0;

	(void)state;
	/* Four hours of 3 s speech and 1 s pause; the sender's clock is 100 ppm fast or slow. */
	for (int sign = -1; sign <= 1; sign += 2) {
		t = (struct timeline){ 0 };
		written = 0;
		for (int64_t n = 0; n < 4 * 3600 * 50; n++) {
			int64_t sent = n * 20000000 - sign * n * 2000;
			bool talks = n % 200 < 150;
			struct timeline_frame f = { at_ns(0) + (uint64_t)sent + 5000000,
				(int64_t)at_ns(0) + sent, (uint32_t)(n * FRAME), FRAME,
				n % 200 == 0 };
			struct timeline_place p;

			if (!talks)
				continue;
			p = timeline_place(&t, at_ns(0), &f, written);
			assert_false(p.jump || p.overlap);
			assert_int_equal(p.skip, 0);
			/* inside the spurt: no gap at all */
			if (n % 200 != 0)
				assert_int_equal(p.pos, written);
			written = p.pos + FRAME;
			/* never further off than what one spurt drifts */
			assert_in_range(p.pos - td_ns_to_samples(sent) + 20, 0, 40);
		}
	}
}

static void spurt_a_little_early_is_pushed(void **state)
{
	(void)state;
	RUN_ON(48000, { 901, 1000, 7, true, 48000, 0, false, false },
		{ 921, 1020, 967, false, 48960, 0, false, false });
}

static void spurt_far_back_is_cut(void **state)
{
	(void)state;
	RUN_ON(48000, { 885, 1000, 0, true, 42480, 960, true, false },
		{ 905, 1000, 960, false, 43440, 960, true, false },
		/* in the spurt RTP rules: it is not pushed now that it is near */
		{ 925, 1000, 1920, false, 44400, 960, true, false },
		{ 945, 1000, 2880, false, 45360, 960, true, false },
		{ 965, 1000, 3840, false, 46320, 960, true, false },
		{ 985, 1000, 5000, false, 47480, 520, true, false },
		{ 1005, 1010, 5960, false, 48440, 0, false, false });
}

static void before_the_start_is_cut(void **state)
{
	(void)state;
	RUN({ -150, -140, 0, true, -7200, 960, false, false },
		{ -30, -20, 5760, false, -1440, 960, false, false },
		{ -10, 0, 6720, false, -480, 480, false, false },
		{ 10, 20, 7680, false, 480, 0, false, false });
	/* A little before it, too: moved behind it, all of the spurt would be late. */
	RUN({ -30, 0, 0, true, -1440, 960, false, false },
		{ -10, 5, 960, false, -480, 480, false, false },
		{ 10, 20, 1920, false, 480, 0, false, false });
}

static void never_later_than_arrival_allows(void **state)
{
	(void)state;
	/* sent_ns itself is nonsense */
	RUN({ 3600000, 100, 0, true, 4800, 0, false, true },
		{ 3600000, 120, 960, false, 5760, 0, false, false });
	/* 20 ms of sound every millisecond: no more than a second ahead */
	struct timeline t = { 0 };
	int64_t written = 0;

	for (int64_t n = 0; n < 1000; n++) {
		struct timeline_frame f = { at_ns(n), (int64_t)at_ns(n), (uint32_t)n * FRAME, FRAME,
			false };
		struct timeline_place p = timeline_place(&t, at_ns(0), &f, written);

		if (p.skip < FRAME)
			written = p.pos + FRAME;
		assert_true(p.pos <= n * 48 + TIMELINE_MAX_LEAD);
	}
	/* and the same when sent_ns lies a little ahead itself */
	t = (struct timeline){ 0 };
	written = 0;
	for (int64_t n = 0; n < 1000; n++) {
		struct timeline_frame f = { at_ns(n), (int64_t)at_ns(n + 980), (uint32_t)n * FRAME,
			FRAME, n % 3 == 0 };
		struct timeline_place p = timeline_place(&t, at_ns(0), &f, written);

		if (p.skip < FRAME)
			written = p.pos + FRAME;
		assert_true(p.pos <= n * 48 + TIMELINE_MAX_LEAD);
	}
}

/* Another SSRC of the user wrote beyond where this spurt goes on. */
static void spurt_that_goes_on_is_not_pushed(void **state)
{
	struct timeline t = { 0 };
	struct timeline_frame f = { at_ns(0), (int64_t)at_ns(0), 0, FRAME, true };
	struct timeline_place p;

	(void)state;
	timeline_place(&t, at_ns(0), &f, 0);
	f.rtp_ts = FRAME;
	p = timeline_place(&t, at_ns(0), &f, 1500);
	assert_int_equal(p.pos, FRAME);
	assert_int_equal(p.skip, 540);
	assert_true(p.overlap);
}

static void absurd_times_stay_bounded(void **state)
{
	static const int64_t times[] = { INT64_MIN, INT64_MIN / 2, -1, 0, 1, INT64_MAX / 2,
		INT64_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		for (size_t k = 0; k < sizeof(times) / sizeof(times[0]); k++) {
			struct timeline t = { 0 };
			struct timeline_frame f = { (uint64_t)times[k], times[i], 0, FRAME, true };
			struct timeline_place p = timeline_place(&t, at_ns(0), &f, 0);

			assert_true(p.pos <= TIMELINE_MAX_POS + TIMELINE_MAX_LEAD);
			assert_true(p.pos >= -TIMELINE_MAX_POS);
			assert_true(p.pos >= 0 || p.skip == FRAME);
		}
	}
	assert_int_equal(timeline_position(0, INT64_MAX), TIMELINE_MAX_POS);
	assert_int_equal(timeline_position(UINT64_MAX, INT64_MIN), -TIMELINE_MAX_POS);
	assert_int_equal(timeline_position(1000, 1000 + 20000000), 960);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spurt_by_clock_then_by_rtp),
		cmocka_unit_test(spurt_that_goes_on_is_the_same_spurt),
		cmocka_unit_test(gap_dtx_1s),
		cmocka_unit_test(gap_10min),
		cmocka_unit_test(ts_wrap),
		cmocka_unit_test(ts_jump_backwards),
		cmocka_unit_test(ts_jump_forward_2_31),
		cmocka_unit_test(sender_ts_frozen_in_pause),
		cmocka_unit_test(clock_drift_100ppm),
		cmocka_unit_test(spurt_a_little_early_is_pushed),
		cmocka_unit_test(spurt_far_back_is_cut),
		cmocka_unit_test(before_the_start_is_cut),
		cmocka_unit_test(never_later_than_arrival_allows),
		cmocka_unit_test(spurt_that_goes_on_is_not_pushed),
		cmocka_unit_test(absurd_times_stay_bounded),
	};

	return cmocka_run_group_tests_name("timeline", tests, NULL, NULL);
}
