/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "receiver/delivered.h"

enum { CONN = 7, SSRC = 0xabcd, USER = 1001, MAX_STEPS = 8 };

/* Arrival times are packet numbers here. */
static bool frame(struct delivered *d, uint16_t seq, uint64_t at_ns, enum ipc_frame_kind kind)
{
	const struct ipc_frame f = { .user_id = USER,
		.arrival_ns = at_ns,
		.ssrc = SSRC,
		.seq = seq,
		.samples = 960,
		.kind = (uint8_t)kind };

	return delivered_frame(d, CONN, &f);
}

static bool opus(struct delivered *d, uint16_t seq, uint64_t at_ns)
{
	const struct ipc_opus o = { .user_id = USER,
		.arrival_ns = at_ns,
		.ssrc = SSRC,
		.seq = seq,
		.samples = 960 };

	return delivered_opus(d, CONN, &o);
}

struct loss {
	unsigned calls;
	uint64_t sum[COUNTER_COUNT];
};

static void on_loss(void *user, uint64_t conn, uint32_t ssrc, uint64_t user_id,
	const uint64_t delta[static COUNTER_COUNT])
{
	struct loss *l = user;

	assert_int_equal(conn, CONN);
	assert_int_equal(ssrc, SSRC);
	assert_int_equal(user_id, USER);
	l->calls++;
	for (size_t i = 0; i < COUNTER_COUNT; i++)
		l->sum[i] += delta[i];
}

static void count_all(void *user, uint64_t conn, uint32_t ssrc, uint64_t user_id,
	const uint64_t delta[static COUNTER_COUNT])
{
	struct loss *l = user;

	(void)ssrc;
	assert_int_equal(conn, CONN);
	assert_int_equal(user_id, USER);
	l->calls++;
	l->sum[COUNTER_DECODED] += delta[COUNTER_DECODED];
}

static void look(void **state)
{
	static const struct {
		const char *what;
		struct {
			uint16_t seq;
			uint64_t at_ns;
		} came[MAX_STEPS]; /* ends with at_ns 0 */
		uint16_t seq;
		uint64_t at_ns;
		enum delivered_state is;
	} cases[] = {
		{ "nothing came", { { 0, 0 } }, 5, 5, DELIVERED_NOT },
		{ "the latest", { { 100, 50 } }, 100, 50, DELIVERED_LATELY },
		{ "the next", { { 100, 50 } }, 101, 51, DELIVERED_NOT },
		{ "the twelfth", { { 100, 50 } }, 89, 39, DELIVERED_LATELY },
		{ "the thirteenth", { { 100, 50 } }, 88, 38, DELIVERED_LONG_AGO },
		{ "as far as numbers go", { { 1000, 950 } }, 489, 439, DELIVERED_LONG_AGO },
		{ "over the wrap, before", { { 2, 50 } }, 65535, 47, DELIVERED_LATELY },
		{ "over the wrap, long before", { { 2, 50 } }, 65500, 12, DELIVERED_LONG_AGO },
		{ "over the wrap, behind", { { 65535, 50 } }, 0, 51, DELIVERED_NOT },
		{ "overtaken, and came", { { 100, 52 }, { 101, 51 } }, 100, 52, DELIVERED_LATELY },
		{ "too late: its place is gone", { { 100, 50 } }, 99, 55, DELIVERED_NOT },
		{ "numbered anew: the old ones", { { 40000, 50 }, { 7, 51 } }, 40000, 50,
			DELIVERED_LONG_AGO },
		{ "numbered anew: the new ones", { { 40000, 50 }, { 7, 51 } }, 7, 51,
			DELIVERED_LATELY },
		{ "numbered anew: the next", { { 40000, 50 }, { 7, 51 } }, 8, 52, DELIVERED_NOT },
		{ "to be numbered anew", { { 40000, 50 } }, 7, 51, DELIVERED_NOT },
		{ "behind an outage: before it", { { 100, 50 }, { 2000, 3000 } }, 100, 50,
			DELIVERED_LONG_AGO },
		{ "behind an outage: the next", { { 100, 50 }, { 2000, 3000 } }, 2001, 3001,
			DELIVERED_NOT },
		{ "ahead, and arrived before: waits for a gap", { { 100, 50 } }, 102, 49,
			DELIVERED_NOT },
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		struct delivered d = { .decodes = i % 2 == 0 };

		for (size_t k = 0; cases[i / 2].came[k].at_ns != 0; k++) {
			if (d.decodes)
				assert_true(frame(&d, cases[i / 2].came[k].seq,
					cases[i / 2].came[k].at_ns, IPC_FRAME_DECODED));
			else
				assert_true(opus(&d, cases[i / 2].came[k].seq,
					cases[i / 2].came[k].at_ns));
		}
		if (delivered_look(&d, CONN, SSRC, cases[i / 2].seq, cases[i / 2].at_ns) !=
			cases[i / 2].is)
			fail_msg("%s", cases[i / 2].what);
		/* Another connection's or stream's is another matter. */
		assert_int_equal(delivered_look(&d, CONN + 1, SSRC, cases[i / 2].seq, 1),
			DELIVERED_NOT);
		assert_int_equal(delivered_look(&d, CONN, SSRC + 1, cases[i / 2].seq, 1),
			DELIVERED_NOT);
		delivered_free(&d);
	}
}

