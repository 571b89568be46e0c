/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/unpack.h"

/* Packets of 20 ms on time, a network that adds 5 ms, the window of the default. */
enum { STEP = 960 };
#define WINDOW (60 * MS)
#define AT(k) (T0 + (uint64_t)(k)*20 * MS)

static const uint8_t silence[] = { 0xf8, 0xff, 0xfe };

static uint64_t count_of(const struct unpack *u, enum td_counter c)
{
	return u->sum[c];
}

static size_t kinds(const struct unpack *u, enum ipc_frame_kind kind)
{
	size_t i, n = 0;

	for (i = 0; i < u->frames; i++)
		n += u->frame[i].f.kind == kind;
	return n;
}

static size_t spurts(const struct unpack *u)
{
	size_t i, n = 0;

	for (i = 0; i < u->frames; i++)
		n += (u->frame[i].f.flags & IPC_FRAME_SPURT) != 0;
	return n;
}

/* The frames are those of packets 0 .. n-1 in order, bit for bit. */
static void expect_all(struct unpack *u, const struct voice *v, int n, uint16_t seq0, uint32_t ts0)
{
	struct plain p;
	int k;

	assert_int_equal(u->frames, n);
	plain_init(&p, u->frame[0].f.channels);
	for (k = 0; k < n; k++) {
		const struct ipc_frame *f = &u->frame[k].f;

		assert_int_equal(f->seq, (uint16_t)(seq0 + k));
		assert_int_equal(f->rtp_ts, ts0 + (uint32_t)(k * v->samples));
		assert_int_equal(f->kind, IPC_FRAME_DECODED);
		assert_int_equal(f->user_id, USER_A);
		assert_int_equal(f->ssrc, SSRC_A);
		assert_int_equal(f->flags & IPC_FRAME_SPURT, k == 0 ? IPC_FRAME_SPURT : 0);
		plain_expect(&p, &u->frame[k], v->packet[k], v->len[k]);
	}
	plain_free(&p);
}

/* frame-2.5..120ms, seq-wrap, ts-wrap */
static void every_duration_is_bit_exact_over_both_wraps(void **state)
{
	static const int durations[] = { 120, 240, 480, 960, 1920, 2880, 3840, 4800, 5760 };
	size_t i;
	int channels, k;

	(void)state;
	for (i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		for (channels = 1; channels <= 2; channels++) {
			int n = durations[i];
			uint16_t seq0 = 65530;
			uint32_t ts0 = (uint32_t)(0u - 5u * (uint32_t)n);
			struct voice v;
			struct unpack u;

			voice_make(&v, 40, n, channels, false);
			unpack_begin(&u, WINDOW, 2);
			for (k = 0; k < v.count; k++)
				voice_send(&u, &v, k, T0 + (uint64_t)td_samples_to_ns(k * n), seq0,
					ts0);
			unpack_end(&u);
			expect_all(&u, &v, v.count, seq0, ts0);
			for (k = 0; k < v.count; k++)
				assert_in_range((uint64_t)u.frame[k].f.sent_ns,
					T0 + (uint64_t)td_samples_to_ns(k * n) - 1,
					T0 + (uint64_t)td_samples_to_ns(k * n) + 1);
			assert_int_equal(count_of(&u, COUNTER_DECODED), v.count);
			assert_int_equal(count_of(&u, COUNTER_LOST), 0);
			assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), 0);
			unpack_free(&u);
			voice_free(&v);
		}
	}
}

/* reorder-1..n: packet 20 comes behind the next n; the window is long enough or it is not. */
static void reordered_packets_play_in_order(void **state)
{
	int back, k;

	(void)state;
	for (back = 1; back <= 5; back++) {
		struct voice v;
		struct unpack u;
		bool in_time = back < 4; /* 60 ms after the first that had to wait for it */

		voice_make(&v, 40, STEP, 1, false);
		unpack_begin(&u, WINDOW, 1);
		for (k = 0; k < 40; k++) {
			if (k != 20)
				voice_send(&u, &v, k, AT(k), 65520, 1);
			if (k == 20 + back)
				voice_send(&u, &v, 20, AT(k), 65520, 1);
		}
		unpack_end(&u);
		if (in_time) {
			expect_all(&u, &v, 40, 65520, 1);
			assert_int_equal(count_of(&u, COUNTER_REORDERED), 1);
			assert_int_equal(count_of(&u, COUNTER_LOST), 0);
		} else {
			assert_int_equal(count_of(&u, COUNTER_LATE), 1);
			assert_int_equal(count_of(&u, COUNTER_LOST), 1);
			assert_int_equal(count_of(&u, COUNTER_DECODED), 39);
		}
		unpack_free(&u);
		voice_free(&v);
	}
}

/* late-inside-window, late-outside-window: to the nanosecond, whatever time was told before. */
static void the_window_is_exact(void **state)
{
	static const struct {
		uint64_t after; /* the packet that waits */
		bool played;
	} cases[] = { { WINDOW - 1, true }, { WINDOW, false }, { WINDOW + 1, false } };
	size_t i, ticks;
	int k;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (ticks = 0; ticks < 2; ticks++) {
			struct voice v;
			struct unpack u;

			voice_make(&v, 12, STEP, 1, false);
			unpack_begin(&u, WINDOW, 1);
			for (k = 0; k < 12; k++) {
				if (k != 10)
					voice_send(&u, &v, k, AT(k), 5, 5);
			}
			if (ticks)
				unpack_tick(&u, AT(11) + cases[i].after);
			voice_send(&u, &v, 10, AT(11) + cases[i].after, 5, 5);
			unpack_end(&u);
			assert_int_equal(count_of(&u, COUNTER_LATE), !cases[i].played);
			assert_int_equal(count_of(&u, COUNTER_LOST), !cases[i].played);
			assert_int_equal(count_of(&u, COUNTER_REORDERED), cases[i].played);
			unpack_free(&u);
			voice_free(&v);
		}
	}
}

