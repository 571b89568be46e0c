/* SPDX-License-Identifier: ISC */
/*
 * Every allocation that a message to a DAVE session makes fails once. The session says so or does
 * without, leaks nothing (run it with the address sanitizer), and is in the call again in the end.
 * The linker puts the functions below in the way of ours (see the Makefile).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/locked.h"
#include "tests/unit/dave_sim.h"

static long fail_in = -1; /* allocations that still succeed; -1: all */
static bool failed;

static bool fails_now(void)
{
	if (fail_in < 0)
		return false;
	if (fail_in-- > 0)
		return false;
	failed = true;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_sodium_malloc(size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_sodium_malloc(size_t n);

void *__wrap_malloc(size_t n)
{
	return fails_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails_now() ? NULL : __real_realloc(p, n);
}

void *__wrap_sodium_malloc(size_t n)
{
	return fails_now() ? NULL : __real_sodium_malloc(n);
}

/* To member 0, with allocation number `at` failing. */
static int say(struct sim *s, uint8_t op, const void *data, size_t len, long at)
{
	int r;

	fail_in = at;
	r = dave_session_message(s->c[0].d, op, data, len, s->now_ns);
	fail_in = -1;
	return r;
}

static int do_version(struct sim *s, long at)
{
	dave_session_reset(s->c[0].d, s->channel_id, s->now_ns);
	dave_session_message(s->c[0].d, 25, s->sender, s->sender_len, s->now_ns);
	sim_take(&s->c[0]);
	fail_in = at;
	dave_session_version(s->c[0].d, 1, s->now_ns);
	fail_in = -1;
	return TD_OK; /* it has no way to say */
}

static int do_sender(struct sim *s, long at)
{
	dave_session_reset(s->c[0].d, s->channel_id, s->now_ns);
	dave_session_version(s->c[0].d, 1, s->now_ns);
	sim_take(&s->c[0]);
	return say(s, 25, s->sender, s->sender_len, at);
}

static int do_proposals(struct sim *s, long at)
{
	struct sim_list l;
	struct mls_span payload;

	sim_enter(s);
	l = sim_list(s);
	sim_propose_add(s, &l, 2);
	payload = sim_finish(&l);
	return say(s, 27, payload.p, payload.len, at);
}

static int do_named(struct sim *s, long at)
{
	struct sim_list l;
	struct mls_span payload;

	sim_enter(s);
	dave_session_user(s->c[0].d, s->c[2].user_id, false);
	l = sim_list(s);
	sim_propose_add(s, &l, 2);
	payload = sim_finish(&l);
	assert_int_equal(sim_say(s, 0, 27, payload.p, payload.len), TD_OK);
	fail_in = at;
	dave_session_user(s->c[0].d, s->c[2].user_id, true);
	fail_in = -1;
	return TD_OK;
}

static int do_commit(struct sim *s, size_t committer, long at)
{
	struct sim_bytes commit;
	int r;

	sim_enter(s);
	sim_propose_missing(s);
	commit = sim_half(s, committer, 5, false);
	r = say(s, 29, commit.b, commit.len, at);
	free(commit.b);
	return r;
}

static int do_own_commit(struct sim *s, long at)
{
	return do_commit(s, 0, at);
}

static int do_foreign_commit(struct sim *s, long at)
{
	return do_commit(s, 1, at);
}

static int do_welcome(struct sim *s, long at)
{
	struct sim_bytes welcome;
	struct sim_list l;
	uint32_t leaf = sim_leaf(s, 0);
	int r;

	sim_say_text(s, 0, 24, "{\"epoch\":1,\"protocol_version\":1}");
	l = sim_list(s);
	sim_propose_remove(s, &l, leaf);
	sim_propose_add(s, &l, 0);
	sim_say_all(s, 27, sim_finish(&l));
	welcome = sim_half(s, 1, 6, true);
	r = say(s, 30, welcome.b, welcome.len, at);
	free(welcome.b);
	return r;
}

static int do_recreate(struct sim *s, long at)
{
	static const char text[] = "{\"epoch\":1,\"protocol_version\":1}";

	return say(s, 24, text, sizeof(text) - 1, at);
}

static int do_downgrade(struct sim *s, long at)
{
	static const char text[] = "{\"transition_id\":0,\"protocol_version\":0}";

	return say(s, 21, text, sizeof(text) - 1, at);
}

static int do_invalid(struct sim *s, long at)
{
	int r = say(s, 29, "\0\1x", 3, at);

	return r == TD_ERR_MALFORMED ? TD_OK : r; /* that it was bad, memory or not */
}

static void sweep(void **state)
{
	static const struct {
		int (*run)(struct sim *s, long at);
		long least; /* allocations it has, or the sweep swept nothing */
	} rows[] = {
		{ do_version, 10 },
		{ do_sender, 4 },
		{ do_proposals, 15 },
		{ do_named, 15 },
		{ do_own_commit, 5 },
		{ do_foreign_commit, 15 },
		{ do_welcome, 15 },
		{ do_recreate, 10 },
		{ do_downgrade, 0 }, /* the queue has room */
		{ do_invalid, 12 },
	};
	size_t row, i;
	long at;
	int r;

	(void)state;
	for (row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		for (at = 0;; at++) {
			struct sim *s = sim_new_call(at + 1, 2);

			failed = false;
			r = rows[row].run(s, at);
			assert_true(r == TD_OK || (failed && r == TD_ERR_NOMEM));
			sim_take(&s->c[0]);
			/* With the next word, it catches up on what it could not do. */
			s->now_ns += 11 * TD_SEC_NS;
			dave_session_failing(s->c[0].d, 77, s->now_ns);
			sim_take(&s->c[0]);
			sim_name(s, 0);
			sim_say(s, 0, 25, s->sender, s->sender_len);
			for (i = 0; i < s->n; i++)
				sim_say_text(s, i, 24, "{\"epoch\":1,\"protocol_version\":1}");
			sim_join_all(s);
			sim_check(s);
			sim_free(s);
			if (!failed)
				break;
		}
		assert_true(at >= rows[row].least);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sweep),
	};

	locked_alone = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
