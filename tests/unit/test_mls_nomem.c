/* SPDX-License-Identifier: ISC */
/*
 * Every allocation of every operation fails once: the operation says so, leaks nothing (run it with
 * the address sanitizer), has changed nothing, and works afterwards. The linker puts the functions
 * below in the way of ours (see the Makefile); libcrypto's and the system's own are left alone.
 */
#include "common/locked.h"
#include "tests/unit/mls_sim.h"

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

struct bench {
	struct sim s;
	struct sim_bytes add;
	struct mls_own_commit *commit; /* of member 1: an Add and a Remove */
	size_t late;
};

/* Each does its thing, undoes it, and returns what the function said. */

static int do_package(struct bench *b)
{
	struct mls_own_package *own = NULL;
	int r = mls_own_package_new(&b->s.cx, &own, mls_span("12345678", 8), b->s.m[0].signature);

	assert_int_equal(r == 0, own != NULL);
	mls_own_package_free(own);
	return r;
}

static int do_group(struct bench *b)
{
	struct mls_group *g = NULL;
	int r = mls_group_new(&b->s.cx, &g, b->s.m[b->late].package, mls_span("12345678", 8),
		mls_span(b->s.extensions, b->s.extensions_len));

	assert_int_equal(r == 0, g != NULL);
	mls_group_free(g);
	return r;
}

static int do_proposal(struct bench *b)
{
	struct mls_group *g = b->s.m[2].group;
	struct mls_proposal *p = NULL;
	size_t before = mls_group_n_proposals(g);
	uint8_t ref[MLS_HASH_LEN];
	int r = mls_proposal_open(&b->s.cx, g, sim_span(&b->add), &p);

	assert_int_equal(r == 0, p != NULL);
	if (r < 0)
		return r;
	memcpy(ref, p->ref, sizeof(ref));
	if ((r = mls_group_store(&b->s.cx, g, p)) < 0)
		mls_proposal_free(p);
	else
		assert_int_equal(mls_group_revoke(g, mls_span(ref, sizeof(ref))), 0);
	assert_int_equal(mls_group_n_proposals(g), before);
	return r;
}

static int do_commit(struct bench *b)
{
	struct mls_own_commit *c = NULL;
	int r = mls_group_commit(&b->s.cx, b->s.m[0].group, 0, &c);

	assert_int_equal(r == 0, c != NULL);
	mls_own_commit_free(c);
	return r;
}

static int do_process(struct bench *b)
{
	struct mls_group *next = NULL;
	struct mls_commit_info info;
	int r = mls_group_process(&b->s.cx, b->s.m[0].group,
		mls_span(b->commit->message, b->commit->message_len), 0, &next, &info);

	assert_int_equal(r == 0, next != NULL);
	mls_group_free(next);
	return r;
}

static int do_join(struct bench *b)
{
	struct mls_group *g = NULL;
	int r = mls_group_join(&b->s.cx, &g, b->s.m[b->late].package,
		mls_span(b->commit->welcome, b->commit->welcome_len), NULL);

	assert_int_equal(r == 0, g != NULL);
	mls_group_free(g);
	return r;
}

static int do_identities(struct bench *b)
{
	return mls_group_check_identities(&b->s.cx, b->s.m[0].group);
}

static void sweep(void **state)
{
	static const struct {
		int (*run)(struct bench *b);
		long least; /* allocations it has, or the sweep swept nothing */
	} rows[] = {
		{ do_package, 5 },
		{ do_group, 5 },
		{ do_proposal, 3 },
		{ do_commit, 30 },
		{ do_process, 20 },
		{ do_join, 20 },
		{ do_identities, 1 },
	};
	struct bench *b = calloc(1, sizeof(*b));
	size_t i;
	long n;
	int r;

	(void)state;
	sim_init(&b->s, 1);
	sim_grow(&b->s, 5);
	for (i = 0; i < 6; i++) /* give every parent a key, then one an unmerged leaf */
		sim_commit(&b->s, i, MLS_COMMIT_FORCE_PATH);
	sim_propose_add(&b->s, sim_add_member(&b->s));
	sim_commit(&b->s, 0, 0);
	b->late = sim_add_member(&b->s);
	sim_propose_add(&b->s, b->late);
	sim_propose_remove(&b->s, 3);
	sim_new_package(&b->s, 4);
	sim_add_proposal(&b->s, &b->add, 4);
	b->commit = sim_make_commit(&b->s, 1, 0);

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (n = 0;; n++) {
			failed = false;
			fail_in = n;
			r = rows[i].run(b);
			fail_in = -1;
			if (!failed)
				break;
			assert_int_equal(r, TD_ERR_NOMEM);
		}
		assert_int_equal(r, 0);
		assert_true(n >= rows[i].least);
	}
	sim_announce(&b->s, 1, b->commit);
	sim_free(&b->s);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sweep),
	};

	locked_alone = true;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
