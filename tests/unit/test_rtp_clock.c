/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "unpacker/rtp_clock.h"

#define T0 TD_REPLAY_BASE_NS

/* One packet of the wire's 32 bits. */
static void add(struct rtp_clock *c, uint32_t ts, uint64_t arrival_ns)
{
	rtp_clock_add(c, rtp_clock_unwrap(c, ts, arrival_ns), arrival_ns);
}

static int64_t sent(const struct rtp_clock *c, uint32_t ts, uint64_t arrival_ns)
{
	return rtp_clock_sent_ns(c, rtp_clock_unwrap(c, ts, arrival_ns));
}

/* However long a packet was under way, it was sent when the quickest of its time says. */
static void the_quickest_packet_counts(void **state)
{
	struct rtp_clock c = { 0 };
	uint32_t ts = 0xfffff000; /* ts-wrap within the first packets */
	int i;

	(void)state;
	for (i = 0; i < 500; i++, ts += 960) {
		uint64_t on_time = T0 + (uint64_t)i * 20 * TD_MS_NS;
		uint64_t late = (uint64_t)(i * 37 % 11) * TD_MS_NS;

		add(&c, ts, on_time + late);
		/* The first was the quickest: 0 ms. */
		assert_in_range((uint64_t)sent(&c, ts, on_time + late), on_time - 1, on_time + 1);
	}
}

/* A sender whose clock is 100 ppm fast or slow is followed for hours, wraps and all. */
static void drift_is_followed(void **state)
{
	static const int ppm[] = { -100, 100, 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct rtp_clock c = { 0 };
		int64_t samples;

		/* 30 hours in steps of a second: the timestamp wraps more than once. */
		for (samples = 0; samples < 30ll * 3600 * 48000; samples += 48000) {
			int64_t ns = td_samples_to_ns(samples);
			uint64_t arrival = T0 + (uint64_t)(ns + ns / 1000000 * ppm[i]);
			int64_t off;

			add(&c, (uint32_t)samples, arrival);
			off = sent(&c, (uint32_t)samples, arrival) - (int64_t)arrival;
			assert_true(off <= 1);
			assert_true(off >= -4 * (int64_t)TD_MS_NS); /* half a minute of drift */
		}
	}
}

/* What was quick more than half a minute ago is forgotten, what was quick since is not. */
static void the_window_slides(void **state)
{
	struct rtp_clock c = { 0 };
	uint64_t s;

	(void)state;
	add(&c, 0, T0); /* d = T0 */
	for (s = 1; s <= 60; s++) {
		uint64_t arrival = T0 + s * TD_SEC_NS + 10 * TD_MS_NS;
		int64_t d;

		add(&c, (uint32_t)(s * 48000), arrival);
		d = sent(&c, (uint32_t)(s * 48000), arrival) - (int64_t)(T0 + s * TD_SEC_NS);
		if (s < 28)
			assert_in_range(d + 1, 0, 2);
		if (s > 33)
			assert_in_range(d - 10 * (int64_t)TD_MS_NS + 1, 0, 2);
	}
}

/* Also when nothing came in between to push it out; but then the clock cannot have gone further
 * than clocks do, however late the first packet is. */
static void the_window_slides_through_a_pause(void **state)
{
	uint64_t s;

	(void)state;
	for (s = 33; s <= 1000; s++) {
		int late_ms;

		for (late_ms = -50; late_ms <= 50; late_ms += 10) {
			struct rtp_clock c = { 0 };
			uint64_t on_time = T0 + s * TD_SEC_NS;
			uint64_t arrival =
				(uint64_t)((int64_t)on_time + late_ms * (int64_t)TD_MS_NS);
			uint32_t ts = (uint32_t)(s * 48000);
			int64_t most = (int64_t)((s + 1) * 200000), off; /* 200 ppm, in ns */

			add(&c, 0, T0 - TD_SEC_NS);
			add(&c, 48000, T0);
			add(&c, 48000 + ts, arrival);
			off = sent(&c, 48000 + ts, arrival) - (int64_t)on_time;
			if (late_ms * (int64_t)TD_MS_NS < most - 200000)
				assert_in_range(off + (int64_t)TD_SEC_NS,
					TD_SEC_NS + (uint64_t)late_ms * TD_MS_NS - 1,
					TD_SEC_NS + (uint64_t)late_ms * TD_MS_NS + 1);
			else
				assert_in_range(off, (uint64_t)most - 400000, most);
		}
	}
}