/* A packet waits for those before it, not for ever newer ones between. */
static void nobody_waits_longer_than_the_window(void **state)
{
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 30, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 10; k++)
		voice_send(&u, &v, k, AT(k), 5, 5);
	/* 10 is missing; 13, 12, 11 come backwards; 13 has waited long enough at AT(10) + 60. */
	voice_send(&u, &v, 13, AT(10), 5, 5);
	voice_send(&u, &v, 12, AT(11), 5, 5);
	voice_send(&u, &v, 11, AT(12), 5, 5);
	unpack_tick(&u, AT(10) + WINDOW - 1);
	unpack_run(&u);
	assert_int_equal(u.frames, 10);
	unpack_tick(&u, AT(10) + WINDOW);
	unpack_run(&u);
	assert_int_equal(u.frames, 14); /* 10 concealed, then 11, 12, 13 */
	unpack_end(&u);
	assert_int_equal(count_of(&u, COUNTER_LOST), 1);
	unpack_free(&u);
	voice_free(&v);
}

static void duplicates_are_counted_and_nothing_else(void **state)
{
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 400, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 400; k++) {
		voice_send(&u, &v, k, AT(k), 65400, 5);
		if (k == 0 || k == 200)
			voice_send(&u, &v, k, AT(k), 65400, 5);
		if (k >= 300) /* played long ago */
			voice_send(&u, &v, k - 290, AT(k), 65400, 5);
	}
	unpack_end(&u);
	expect_all(&u, &v, 400, 65400, 5);
	assert_int_equal(count_of(&u, COUNTER_DUPLICATE), 102);
	assert_int_equal(count_of(&u, COUNTER_LATE), 0);
	unpack_free(&u);
	voice_free(&v);
}

static void a_duplicate_of_one_that_waits(void **state)
{
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 12, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 10; k++)
		voice_send(&u, &v, k, AT(k), 5, 5);
	voice_send(&u, &v, 11, AT(10), 5, 5);
	voice_send(&u, &v, 11, AT(11), 5, 5);
	voice_send(&u, &v, 10, AT(11), 5, 5);
	unpack_end(&u);
	expect_all(&u, &v, 12, 5, 5);
	assert_int_equal(count_of(&u, COUNTER_DUPLICATE), 1);
	unpack_free(&u);
	voice_free(&v);
}

/* The start of a stream: what came second may have been first. */
static void the_first_spurt_starts_with_its_lowest_number(void **state)
{
	static const int orders[][4] = { { 0, 1, 2, 3 }, { 1, 0, 2, 3 }, { 2, 1, 0, 3 },
		{ 3, 0, 1, 2 } };
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		struct voice v;
		struct unpack u;

		voice_make(&v, 10, STEP, 1, false);
		unpack_begin(&u, WINDOW, 1);
		for (k = 0; k < 4; k++)
			voice_send(&u, &v, orders[i][k], T0 + k * 10 * MS, 65534, 5);
		for (; k < 10; k++)
			voice_send(&u, &v, (int)k, AT(k), 65534, 5);
		unpack_tick(&u, T0 + WINDOW - 1);
		unpack_end(&u);
		expect_all(&u, &v, 10, 65534, 5);
		assert_int_equal(count_of(&u, COUNTER_LATE), 0);
		unpack_free(&u);
		voice_free(&v);
	}
}

static void the_start_is_held_and_not_longer(void **state)
{
	struct voice v;
	struct unpack u;

	(void)state;
	voice_make(&v, 10, STEP, 1, false);
	unpack_begin(&u, 200 * MS, 1); /* the hold has a bound of its own: 180 ms */
	voice_send(&u, &v, 1, T0, 100, 5);
	unpack_tick(&u, T0 + 180 * MS - 1);
	unpack_run(&u);
	assert_int_equal(u.frames, 0);
	unpack_tick(&u, T0 + 180 * MS);
	unpack_run(&u);
	assert_int_equal(u.frames, 1);
	voice_send(&u, &v, 0, T0 + 181 * MS, 100, 5);
	/* In sequence now: at once. */
	voice_send(&u, &v, 2, T0 + 102 * MS, 100, 5);
	unpack_run(&u);
	assert_int_equal(u.frames, 2);
	unpack_end(&u);
	assert_int_equal(count_of(&u, COUNTER_LATE), 1);
	assert_int_equal(count_of(&u, COUNTER_LOST), 0);
	unpack_free(&u);
	voice_free(&v);
}

/* Sends packets 0 .. n-1 but for `lost` of them from `from` on. */
static void send_but(struct unpack *u, const struct voice *v, int from, int lost)
{
	int k;

	for (k = 0; k < v->count; k++) {
		if (k < from || k >= from + lost)
			voice_send(u, v, k, AT(k), 65500, 0xfffff000);
	}
}

