/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/err.h"
#include "receiver/journal.h"

/* Linked with --wrap=malloc: it fails while this is set. */
static bool no_memory;
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
	return no_memory ? NULL : __real_malloc(size);
}

/* What a journal has to be: a list, and nothing that could wrap. */
enum { MODEL_MAX = 40000, LEN_MAX = 2048 };
struct model {
	struct {
		uint64_t conn, at_ns, no;
		uint16_t type, len;
		bool gone;
	} e[MODEL_MAX];
	size_t first, end; /* e[first .. end) */
	size_t drops;
};

static uint32_t roll(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Byte i of an entry, so that a byte at a wrong place is noticed. */
static uint8_t content(uint64_t no, size_t i)
{
	return (uint8_t)(no * 31 + i * 7);
}

static void assert_content(const struct journal_entry *e)
{
	for (size_t i = 0; i < e->len; i++)
		assert_int_equal(e->data[i], content(e->no, i));
}

/* What leaves is known and whole, and leaves once. */
static void on_dropped(void *user, const struct journal_entry *e)
{
	struct model *m = user;
	size_t i;

	for (i = m->first; i < m->end && m->e[i].no != e->no; i++)
		;
	assert_true(i < m->end);
	assert_false(m->e[i].gone);
	m->e[i].gone = true;
	assert_int_equal(m->e[i].len, e->len);
	assert_content(e);
	while (m->first < m->end && m->e[m->first].gone)
		m->first++;
	m->drops++;
}

static int add(struct journal *j, struct model *m, uint64_t conn, uint64_t at_ns, size_t len)
{
	uint8_t data[LEN_MAX];
	int r;

	for (size_t i = 0; i < len; i++)
		data[i] = content(j->last_no + 1, i);
	assert_true(m->end < MODEL_MAX);
	if ((r = journal_add(j, conn, at_ns, (uint16_t)(len % 9), data, len)) != TD_OK)
		return r;
	m->e[m->end].conn = conn;
	m->e[m->end].at_ns = at_ns;
	m->e[m->end].no = j->last_no;
	m->e[m->end].type = (uint16_t)(len % 9);
	m->e[m->end].len = (uint16_t)len;
	m->e[m->end].gone = false;
	m->end++;
	return TD_OK;
}

static void assert_same(const struct journal *j, const struct model *m)
{
	const struct journal_entry *e = NULL;

	for (size_t i = m->first; i < m->end; i++) {
		if (m->e[i].gone)
			continue;
		e = journal_next(j, e);
		assert_non_null(e);
		assert_int_equal((uintptr_t)e % 8, 0);
		assert_int_equal((uintptr_t)e->data % 8, 0);
		assert_int_equal(e->no, m->e[i].no);
		assert_int_equal(e->conn, m->e[i].conn);
		assert_int_equal(e->at_ns, m->e[i].at_ns);
		assert_int_equal(e->type, m->e[i].type);
		assert_int_equal(e->len, m->e[i].len);
		assert_content(e);
	}
	assert_null(journal_next(j, e));
	assert_true(j->cap <= j->max_bytes);
}

static struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	return m;
}

/* Half of the time without memory, so that rings of every age and size fill up. */
static void anything_at_all(uint32_t seed, size_t max_bytes)
{
	struct model *m = model_new();
	uint64_t at_ns = 1000;
	struct journal j;
	size_t i;

	journal_init(&j, max_bytes, on_dropped, m);
	for (i = 0; i < 30000; i++) {
		uint32_t dice = roll(&seed) % 1000;
		size_t len = roll(&seed) % 10 < 7 ? roll(&seed) % 200 : roll(&seed) % LEN_MAX;

		at_ns += roll(&seed) % 20;
		no_memory = j.cap > 0 && roll(&seed) % 2 == 0;
		if (dice < 970) {
			assert_int_equal(add(&j, m, 1 + roll(&seed) % 5, at_ns, len), TD_OK);
		} else if (dice < 990) {
			struct journal_entry *e = NULL;
			unsigned skip = roll(&seed) % 50;

			while ((e = journal_next(&j, e)) != NULL && skip-- > 0)
				;
			if (e != NULL)
				journal_drop(&j, e);
		} else if (dice < 996) {
			uint64_t no = j.last_no - roll(&seed) % 200;
			uint64_t before_ns = at_ns - roll(&seed) % 2000;
			size_t k;

			journal_trim(&j, no, before_ns);
			for (k = m->first; k < m->end; k++) {
				if (m->e[k].gone)
					continue;
				assert_true(m->e[k].no > no || m->e[k].at_ns >= before_ns);
				break;
			}
		}
		if (i % 64 == 0 || dice >= 970)
			assert_same(&j, m);
	}
	no_memory = false;
	assert_same(&j, m);
	journal_free(&j);
	assert_int_equal(m->drops, m->end);
	free(m);
}