/* The packet was passed on, and its sound was not there yet: it comes once more, its sound alone.
 */
static void opus_without_its_frame(void **state)
{
	struct delivered d = { .decodes = true };
	struct loss l = { 0 };

	(void)state;
	assert_true(opus(&d, 10, 10));
	assert_true(frame(&d, 10, 10, IPC_FRAME_DECODED));
	assert_true(opus(&d, 11, 11));
	delivered_worker_lost(&d, on_loss, &l);
	assert_int_equal(l.sum[COUNTER_RECEIVED], 1);
	assert_int_equal(delivered_look(&d, CONN, SSRC, 10, 10), DELIVERED_LATELY);
	assert_int_equal(delivered_look(&d, CONN, SSRC, 11, 11), DELIVERED_NOT);
	assert_false(opus(&d, 11, 11));
	assert_true(frame(&d, 11, 11, IPC_FRAME_DECODED));
	assert_true(opus(&d, 12, 12));
	assert_true(frame(&d, 12, 12, IPC_FRAME_DECODED));
	delivered_worker_lost(&d, on_loss, &l);
	assert_int_equal(l.sum[COUNTER_RECEIVED], 3);
	delivered_free(&d);
}

/* A gap was filled, and the packet behind it was not there yet: the next worker fills it again. */
static void half_a_gap(void **state)
{
	struct delivered d = { .decodes = true };
	struct loss l = { 0 };

	(void)state;
	assert_true(frame(&d, 10, 10, IPC_FRAME_DECODED));
	assert_true(frame(&d, 11, 13, IPC_FRAME_CONCEALED));
	assert_true(frame(&d, 12, 13, IPC_FRAME_FEC));
	delivered_worker_lost(&d, on_loss, &l);
	assert_int_equal(l.sum[COUNTER_LOST], 0);
	assert_int_equal(l.sum[COUNTER_DECODED], 1);
	assert_int_equal(delivered_look(&d, CONN, SSRC, 13, 13), DELIVERED_NOT);
	assert_false(frame(&d, 11, 13, IPC_FRAME_CONCEALED));
	assert_false(frame(&d, 12, 13, IPC_FRAME_FEC));
	assert_true(frame(&d, 13, 13, IPC_FRAME_DECODED));
	/* Without another loss of the worker the same numbers are new ones. */
	assert_true(frame(&d, 13, 13, IPC_FRAME_DECODED));
	delivered_free(&d);
}

/* Counters that come back say how far everything is done with, whatever else came. */
static void counted(void **state)
{
	static const struct {
		const char *what;
		uint16_t seq, done;
		uint64_t at_ns, done_ns;
		enum delivered_state is;
	} cases[] = {
		{ "padding behind the latest", 105, 105, 105, 105, DELIVERED_LATELY },
		{ "not done with", 106, 105, 106, 105, DELIVERED_NOT },
		{ "a second one, counted", 99, 105, 105, 105, DELIVERED_LATELY },
		{ "a second one, later", 99, 105, 106, 105, DELIVERED_NOT },
		{ "behind what a new worker tells", 101, 95, 101, 95, DELIVERED_NOT },
		{ "a new worker does not take back", 100, 95, 100, 95, DELIVERED_LATELY },
		{ "numbered anew", 40000, 40001, 105, 106, DELIVERED_LATELY },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ipc_counters c = { .user_id = USER,
			.ssrc = SSRC,
			.seq = cases[i].done,
			.any = 1,
			.arrival_ns = cases[i].done_ns };
		struct delivered d = { .decodes = true };
		struct loss l = { 0 };

		assert_true(frame(&d, 100, 100, IPC_FRAME_DECODED));
		delivered_counted(&d, CONN, &c);
		delivered_worker_lost(&d, on_loss, &l);
		assert_int_equal(l.calls, 0);
		if (delivered_look(&d, CONN, SSRC, cases[i].seq, cases[i].at_ns) != cases[i].is)
			fail_msg("%s", cases[i].what);
		delivered_free(&d);
	}
}