/* loss-single, loss-burst-3, loss-burst-50: with and without a copy in the next packet. */
static void losses_are_recovered_concealed_and_counted(void **state)
{
	static const struct {
		int lost;
		bool fec;
		unsigned want_fec, want_concealed, want_skipped;
	} cases[] = {
		{ 1, true, 1, 0, 0 },
		{ 1, false, 0, 1, 0 },
		{ 2, true, 1, 1, 0 },
		{ 3, true, 1, 2, 0 },
		{ 3, false, 0, 3, 0 },
		{ 5, false, 0, 5, 0 },
		{ 6, true, 1, 5, 0 },
		{ 6, false, 0, 5, 1 },
		{ 50, true, 1, 5, 44 },
		{ 50, false, 0, 5, 45 },
	};
	size_t i, g;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned concealed = cases[i].want_concealed, fec = cases[i].want_fec, j;
		int lost = cases[i].lost, at, k;
		uint32_t gap_ts;
		struct plain p;
		struct voice v;
		struct unpack u;

		print_message("%d lost, FEC %d\n", lost, cases[i].fec);
		voice_make(&v, 100, STEP, 2, cases[i].fec);
		at = voice_find(&v, 20 + lost, cases[i].fec) - lost;
		gap_ts = 0xfffff000 + (uint32_t)at * STEP;
		unpack_begin(&u, WINDOW, 2);
		send_but(&u, &v, at, lost);
		unpack_end(&u);
		assert_int_equal(count_of(&u, COUNTER_LOST), lost);
		assert_int_equal(count_of(&u, COUNTER_FEC), fec);
		assert_int_equal(count_of(&u, COUNTER_CONCEALED), concealed);
		assert_int_equal(count_of(&u, COUNTER_SKIPPED), cases[i].want_skipped);
		assert_int_equal(u.frames, 100 - lost + (int)(concealed + fec));

		plain_init(&p, 2);
		for (g = 0; g < (size_t)at; g++)
			plain_expect(&p, &u.frame[g], v.packet[g], v.len[g]);
		for (j = 0; j < concealed; j++, g++) {
			const struct ipc_frame *f = &u.frame[g].f;

			assert_int_equal(f->kind, IPC_FRAME_CONCEALED);
			assert_int_equal(f->flags & IPC_FRAME_SPURT, 0);
			assert_int_equal(f->rtp_ts, gap_ts + j * STEP);
			assert_int_equal(f->seq, (uint16_t)(65500 + at + (int)j));
			assert_int_equal(f->arrival_ns, AT(at + lost));
			assert_in_range((uint64_t)f->sent_ns, AT(at + (int)j) - 1,
				AT(at + (int)j) + 1);
			plain_expect_lost(&p, &u.frame[g], NULL, 0, (int)j * STEP);
		}
		if (fec) {
			const struct ipc_frame *f = &u.frame[g].f;

			assert_int_equal(f->kind, IPC_FRAME_FEC);
			assert_int_equal(f->rtp_ts, gap_ts + (uint32_t)(lost - 1) * STEP);
			assert_int_equal(f->seq, (uint16_t)(65500 + at + lost - 1));
			assert_int_equal(f->flags & IPC_FRAME_SPURT,
				lost > 16 ? IPC_FRAME_SPURT : 0);
			plain_expect_lost(&p, &u.frame[g++], v.packet[at + lost], v.len[at + lost],
				0);
		}
		for (k = at + lost; k < 100; k++, g++) {
			bool first = k == at + lost && lost > 16 && fec == 0;

			assert_int_equal(u.frame[g].f.flags & IPC_FRAME_SPURT,
				first ? IPC_FRAME_SPURT : 0);
			plain_expect(&p, &u.frame[g], v.packet[k], v.len[k]);
		}
		plain_free(&p);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* After CELT libopus makes sound up even where a copy is at hand: it is not called recovered. */
static void nothing_is_recovered_after_celt(void **state)
{
	struct plain p;
	struct voice v;
	struct unpack u;
	int at, k;

	(void)state;
	voice_make(&v, 60, STEP, 1, true);
	at = voice_find(&v, 10, true);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < at + 5; k++) {
		if (k == at - 2)
			unpack_rtp(&u, CONN, AT(k), SSRC_A, (uint16_t)(5 + k),
				77 + (uint32_t)k * STEP, silence, sizeof(silence));
		else if (k != at - 1)
			voice_send(&u, &v, k, AT(k), 5, 77);
	}
	unpack_end(&u);
	assert_int_equal(count_of(&u, COUNTER_FEC), 0);
	assert_int_equal(count_of(&u, COUNTER_CONCEALED), 1);
	plain_init(&p, 1);
	for (k = 0; k < at + 5; k++) {
		if (k == at - 2)
			plain_expect(&p, &u.frame[k], silence, sizeof(silence));
		else if (k == at - 1)
			plain_expect_lost(&p, &u.frame[k], NULL, 0, 0);
		else
			plain_expect(&p, &u.frame[k], v.packet[k], v.len[k]);
	}
	plain_free(&p);
	unpack_free(&u);
	voice_free(&v);
}

/* Less time is missing than sound: what is made up ends where the next packet begins, or 2.5 ms
 * before, never behind. */