static void random_against_a_model(void **state)
{
	static const size_t sizes[] = { 4096, 8192, 32 * 1024, 64 * 1024, 128 * 1024, 256 * 1024,
		1 << 20, 16 << 20 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		anything_at_all((uint32_t)(i + 1) * 77, sizes[i]);
}

/* Every way for an entry to meet the end of the ring, stubs of 8, 16 and 24 bytes among them. */
static void every_end_of_the_ring(void **state)
{
	(void)state;
	for (size_t len = 0; len <= 160; len += 8) {
		for (size_t first = 0; first <= 160; first += 8) {
			struct model *m = model_new();
			struct journal j;

			journal_init(&j, 4096, on_dropped, m);
			assert_int_equal(add(&j, m, 1, 1, first), TD_OK);
			for (int i = 0; i < 300; i++) {
				assert_int_equal(add(&j, m, 1, 1, len), TD_OK);
				if (i % 16 == 0)
					assert_same(&j, m);
			}
			assert_same(&j, m);
			/* The newest are kept, and as many as there is room for. */
			assert_true((m->end - m->first) * (len + 32) > 4096 - 2 * (len + 32) - 32);
			journal_free(&j);
			free(m);
		}
	}
}

static void trim_takes_number_and_time(void **state)
{
	static const struct {
		uint64_t no, before_ns;
		size_t left;
	} cases[] = {
		{ 0, UINT64_MAX, 10 }, { 10, 0, 10 },
		{ 10, 100, 10 },          /* at 100 is not before 100 */
		{ 10, 101, 9 },           /* nor 101 at 101 */
		{ 4, 200, 6 },            /* by number */
		{ 7, 105, 5 },            /* by time */
		{ UINT64_MAX, 110, 0 },   /* all */
		{ UINT64_MAX, 10000, 0 }, /* and more */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct model *m = model_new();
		struct journal j;

		journal_init(&j, 1 << 20, on_dropped, m);
		for (uint64_t n = 0; n < 10; n++)
			assert_int_equal(add(&j, m, 1, 100 + n, 50), TD_OK);
		journal_trim(&j, cases[i].no, cases[i].before_ns);
		assert_int_equal(m->end - m->first, cases[i].left);
		assert_same(&j, m);
		journal_free(&j);
		free(m);
	}
}

static void without_memory(void **state)
{
	struct model *m = model_new();
	struct journal j;

	(void)state;
	journal_init(&j, 1 << 20, on_dropped, m);
	no_memory = true;
	assert_int_equal(add(&j, m, 1, 1, 100), TD_ERR_NOMEM);
	assert_null(journal_next(&j, NULL));
	no_memory = false;
	assert_int_equal(add(&j, m, 1, 1, 100), TD_OK);
	/* A ring that cannot grow drops what is oldest. */
	no_memory = true;
	for (int i = 0; i < 3000; i++)
		assert_int_equal(add(&j, m, 1, 1, 100), TD_OK);
	assert_int_equal(j.cap, 64 * 1024);
	assert_same(&j, m);
	assert_true(m->end - m->first > 400);
	no_memory = false;
	/* And one that can, does. */
	for (int i = 0; i < 3000; i++)
		assert_int_equal(add(&j, m, 1, 1, 100), TD_OK);
	assert_true(m->end - m->first > 3000);
	assert_same(&j, m);
	journal_free(&j);
	assert_int_equal(m->drops, m->end);
	free(m);
}

static void too_large(void **state)
{
	struct model *m = model_new();
	uint8_t large[2 * UINT16_MAX] = { 0 };
	struct journal j;

	(void)state;
	journal_init(&j, 1024, on_dropped, m);
	assert_int_equal(add(&j, m, 1, 1, 400), TD_OK);
	assert_int_equal(journal_add(&j, 1, 1, 1, large, 1000), TD_ERR_LIMIT);
	assert_same(&j, m); /* and nothing was dropped for it */
	assert_int_equal(add(&j, m, 1, 1, 1024 - 32), TD_OK);
	assert_int_equal(m->end - m->first, 1);
	journal_free(&j);
	journal_init(&j, 1 << 20, on_dropped, m);
	assert_int_equal(journal_add(&j, 1, 1, 1, large, UINT16_MAX + 1), TD_ERR_LIMIT);
	journal_free(&j);
	journal_free(&j);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_against_a_model),
		cmocka_unit_test(every_end_of_the_ring),
		cmocka_unit_test(trim_takes_number_and_time),
		cmocka_unit_test(without_memory),
		cmocka_unit_test(too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