/* Short words between long pauses: late ones do not add up to more than drift. */
static void pauses_in_a_row_do_not_add_up(void **state)
{
	struct rtp_clock c = { 0 };
	uint64_t s;

	(void)state;
	for (s = 0; s < 3600; s += 40) {
		uint64_t on_time = T0 + s * TD_SEC_NS, late = s % 3 == 0 ? 0 : 15 * TD_MS_NS;
		int64_t off;

		add(&c, (uint32_t)(s * 48000), on_time + late);
		off = sent(&c, (uint32_t)(s * 48000), on_time) - (int64_t)on_time;
		assert_in_range(off + 1, 0, 16 * TD_MS_NS);
		if (s % 3 == 1)
			assert_in_range(off, 0, 41 * 200000);
	}
}

/* A way that became longer for good is believed half a minute after the pause. */
static void a_longer_way_after_a_pause(void **state)
{
	struct rtp_clock c = { 0 };
	uint64_t s;

	(void)state;
	add(&c, 0, T0);
	for (s = 60; s < 120; s++) {
		uint64_t on_time = T0 + s * TD_SEC_NS;
		int64_t off;

		add(&c, (uint32_t)(s * 48000), on_time + 40 * TD_MS_NS);
		off = sent(&c, (uint32_t)(s * 48000), on_time) - (int64_t)on_time;
		if (s < 85)
			assert_in_range(off, 0, 13 * TD_MS_NS);
		if (s > 95)
			assert_in_range(off, 40 * TD_MS_NS - 1, 40 * TD_MS_NS + 1);
	}
}

/* A timestamp half its range away from the clock is followed all the same, early or late. */
static void the_far_side_of_the_range(void **state)
{
	static const int off_ms[] = { 0, 1, -1, 5, -5, 0 };
	struct rtp_clock c = { 0 };
	uint32_t ts = (uint32_t)(td_ns_to_samples(T0) + 0x7ffffff0);
	int i;

	(void)state;
	for (i = 0; i < 6; i++, ts += 960) {
		int64_t on_time = (int64_t)T0 + i * 20 * (int64_t)TD_MS_NS;
		uint64_t arrival = (uint64_t)(on_time + off_ms[i] * (int64_t)TD_MS_NS);

		add(&c, ts, arrival);
		assert_in_range((uint64_t)sent(&c, ts, arrival),
			(uint64_t)on_time - 5 * TD_MS_NS - 1, (uint64_t)on_time + 1);
	}
}

/* After a pause longer than the window, and longer than the timestamp's range, the old offset
 * still tells which number is meant. */
static void pauses_of_any_length(void **state)
{
	static const uint64_t hours[] = { 1, 12, 13, 24, 25, 1000 };
	size_t i;

	(void)state;
	for (i = 0; i < 6; i++) {
		uint64_t pause = hours[i] * 3600 * TD_SEC_NS, arrival = T0 + pause;
		uint32_t ts = 1000 + (uint32_t)td_ns_to_samples((int64_t)pause);
		struct rtp_clock c = { 0 };

		add(&c, 1000, T0);
		assert_in_range((uint64_t)sent(&c, ts, arrival), arrival - 1, arrival + 1);
		add(&c, ts, arrival + 3);
		assert_in_range((uint64_t)sent(&c, ts, arrival), arrival - 1, arrival + 4);
	}
}

/* Whatever the first timestamp is, numbers stay near the clock. */
static void an_empty_clock_stays_near_arrival(void **state)
{
	static const uint32_t firsts[] = { 0, 1, 0x7fffffff, 0x80000000, 0xffffffff };
	struct rtp_clock c = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < 5; i++) {
		int64_t ts = rtp_clock_unwrap(&c, firsts[i], T0), near = td_ns_to_samples(T0);

		assert_int_equal((uint32_t)ts, firsts[i]);
		assert_true(ts - near <= 0x80000000ll && near - ts <= 0x80000000ll);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_quickest_packet_counts),
		cmocka_unit_test(drift_is_followed),
		cmocka_unit_test(the_window_slides),
		cmocka_unit_test(the_window_slides_through_a_pause),
		cmocka_unit_test(pauses_in_a_row_do_not_add_up),
		cmocka_unit_test(a_longer_way_after_a_pause),
		cmocka_unit_test(the_far_side_of_the_range),
		cmocka_unit_test(pauses_of_any_length),
		cmocka_unit_test(an_empty_clock_stays_near_arrival),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