static void concealment_fits_the_gap(void **state)
{
	static const struct {
		int short_by, samples;
	} cases[] = { { 0, 960 }, { 50, 840 }, { 120, 840 }, { 900, 0 }, { 960, 0 }, { 5000, 0 } };
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct voice v;
		struct unpack u;

		voice_make(&v, 30, STEP, 1, false);
		unpack_begin(&u, WINDOW, 1);
		for (k = 0; k < 30; k++) {
			if (k != 20)
				voice_send(&u, &v, k, AT(k), 5,
					7777 - (k > 20 ? (uint32_t)cases[i].short_by : 0));
		}
		unpack_end(&u);
		assert_int_equal(count_of(&u, COUNTER_CONCEALED), cases[i].samples > 0);
		assert_int_equal(count_of(&u, COUNTER_SKIPPED), cases[i].samples == 0);
		assert_int_equal(u.frames, 29 + (cases[i].samples > 0));
		if (cases[i].samples > 0)
			assert_int_equal(u.frame[20].f.samples, cases[i].samples);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* Concealment comes in steps of the lost packets' size, whatever that is, and never past 100 ms. */
static void concealment_of_every_duration(void **state)
{
	static const struct {
		int samples, lost, frames, total;
		unsigned concealed;
	} cases[] = {
		{ 120, 1, 1, 120, 1 },
		{ 120, 60, 40, 4800, 40 },
		{ 480, 3, 3, 1440, 3 },
		{ 1920, 3, 3, 4800, 3 }, /* 40 + 40 + 20 ms */
		{ 2880, 1, 1, 2880, 1 },
		{ 2880, 5, 2, 4800, 2 },
		{ 5760, 1, 1, 4800, 1 },
		{ 5760, 2, 1, 4800, 1 },
	};
	size_t i, g;
	int k;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int n = cases[i].samples, total = 0, frames = 0;
		struct voice v;
		struct unpack u;

		voice_make(&v, 100, n, 1, false);
		unpack_begin(&u, WINDOW, 1);
		for (k = 0; k < 100; k++) {
			if (k < 20 || k >= 20 + cases[i].lost)
				voice_send(&u, &v, k, T0 + (uint64_t)td_samples_to_ns(k * n), 9, 9);
		}
		unpack_end(&u);
		for (g = 0; g < u.frames; g++) {
			if (u.frame[g].f.kind != IPC_FRAME_CONCEALED)
				continue;
			assert_int_equal(u.frame[g].f.rtp_ts, 9 + (uint32_t)(20 * n + total));
			total += u.frame[g].f.samples;
			frames++;
		}
		assert_int_equal(total, cases[i].total);
		assert_int_equal(frames, cases[i].frames);
		assert_int_equal(count_of(&u, COUNTER_CONCEALED), cases[i].concealed);
		assert_int_equal(count_of(&u, COUNTER_LOST), cases[i].lost);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* gap-dtx-1s, gap-10min: time passes, no number is missing, nothing is made up. */
static void a_pause_is_not_a_loss(void **state)
{
	static const uint64_t pauses_ms[] = { 40, 180, 1000, 600000, 30 * 3600 * 1000ull };
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
		uint64_t pause = pauses_ms[i] * MS;
		uint32_t pause_ts = (uint32_t)td_ns_to_samples((int64_t)pause);
		bool spurt = pauses_ms[i] > 200;
		struct plain p;
		struct voice v;
		struct unpack u;

		voice_make(&v, 40, STEP, 1, false);
		unpack_begin(&u, WINDOW, 1);
		for (k = 0; k < 40; k++)
			voice_send(&u, &v, k, AT(k) + (k >= 20 ? pause : 0), 5,
				77 + (k >= 20 ? pause_ts : 0));
		unpack_end(&u);
		assert_int_equal(u.frames, 40);
		plain_init(&p, 1);
		for (k = 0; k < 40; k++) {
			const struct ipc_frame *f = &u.frame[k].f;
			uint64_t at = AT(k) + (k >= 20 ? pause : 0);

			assert_int_equal(f->kind, IPC_FRAME_DECODED);
			assert_int_equal(f->flags,
				k == 0 || (k == 20 && spurt) ? IPC_FRAME_SPURT : 0);
			assert_in_range((uint64_t)f->sent_ns, at - 2, at + 2);
			plain_expect(&p, &u.frame[k], v.packet[k], v.len[k]);
		}
		plain_free(&p);
		assert_int_equal(count_of(&u, COUNTER_LOST), 0);
		assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), 0);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* Lost packets next to a pause: no more sound is made up than was lost. */
static void a_loss_around_a_pause(void **state)
{
	static const struct {
		int lost;
		bool fec;
		unsigned want_fec, want_concealed;
	} cases[] = { { 1, false, 0, 1 }, { 2, false, 0, 2 }, { 1, true, 1, 0 },
		{ 2, true, 1, 1 } };
	size_t i;
	int at, k;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct voice v;
		struct unpack u;

		voice_make(&v, 40, STEP, 1, cases[i].fec);
		at = voice_find(&v, 20 + cases[i].lost, cases[i].fec) - cases[i].lost;
		unpack_begin(&u, WINDOW, 1);
		for (k = 0; k < 40; k++) {
			int64_t pause = k >= at ? 10 * 48000 : 0;

			if (k >= at && k < at + cases[i].lost)
				continue;
			voice_send(&u, &v, k, AT(k) + (uint64_t)td_samples_to_ns(pause), 5,
				77 + (uint32_t)pause);
		}
		unpack_end(&u);
		assert_int_equal(count_of(&u, COUNTER_FEC), cases[i].want_fec);
		assert_int_equal(count_of(&u, COUNTER_CONCEALED), cases[i].want_concealed);
		assert_int_equal(count_of(&u, COUNTER_SKIPPED), 0);
		/* Where it is placed: behind the last sound, or right before the next. */
		if (cases[i].want_concealed > 0)
			assert_int_equal(u.frame[at].f.rtp_ts, 77 + (uint32_t)at * STEP);
		if (cases[i].want_fec > 0) {
			const struct ipc_frame *f = &u.frame[at + (int)cases[i].want_concealed].f;

			assert_int_equal(f->kind, IPC_FRAME_FEC);
			assert_int_equal(f->rtp_ts,
				77 + 10 * 48000 + (uint32_t)(at - 1 + cases[i].lost) * STEP);
			assert_int_equal(f->flags & IPC_FRAME_SPURT, IPC_FRAME_SPURT);
			assert_int_equal(u.frame[at + (int)cases[i].want_concealed + 1].f.flags, 0);
		}
		assert_int_equal(spurts(&u), 2);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* An outage: more numbers are missing than fit any window. Nothing is looped over or allocated
 * for each, all are counted, and the first packet behind it is not lost. */
static void an_outage_of_thousands(void **state)
{
	static const int losses[] = { 400, 511, 512, 513, 3000, 30000 };
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		int lost = losses[i];
		struct voice v;
		struct unpack u;

		voice_make(&v, 40, STEP, 1, false);
		unpack_begin(&u, WINDOW, 1);
		for (k = 0; k < 40; k++)
			voice_send(&u, &v, k, AT(k) + (k >= 20 ? (uint64_t)lost * 20 * MS : 0),
				(uint16_t)(5 + (k >= 20 ? lost : 0)),
				77 + (k >= 20 ? (uint32_t)lost * STEP : 0));
		unpack_end(&u);
		assert_int_equal(count_of(&u, COUNTER_DECODED), 40);
		assert_int_equal(count_of(&u, COUNTER_LOST), lost);
		assert_int_equal(count_of(&u, COUNTER_CONCEALED), 5);
		assert_int_equal(count_of(&u, COUNTER_RESTARTED), 0);
		assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), 0);
		assert_int_equal(u.frames, 45);
		assert_in_range((uint64_t)u.frame[25].f.sent_ns, AT(20 + lost) - 1,
			AT(20 + lost) + 1);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* The sender counts anew: two in a row are believed, one is not. */
static void a_new_numbering_restarts_the_stream(void **state)
{
	struct plain p;
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 40, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 40; k++) {
		if (k == 10) /* a stray */
			unpack_rtp(&u, CONN, AT(k), SSRC_A, 40000, 1, v.packet[0],
				(size_t)v.len[0]);
		voice_send(&u, &v, k, AT(k), k < 20 ? 100 : 30000, 77);
	}
	/* Alone at the end: never confirmed. */
	unpack_rtp(&u, CONN, AT(40), SSRC_A, 10000, 1, v.packet[0], (size_t)v.len[0]);
	unpack_end(&u);
	assert_int_equal(u.frames, 40);
	plain_init(&p, 1); /* the decoder is kept */
	for (k = 0; k < 40; k++)
		plain_expect(&p, &u.frame[k], v.packet[k], v.len[k]);
	plain_free(&p);
	assert_int_equal(count_of(&u, COUNTER_RESTARTED), 2);
	assert_int_equal(count_of(&u, COUNTER_LOST), 0);
	assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), 0);
	unpack_free(&u);
	voice_free(&v);
}