static void forgotten(void **state)
{
	struct delivered d = { .decodes = true };
	struct ipc_frame f = { .user_id = USER, .kind = IPC_FRAME_DECODED, .seq = 5 };
	struct loss l = { 0 };

	(void)state;
	for (uint64_t conn = 1; conn <= 3; conn++) {
		for (f.ssrc = 1; f.ssrc <= 100; f.ssrc++)
			delivered_frame(&d, conn, &f);
	}
	delivered_forget(&d, 2);
	for (uint64_t conn = 1; conn <= 3; conn++) {
		for (uint32_t ssrc = 1; ssrc <= 100; ssrc++)
			assert_int_equal(delivered_look(&d, conn, ssrc, 5, 0),
				conn == 2 ? DELIVERED_NOT : DELIVERED_LATELY);
	}
	delivered_forget(&d, 1);
	delivered_forget(&d, 3);
	delivered_worker_lost(&d, on_loss, &l);
	assert_int_equal(l.calls, 0);
	delivered_free(&d);
}

/* More streams than are followed: what came is taken, whatever it is. */
static void too_many(void **state)
{
	struct delivered d = { .decodes = true };
	struct ipc_frame f = { .user_id = USER, .kind = IPC_FRAME_DECODED, .seq = 5 };

	(void)state;
	for (f.ssrc = 1; f.ssrc <= DELIVERED_MAX + 10; f.ssrc++)
		assert_true(delivered_frame(&d, CONN, &f));
	assert_int_equal(d.streams.len, DELIVERED_MAX);
	assert_int_equal(delivered_look(&d, CONN, DELIVERED_MAX, 5, 0), DELIVERED_LATELY);
	assert_int_equal(delivered_look(&d, CONN, DELIVERED_MAX + 1, 5, 0), DELIVERED_NOT);
	delivered_free(&d);
}

/* Speakers who leave and come back with another SSRC, for hours: those that are over are forgotten,
 * and a packet of theirs that a journal still has does not come again. */
static void ended_streams(void **state)
{
	struct delivered d = { .decodes = true };
	struct ipc_counters c = { .user_id = USER };
	struct loss l = { 0 };
	uint64_t at_ns = TD_SEC_NS;

	(void)state;
	for (uint32_t ssrc = 1; ssrc <= 10000; ssrc++, at_ns += 10 * TD_SEC_NS) {
		struct ipc_frame f = { .user_id = USER,
			.arrival_ns = at_ns,
			.ssrc = ssrc,
			.kind = IPC_FRAME_DECODED };

		assert_true(delivered_frame(&d, CONN, &f));
		assert_int_equal(delivered_look(&d, CONN, ssrc, 0, at_ns), DELIVERED_LATELY);
		c.ssrc = ssrc;
		c.delta[COUNTER_RECEIVED] = c.delta[COUNTER_DECODED] = 1;
		/* One of a hundred is not counted. */
		if (ssrc % 100 != 0)
			delivered_counted(&d, CONN, &c);
		assert_in_range(d.streams.len, 1, 14 + ssrc / 100);
		if (ssrc > 14 && (ssrc - 14) % 100 != 0)
			assert_int_equal(delivered_look(&d, CONN, ssrc - 14, 0,
						 at_ns - 140 * TD_SEC_NS),
				DELIVERED_LONG_AGO);
		/* Not everything of no known stream is old. */
		assert_int_equal(delivered_look(&d, CONN, ssrc + 1, 0, at_ns), DELIVERED_NOT);
	}
	delivered_worker_lost(&d, count_all, &l);
	assert_int_equal(l.calls, 100);
	assert_int_equal(l.sum[COUNTER_DECODED], 100);
	delivered_free(&d);
}