/* Numbers and timestamps both begin anew, lower than before, in the middle of a word. */
static void a_new_numbering_with_new_timestamps(void **state)
{
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 40, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 40; k++)
		voice_send(&u, &v, k, AT(k), k < 20 ? 30000 : 100, k < 20 ? 77 : 0x40000000);
	unpack_end(&u);
	assert_int_equal(u.frames, 40);
	assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), 1);
	assert_int_equal(count_of(&u, COUNTER_LOST), 0);
	assert_int_equal(spurts(&u), 2);
	assert_int_equal(u.frame[20].f.flags & IPC_FRAME_SPURT, IPC_FRAME_SPURT);
	for (k = 0; k < 40; k++)
		assert_in_range((uint64_t)u.frame[k].f.sent_ns, AT(k) - 2, AT(k) + 2);
	unpack_free(&u);
	voice_free(&v);
}

/* Two of another numbering with one of ours between are two strays. */
static void strays_are_not_in_a_row(void **state)
{
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 40, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 40; k++) {
		if (k % 10 == 5)
			unpack_rtp(&u, CONN, AT(k), SSRC_A, (uint16_t)(40000 + k / 10), 1,
				v.packet[0], (size_t)v.len[0]);
		voice_send(&u, &v, k, AT(k), 5, 77);
	}
	unpack_end(&u);
	expect_all(&u, &v, 40, 5, 77);
	assert_int_equal(count_of(&u, COUNTER_RESTARTED), 4);
	unpack_free(&u);
	voice_free(&v);
}

/* What is known of the last few hundred numbers is not mistaken for those a ring earlier. */
static void late_is_not_duplicate_on_the_second_lap(void **state)
{
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 620, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 620; k++) {
		if (k != 580)
			voice_send(&u, &v, k, AT(k), 5, 77);
		if (k == 600)
			voice_send(&u, &v, 580, AT(k), 5, 77);
		if (k == 601)
			voice_send(&u, &v, 579, AT(k), 5, 77);
	}
	unpack_end(&u);
	assert_int_equal(count_of(&u, COUNTER_LATE), 1);
	assert_int_equal(count_of(&u, COUNTER_DUPLICATE), 1);
	unpack_free(&u);
	voice_free(&v);
}

/* A gap whose far side runs out of the ring before its time is up. */
static void a_window_too_long_for_the_ring(void **state)
{
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 700, STEP, 1, false);
	unpack_begin(&u, 3600 * TD_SEC_NS, 1);
	for (k = 0; k < 700; k++) {
		if (k != 20)
			voice_send(&u, &v, k, AT(k), 5, 5);
	}
	unpack_end(&u);
	assert_int_equal(count_of(&u, COUNTER_DECODED), 699);
	assert_int_equal(count_of(&u, COUNTER_LOST), 1);
	assert_int_equal(count_of(&u, COUNTER_CONCEALED), 1);
	unpack_free(&u);
	voice_free(&v);
}

/* padding: it takes a number, and neither is nor hides a loss. */
static void padding_is_neither_sound_nor_loss(void **state)
{
	struct plain p;
	struct voice v;
	struct unpack u;
	uint16_t seq = 65530;
	size_t g = 0;
	int k, i;

	(void)state;
	voice_make(&v, 40, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (i = 0; i < 50; i++) /* before the first word */
		unpack_rtp(&u, CONN, T0, SSRC_A, seq++, 0, NULL, 0);
	for (k = 0; k < 40; k++) {
		uint64_t at = TD_SEC_NS + AT(k);

		if (k == 30) {
			seq++; /* 30 is lost, next to a probe */
			unpack_rtp(&u, CONN, at, SSRC_A, seq++, 0, NULL, 0);
			continue;
		}
		unpack_rtp(&u, CONN, at, SSRC_A, seq++, 7 + (uint32_t)k * STEP, v.packet[k],
			(size_t)v.len[k]);
		for (i = 0; k == 20 && i < 50; i++)
			unpack_rtp(&u, CONN, at + MS, SSRC_A, seq++, 7 + (uint32_t)k * STEP, NULL,
				0);
	}
	unpack_end(&u);
	assert_int_equal(count_of(&u, COUNTER_PADDING), 101);
	assert_int_equal(count_of(&u, COUNTER_LOST), 1);
	assert_int_equal(count_of(&u, COUNTER_CONCEALED), 1);
	assert_int_equal(u.frames, 40);
	assert_int_equal(spurts(&u), 1);
	plain_init(&p, 1);
	for (k = 0; k < 40; k++, g++) {
		if (k == 30)
			plain_expect_lost(&p, &u.frame[g], NULL, 0, 0);
		else
			plain_expect(&p, &u.frame[g], v.packet[k], v.len[k]);
	}
	plain_free(&p);
	unpack_free(&u);
	voice_free(&v);
}

/* The last thing that came was padding behind a gap: the gap is counted all the same. */
static void a_gap_before_padding_at_the_end(void **state)
{
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 10, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 10; k++)
		voice_send(&u, &v, k, AT(k), 5, 77);
	unpack_rtp(&u, CONN, AT(11), SSRC_A, 5 + 12, 77 + 12 * STEP, NULL, 0);
	unpack_end(&u);
	assert_int_equal(count_of(&u, COUNTER_LOST), 2);
	assert_int_equal(count_of(&u, COUNTER_SKIPPED), 2);
	unpack_free(&u);
	voice_free(&v);
}

/* A loss where timestamps jump says nothing about how much sound is missing. */
static void a_loss_at_a_jump_is_left_silent(void **state)
{
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 40, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 40; k++) {
		if (k != 20)
			voice_send(&u, &v, k, AT(k), 5, 77 + (k > 20 ? 10 * 48000 : 0));
	}
	unpack_end(&u);
	assert_int_equal(u.frames, 39);
	assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), 1);
	assert_int_equal(count_of(&u, COUNTER_SKIPPED), 1);
	unpack_free(&u);
	voice_free(&v);
}