/* ---- nonces ---- */

struct told {
	uint64_t user_id, top;
	size_t calls;
};

static void on_used(void *user, uint64_t conn, uint32_t epoch_no, uint64_t user_id,
	const struct dave_nonces *nonces)
{
	struct told *t = user;

	(void)conn;
	(void)epoch_no;
	t->calls++;
	t->user_id = user_id;
	t->top = nonces->top;
}

static struct told used(const struct delivered *d, uint64_t conn, uint32_t epoch_no)
{
	struct told t = { 0 };

	delivered_used(d, conn, epoch_no, on_used, &t);
	return t;
}

/* Sixteen epochs of each sender, the newest; as many senders as streams; until the connection ends.
 */
static void nonces(void **state)
{
	struct delivered d = { .decodes = true };
	struct ipc_frame f = { .user_id = USER,
		.flags = IPC_FRAME_DAVE_OPENED,
		.kind = IPC_FRAME_DECODED };

	(void)state;
	for (f.epoch_no = 1; f.epoch_no <= 20; f.epoch_no++, f.seq++) {
		f.nonce = 100 + f.epoch_no;
		assert_true(delivered_frame(&d, CONN, &f));
		assert_int_equal(used(&d, CONN, f.epoch_no).top, 100 + f.epoch_no);
	}
	f.epoch_no = 4;
	f.seq++;
	assert_true(delivered_frame(&d, CONN, &f));
	for (uint32_t no = 0; no < 25; no++)
		assert_int_equal(used(&d, CONN, no).calls, no > 4 && no <= 20);
	assert_int_equal(used(&d, CONN, 20).user_id, USER);
	assert_int_equal(used(&d, CONN + 1, 20).calls, 0);
	/* The others are there, too: a worker that makes them up fills no more than that. */
	f.epoch_no = 20;
	for (f.user_id = USER + 1; f.user_id <= USER + DELIVERED_MAX + 5; f.user_id++, f.seq++)
		assert_true(delivered_frame(&d, CONN, &f));
	assert_int_equal(used(&d, CONN, 20).calls, DELIVERED_MAX);
	assert_true(delivered_frame(&d, CONN + 1, &f));
	assert_int_equal(d.conns.len, 1);
	delivered_forget(&d, CONN);
	assert_int_equal(used(&d, CONN, 20).calls, 0);
	f.user_id = USER;
	assert_true(delivered_frame(&d, CONN, &f));
	assert_int_equal(used(&d, CONN, 20).calls, 1);
	delivered_free(&d);
}

/* A packet came back and its sound did not: the next worker has to open it. */
static void a_nonce_is_used_when_all_came(void **state)
{
	struct delivered d = { .decodes = true };
	struct ipc_opus o = { .user_id = USER,
		.arrival_ns = 7,
		.ssrc = SSRC,
		.seq = 7,
		.nonce = 70,
		.epoch_no = 1,
		.flags = IPC_FRAME_DAVE_OPENED };
	struct ipc_counters c = { .user_id = USER, .ssrc = SSRC, .seq = 6, .any = 1 };

	(void)state;
	assert_true(delivered_opus(&d, CONN, &o));
	assert_int_equal(used(&d, CONN, 1).calls, 0);
	c.arrival_ns = 7;
	delivered_counted(&d, CONN, &c);
	assert_int_equal(used(&d, CONN, 1).calls, 0);
	assert_int_equal(delivered_look(&d, CONN, SSRC, 7, 7), DELIVERED_COUNTED);
	/* It was not to be decoded. */
	c.seq = 7;
	delivered_counted(&d, CONN, &c);
	assert_int_equal(used(&d, CONN, 1).top, 70);
	assert_int_equal(delivered_look(&d, CONN, SSRC, 7, 7), DELIVERED_OPENED);
	assert_int_equal(delivered_look(&d, CONN, SSRC, 6, 6), DELIVERED_LATELY);
	delivered_free(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(look),
		cmocka_unit_test(opus_without_its_frame),
		cmocka_unit_test(half_a_gap),
		cmocka_unit_test(counted),
		cmocka_unit_test(forgotten),
		cmocka_unit_test(too_many),
		cmocka_unit_test(ended_streams),
		cmocka_unit_test(nonces),
		cmocka_unit_test(a_nonce_is_used_when_all_came),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