/* ts-jump-backwards, ts-jump-forward-2^31: placed by the clock, sound untouched. */
static void nonsense_jumps_of_timestamps(void **state)
{
	static const uint32_t jumps[] = { 0x80000000, 0x7fffffff, 0u - 3600u * 48000u,
		0u - 2u * 48000u, 2u * 48000u, 3600u * 48000u };
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		struct plain p;
		struct voice v;
		struct unpack u;

		voice_make(&v, 60, STEP, 1, false);
		unpack_begin(&u, WINDOW, 1);
		for (k = 0; k < 60; k++) {
			/* The two around the jump come the wrong way round. */
			int j = k == 19 ? 20 : k == 20 ? 19 : k;

			voice_send(&u, &v, j, AT(k), 5, 0xffffff00 + (j >= 20 ? jumps[i] : 0));
		}
		unpack_end(&u);
		assert_int_equal(u.frames, 60);
		assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), 1);
		assert_int_equal(count_of(&u, COUNTER_LOST), 0);
		plain_init(&p, 1);
		for (k = 0; k < 60; k++) {
			const struct ipc_frame *f = &u.frame[k].f;
			/* The one that was early sets the place of those behind it. */
			uint64_t at = k >= 20 ? AT(k) - 20 * MS : AT(k);

			assert_int_equal(f->flags & IPC_FRAME_SPURT,
				k == 0 || k == 20 ? IPC_FRAME_SPURT : 0);
			assert_in_range((uint64_t)f->sent_ns, at - 2, at + 2);
			plain_expect(&p, &u.frame[k], v.packet[k], v.len[k]);
		}
		plain_free(&p);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* The same jump thousands of times in one direction overflows nothing. */
static void endless_jumps(void **state)
{
	struct voice v;
	struct unpack u;
	uint32_t ts = 0;
	int k;

	(void)state;
	voice_make(&v, 2, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 10000; k++, ts += 0x7fffff00)
		unpack_rtp(&u, CONN, AT(k), SSRC_A, (uint16_t)k, ts, v.packet[k & 1],
			(size_t)v.len[k & 1]);
	unpack_end(&u);
	assert_int_equal(u.frames, 10000);
	assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), 9999);
	assert_in_range((uint64_t)u.frame[9999].f.sent_ns, AT(9999) - 2, AT(9999) + 2);
	unpack_free(&u);
	voice_free(&v);
}

/* sender-ts-frozen-in-pause, and one that jumps too far: the arrival says how long it was. */
static void timestamps_that_do_not_know_of_the_pause(void **state)
{
	static const struct {
		int64_t pause_ms, ts_ms;
		bool jump;
	} cases[] = {
		{ 5000, 0, true },
		{ 5000, 60000, true },
		{ 5000, 4950, false }, /* near enough */
		{ 5000, 5090, false },
		{ 5000, 5110, true },
		{ 5000, 4890, true },
		{ 250, 0, true },
	};
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t pause = (uint64_t)cases[i].pause_ms * MS;
		struct voice v;
		struct unpack u;

		voice_make(&v, 40, STEP, 1, false);
		unpack_begin(&u, WINDOW, 1);
		for (k = 0; k < 40; k++)
			voice_send(&u, &v, k, AT(k) + (k >= 20 ? pause : 0), 5,
				77 + (k >= 20 ? (uint32_t)(cases[i].ts_ms * 48) : 0));
		unpack_end(&u);
		assert_int_equal(u.frames, 40);
		assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), cases[i].jump);
		assert_int_equal(u.frame[20].f.flags & IPC_FRAME_SPURT, IPC_FRAME_SPURT);
		assert_int_equal(spurts(&u), 2);
		if (cases[i].jump)
			assert_in_range((uint64_t)u.frame[20].f.sent_ns, AT(20) + pause - 2,
				AT(20) + pause + 2);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* After a run of silence frames the sender's clock is looked at again, pause or not. */
static void a_run_of_silence_ends_a_spurt(void **state)
{
	static const struct {
		uint32_t ts_off;
		unsigned jumps;
		size_t spurts;
	} cases[] = { { 0, 0, 1 }, { 9000, 1, 2 } }; /* 187 ms: no pause, yet the clock moved */
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct plain p;
		struct voice v;
		struct unpack u;

		voice_make(&v, 40, STEP, 2, false);
		unpack_begin(&u, WINDOW, 2);
		for (k = 0; k < 40; k++) {
			if (k < 20 || k >= 25)
				voice_send(&u, &v, k, AT(k), 5,
					77 + (k >= 25 ? cases[i].ts_off : 0));
			else
				unpack_rtp(&u, CONN, AT(k), SSRC_A, (uint16_t)(5 + k),
					77 + (uint32_t)k * STEP, silence, sizeof(silence));
		}
		unpack_end(&u);
		assert_int_equal(u.frames, 40);
		assert_int_equal(count_of(&u, COUNTER_SILENCE), 5);
		assert_int_equal(count_of(&u, COUNTER_DECODED), 40);
		assert_int_equal(kinds(&u, IPC_FRAME_SILENCE), 5);
		assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), cases[i].jumps);
		assert_int_equal(spurts(&u), cases[i].spurts);
		plain_init(&p, 2);
		for (k = 0; k < 40; k++) {
			if (k < 20 || k >= 25)
				plain_expect(&p, &u.frame[k], v.packet[k], v.len[k]);
			else
				plain_expect(&p, &u.frame[k], silence, sizeof(silence));
		}
		plain_free(&p);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* A probe that is lost in a pause was no sound, whatever the pause beside it would have room for.
 */
static void a_lost_probe_makes_no_sound(void **state)
{
	struct voice v;
	struct unpack u;
	uint16_t seq = 9;
	int k;

	(void)state;
	voice_make(&v, 20, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 10; k++)
		unpack_rtp(&u, CONN, AT(k), SSRC_A, seq++, (uint32_t)k * STEP, v.packet[k],
			(size_t)v.len[k]);
	for (k = 0; k < 10; k++, seq++) {
		if (k != 4)
			unpack_rtp(&u, CONN, AT(30) + (uint64_t)k * MS, SSRC_A, seq, 9 * STEP, NULL,
				0);
	}
	for (k = 10; k < 20; k++)
		unpack_rtp(&u, CONN, AT(50 + k), SSRC_A, seq++, (uint32_t)(50 + k) * STEP,
			v.packet[k], (size_t)v.len[k]);
	unpack_end(&u);
	assert_int_equal(u.frames, 20);
	assert_int_equal(count_of(&u, COUNTER_LOST), 1);
	assert_int_equal(count_of(&u, COUNTER_SKIPPED), 1);
	unpack_free(&u);
	voice_free(&v);
}

/* A sender that stalls for a moment again and again, and counts on as if it had not. */
static void small_stalls_do_not_add_up(void **state)
{
	uint64_t at = T0;
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 1, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 1500; k++, at += (k % 20 == 0 ? 60 : 20) * MS)
		unpack_rtp(&u, CONN, at, SSRC_A, (uint16_t)k, (uint32_t)k * STEP, v.packet[0],
			(size_t)v.len[0]);
	unpack_end(&u);
	assert_int_equal(u.frames, 1500);
	assert_true(count_of(&u, COUNTER_TIME_JUMPS) >= 10);
	for (k = 0; k < 1500; k++)
		assert_true((int64_t)u.frame[k].f.arrival_ns - u.frame[k].f.sent_ns <=
			300 * (int64_t)MS);
	unpack_free(&u);
	voice_free(&v);
}

/* A packet that was overtaken begins no spurt and does not hide that one begins. */
static void the_overtaken_begin_nothing(void **state)
{
	struct voice v;
	struct unpack u;
	uint64_t late;
	int k;

	(void)state;
	voice_make(&v, 40, STEP, 1, false);
	unpack_begin(&u, 400 * MS, 1);
	for (k = 0; k < 10; k++)
		voice_send(&u, &v, k, AT(k), 5, 77);
	/* A word's last packet behind the silence that follows it: plays at once, with it. */
	for (k = 11; k < 14; k++)
		unpack_rtp(&u, CONN, AT(k), SSRC_A, (uint16_t)(5 + k), 77 + (uint32_t)k * STEP,
			silence, sizeof(silence));
	voice_send(&u, &v, 10, AT(13), 5, 77);
	unpack_run(&u);
	assert_int_equal(u.frames, 14);
	/* The run of silence is over all the same: the next word is held. */
	voice_send(&u, &v, 14, AT(14), 5, 77);
	unpack_run(&u);
	assert_int_equal(u.frames, 14);
	for (k = 15; k < 20; k++)
		voice_send(&u, &v, k, AT(k), 5, 77);
	voice_send(&u, &v, 21, AT(21), 5, 77);
	/* In a pause: 20 and 21 play at once, and the pause is still one. */
	late = AT(21) + 250 * MS;
	voice_send(&u, &v, 20, late, 5, 77);
	unpack_run(&u);
	assert_int_equal(u.frames, 22);
	voice_send(&u, &v, 22, late + 10 * MS, 5, 77 + 240 * 48);
	unpack_run(&u);
	assert_int_equal(u.frames, 22);
	unpack_tick(&u, late + 190 * MS);
	unpack_run(&u);
	assert_int_equal(u.frames, 23);
	assert_int_equal(u.frame[22].f.flags & IPC_FRAME_SPURT, IPC_FRAME_SPURT);
	assert_int_equal(spurts(&u), 2);
	unpack_end(&u);
	assert_int_equal(count_of(&u, COUNTER_LOST), 0);
	assert_int_equal(count_of(&u, COUNTER_REORDERED), 2);
	assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), 0);
	unpack_free(&u);
	voice_free(&v);
}

/* A late first packet does not move a spurt: its quickest one places it. */
static void jitter_does_not_shift_a_spurt(void **state)
{
	static const int late_ms[][4] = { { 0, 0, 0, 0 }, { 40, 20, 0, 0 }, { 15, 10, 0, 30 } };
	size_t i;
	int k;

	(void)state;
	for (i = 0; i < 3; i++) {
		struct voice v;
		struct unpack u;

		voice_make(&v, 40, STEP, 1, false);
		unpack_begin(&u, WINDOW, 1);
		for (k = 0; k < 40; k++) {
			uint64_t late = k < 4 ? (uint64_t)late_ms[i][k] * MS : 0;

			voice_send(&u, &v, k, AT(k) + late, 5, 77);
		}
		unpack_end(&u);
		assert_int_equal(u.frames, 40);
		for (k = 0; k < 40; k++)
			assert_in_range((uint64_t)u.frame[k].f.sent_ns, AT(k) - 2, AT(k) + 2);
		unpack_free(&u);
		voice_free(&v);
	}
}

/* The network stops for two seconds and then delivers all at once: nothing is placed anew. */
static void a_stall_is_no_jump(void **state)
{
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 200, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 200; k++)
		voice_send(&u, &v, k, k < 50 ? AT(k) : k < 150 ? AT(150) : AT(k), 5, 77);
	unpack_end(&u);
	assert_int_equal(u.frames, 200);
	assert_int_equal(count_of(&u, COUNTER_TIME_JUMPS), 0);
	for (k = 0; k < 200; k++)
		assert_in_range((uint64_t)u.frame[k].f.sent_ns, AT(k) - 2, AT(k) + 2);
	unpack_free(&u);
	voice_free(&v);
}

static void mono_and_stereo_change_within_a_stream(void **state)
{
	struct voice mono, stereo;
	int channels, k;

	(void)state;
	voice_make(&mono, 60, STEP, 1, false);
	voice_make(&stereo, 60, STEP, 2, false);
	for (channels = 1; channels <= 2; channels++) {
		struct plain p;
		struct unpack u;

		unpack_begin(&u, WINDOW, (uint32_t)channels);
		for (k = 0; k < 60; k++)
			voice_send(&u, k / 15 % 2 ? &stereo : &mono, k, AT(k), 5, 77);
		unpack_end(&u);
		assert_int_equal(u.frames, 60);
		plain_init(&p, channels);
		for (k = 0; k < 60; k++) {
			const struct voice *v = k / 15 % 2 ? &stereo : &mono;

			plain_expect(&p, &u.frame[k], v->packet[k], v->len[k]);
		}
		plain_free(&p);
		unpack_free(&u);
	}
	voice_free(&mono);
	voice_free(&stereo);
}

static void what_opus_refuses_is_counted(void **state)
{
	static const uint8_t bad[] = { 0xff, 0x82, 0x08, 0x00 };
	struct plain p;
	struct voice v;
	struct unpack u;
	int k;

	(void)state;
	voice_make(&v, 40, STEP, 1, false);
	unpack_begin(&u, WINDOW, 1);
	for (k = 0; k < 40; k++) {
		if (k == 20)
			unpack_rtp(&u, CONN, AT(k), SSRC_A, 25, 77 + 20 * STEP, bad, sizeof(bad));
		else
			voice_send(&u, &v, k, AT(k), 5, 77);
	}
	unpack_end(&u);
	assert_int_equal(u.frames, 39);
	assert_int_equal(count_of(&u, COUNTER_UNDECODABLE), 1);
	assert_int_equal(count_of(&u, COUNTER_LOST), 0);
	plain_init(&p, 1);
	for (k = 0; k < 39; k++)
		plain_expect(&p, &u.frame[k], v.packet[k + (k >= 20)], v.len[k + (k >= 20)]);
	plain_free(&p);
	unpack_free(&u);
	voice_free(&v);
}

/* ---- the same packets, whatever ticks come between ---- */

static void play_trouble(struct unpack *u, const struct voice *v, const struct event *e, size_t n,
	uint32_t tick_seed)
{
	uint64_t now = T0;
	size_t i;

	unpack_begin(u, WINDOW, 1);
	for (i = 0; i < n; i++) {
		while (tick_seed > 0 && now < e[i].at) {
			unpack_tick(u, now);
			now += tick_seed == 1 ? MS : 1 + roll(&tick_seed) % (70 * MS);
		}
		send_trouble(u, v, &e[i]);
	}
	unpack_tick(u, e[n - 1].at + 2 * TD_SEC_NS);
	unpack_end(u);
}

/* The frames of one stream, in order, are equal in everything. */
static void same_stream(const struct unpack *a, const struct unpack *b, uint32_t ssrc)
{
	size_t i = 0, j = 0;

	for (;;) {
		while (i < a->frames && a->frame[i].f.ssrc != ssrc)
			i++;
		while (j < b->frames && b->frame[j].f.ssrc != ssrc)
			j++;
		if (i == a->frames || j == b->frames)
			break;
		assert_memory_equal(&a->frame[i].f, &b->frame[j].f, sizeof(a->frame[i].f));
		assert_memory_equal(a->frame[i].pcm, b->frame[j].pcm,
			(size_t)a->frame[i].f.samples * 2);
		i++;
		j++;
	}
	assert_int_equal(i, a->frames);
	assert_int_equal(j, b->frames);
}

static void ticks_change_nothing(void **state)
{
	static struct event e[1000];
	struct voice v;
	uint32_t seed;

	(void)state;
	voice_make(&v, 400, STEP, 1, true);
	for (seed = 1; seed <= 6; seed++) {
		size_t n = make_trouble(e, 1000, seed * 7919);
		struct unpack none, every, some;

		play_trouble(&none, &v, e, n, 0);
		play_trouble(&every, &v, e, n, 1);
		play_trouble(&some, &v, e, n, seed + 1);
		same_stream(&none, &every, SSRC_A);
		same_stream(&none, &every, SSRC_B);
		same_stream(&none, &some, SSRC_A);
		same_stream(&none, &some, SSRC_B);
		assert_memory_equal(none.sum, every.sum, sizeof(none.sum));
		assert_memory_equal(none.sum, some.sum, sizeof(none.sum));
		assert_int_equal(none.counter_messages, every.counter_messages);
		assert_true(count_of(&none, COUNTER_FEC) > 0);
		assert_true(count_of(&none, COUNTER_CONCEALED) > 0);
		unpack_free(&none);
		unpack_free(&every);
		unpack_free(&some);
	}
	voice_free(&v);
}

/* Without anyone who wants sound nothing is decoded, and the accounts still hold. */
static void without_sound_everything_is_counted(void **state)
{
	const struct ipc_conn_open o = { .reorder_ns = WINDOW, .want = 0, .channels = 2 };
	struct voice v;
	struct unpack u;

	(void)state;
	voice_make(&v, 40, STEP, 1, true);
	unpack_init(&u);
	unpack_hello(&u);
	unpack_put(&u, IPC_CONN_OPEN, CONN, &o, sizeof(o), NULL, 0);
	unpack_key(&u, CONN, TRANSPORT_NONE, 0, 0);
	send_but(&u, &v, 10, 2);
	unpack_end(&u);
	assert_int_equal(u.frames, 0);
	assert_int_equal(count_of(&u, COUNTER_DECODED), 38);
	assert_int_equal(count_of(&u, COUNTER_LOST), 2);
	assert_int_equal(count_of(&u, COUNTER_SKIPPED), 2);
	unpack_free(&u);
	voice_free(&v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_duration_is_bit_exact_over_both_wraps),
		cmocka_unit_test(reordered_packets_play_in_order),
		cmocka_unit_test(the_window_is_exact),
		cmocka_unit_test(nobody_waits_longer_than_the_window),
		cmocka_unit_test(duplicates_are_counted_and_nothing_else),
		cmocka_unit_test(a_duplicate_of_one_that_waits),
		cmocka_unit_test(the_first_spurt_starts_with_its_lowest_number),
		cmocka_unit_test(the_start_is_held_and_not_longer),
		cmocka_unit_test(losses_are_recovered_concealed_and_counted),
		cmocka_unit_test(nothing_is_recovered_after_celt),
		cmocka_unit_test(concealment_of_every_duration),
		cmocka_unit_test(concealment_fits_the_gap),
		cmocka_unit_test(a_pause_is_not_a_loss),
		cmocka_unit_test(a_loss_around_a_pause),
		cmocka_unit_test(an_outage_of_thousands),
		cmocka_unit_test(a_new_numbering_restarts_the_stream),
		cmocka_unit_test(strays_are_not_in_a_row),
		cmocka_unit_test(a_new_numbering_with_new_timestamps),
		cmocka_unit_test(a_window_too_long_for_the_ring),
		cmocka_unit_test(late_is_not_duplicate_on_the_second_lap),
		cmocka_unit_test(padding_is_neither_sound_nor_loss),
		cmocka_unit_test(a_gap_before_padding_at_the_end),
		cmocka_unit_test(nonsense_jumps_of_timestamps),
		cmocka_unit_test(a_loss_at_a_jump_is_left_silent),
		cmocka_unit_test(endless_jumps),
		cmocka_unit_test(timestamps_that_do_not_know_of_the_pause),
		cmocka_unit_test(a_run_of_silence_ends_a_spurt),
		cmocka_unit_test(a_lost_probe_makes_no_sound),
		cmocka_unit_test(small_stalls_do_not_add_up),
		cmocka_unit_test(the_overtaken_begin_nothing),
		cmocka_unit_test(jitter_does_not_shift_a_spurt),
		cmocka_unit_test(a_stall_is_no_jump),
		cmocka_unit_test(mono_and_stereo_change_within_a_stream),
		cmocka_unit_test(what_opus_refuses_is_counted),
		cmocka_unit_test(ticks_change_nothing),
		cmocka_unit_test(without_sound_everything_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
