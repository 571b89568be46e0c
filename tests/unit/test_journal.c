/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "common/err.h"
#include "receiver/journal.h"

/* Linked with --wrap=mmap,--wrap=munmap: there is no memory while no_memory is set. */
static bool no_memory;
static size_t mapped; /* chunks */
void *__real_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (no_memory)
		return MAP_FAILED;
	mapped++;
	return __real_mmap(at, size, prot, flags, fd, offset);
}

int __wrap_munmap(void *at, size_t size)
{
	assert_int_equal(size, JOURNAL_CHUNK);
	mapped--;
	return __real_munmap(at, size);
}

/* What a journal has to be: a list, of which the quiet ones leave without a word. */
enum { MODEL_MAX = 100000, QUIET = 1, LOUD = 2, HEAD = sizeof(struct journal_entry) };
struct model {
	struct {
		uint64_t conn, at_ns, no;
		uint16_t type, len;
		bool gone;
	} e[MODEL_MAX];
	size_t first, end; /* e[first .. end); what is before has left */
	size_t loud, told; /* those that were added, and that left */
};

static uint8_t bytes[2 * UINT16_MAX]; /* an entry is a piece of it that begins by its number */

static const uint8_t *content(uint64_t no)
{
	return bytes + no % UINT16_MAX;
}

static uint32_t roll(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* What leaves is known and whole, and leaves once, in order or out of turn. */
static void on_dropped(void *user, const struct journal_entry *e)
{
	struct model *m = user;

	assert_int_not_equal(e->type, QUIET);
	assert_true(e->no >= 1 && e->no <= m->end);
	assert_false(m->e[e->no - 1].gone);
	m->e[e->no - 1].gone = true;
	assert_int_equal(m->e[e->no - 1].len, e->len);
	assert_memory_equal(e->data, content(e->no), e->len);
	m->told++;
}

static int add(struct journal *j, struct model *m, uint64_t conn, uint64_t at_ns, uint16_t type,
	size_t len)
{
	int r;

	assert_true(m->end < MODEL_MAX);
	/* What falls out for it is looked up by its number. */
	r = journal_add(j, conn, at_ns, type, content(j->last_no + 1), len);
	if (r != TD_OK)
		return r;
	assert_int_equal(j->last_no, m->end + 1);
	m->e[m->end].conn = conn;
	m->e[m->end].at_ns = at_ns;
	m->e[m->end].no = j->last_no;
	m->e[m->end].type = type;
	m->e[m->end].len = (uint16_t)len;
	m->e[m->end].gone = false;
	m->end++;
	m->loud += type != QUIET;
	return TD_OK;
}

static size_t size_of(const struct model *m, size_t i)
{
	return (HEAD + m->e[i].len + 7u) & ~(size_t)7;
}

/* The journal is the list without its beginning, of which every loud one was told. */
static void assert_same(const struct journal *j, struct model *m)
{
	const struct journal_entry *e = journal_next(j, NULL);
	size_t end = e != NULL ? (size_t)e->no - 1 : m->end;

	for (; m->first < end; m->first++)
		assert_true(m->e[m->first].gone || m->e[m->first].type == QUIET);
	assert_true(m->first == end || m->e[m->first].gone);
	for (size_t i = end; i < m->end; i++) {
		if (m->e[i].gone)
			continue;
		assert_non_null(e);
		assert_int_equal((uintptr_t)e % 8, 0);
		assert_int_equal((uintptr_t)e->data % 8, 0);
		assert_int_equal(e->no, m->e[i].no);
		assert_int_equal(e->conn, m->e[i].conn);
		assert_int_equal(e->at_ns, m->e[i].at_ns);
		assert_int_equal(e->type, m->e[i].type);
		assert_int_equal(e->len, m->e[i].len);
		assert_memory_equal(e->data, content(e->no), e->len);
		e = journal_next(j, e);
	}
	assert_null(e);
	assert_true(j->chunks <= j->max_chunks);
	assert_int_equal(mapped, j->chunks + j->spares);
}

/* Bytes of the entries that are there. */
static size_t held(const struct model *m)
{
	size_t sum = 0;

	for (size_t i = m->first; i < m->end; i++)
		sum += size_of(m, i);
	return sum;
}

/* No entry left that should not, and those that should did: all loud ones, and of the others all
 * but a chunk. */
static void trim(struct journal *j, struct model *m, uint64_t no, uint64_t before_ns)
{
	size_t was, stayed = 0, i;

	assert_same(j, m);
	was = m->first;
	journal_trim(j, no, before_ns);
	assert_same(j, m);
	for (i = was; i < m->first; i++)
		assert_true(m->e[i].gone || (m->e[i].no <= no && m->e[i].at_ns < before_ns));
	for (i = m->first; i < m->end; i++) {
		if (m->e[i].gone)
			continue;
		if (m->e[i].no > no || m->e[i].at_ns >= before_ns)
			break;
		assert_int_equal(m->e[i].type, QUIET);
		stayed += size_of(m, i);
	}
	assert_true(stayed <= JOURNAL_CHUNK);
}

static struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	assert_int_equal(mapped, 0);
	return m;
}

static void finish(struct journal *j, struct model *m)
{
	assert_same(j, m);
	journal_free(j);
	assert_int_equal(m->told, m->loud);
	assert_int_equal(mapped, 0);
	free(m);
}

static struct journal_entry *some_entry(const struct journal *j, unsigned skip)
{
	struct journal_entry *e = NULL;

	while ((e = journal_next(j, e)) != NULL && skip-- > 0)
		;
	return e;
}

/* Half of the time without memory, so that journals of every length fill up. */
static void anything_at_all(uint32_t seed, size_t max_chunks)
{
	struct model *m = model_new();
	uint64_t at_ns = 1000;
	struct journal j;
	size_t i;

	journal_init(&j, max_chunks * JOURNAL_CHUNK, QUIET, on_dropped, m);
	for (i = 0; i < 30000; i++) {
		uint32_t dice = roll(&seed) % 1000, kind = roll(&seed) % 1000;
		size_t len = roll(&seed) % (kind < 700 ? 200 : kind < 990 ? 2048 : UINT16_MAX);
		size_t was = mapped;

		if (len > JOURNAL_MAX_LEN)
			len = JOURNAL_MAX_LEN;
		at_ns += roll(&seed) % 20;
		no_memory = mapped > 0 && roll(&seed) % 2 == 0;
		if (dice < 970) {
			uint16_t type = roll(&seed) % 100 < 2 ? LOUD : QUIET;

			assert_int_equal(add(&j, m, 1 + roll(&seed) % 5, at_ns, type, len), TD_OK);
			assert_true(mapped <= was + 1);
		} else if (dice < 990) {
			struct journal_entry *e = some_entry(&j, roll(&seed) % 50);

			if (e != NULL && e->type == QUIET)
				m->e[e->no - 1].gone = true;
			if (e != NULL)
				journal_drop(&j, e);
		} else if (dice < 996) {
			trim(&j, m, j.last_no - roll(&seed) % 200, at_ns - roll(&seed) % 2000);
		}
		if (i % 64 == 0 || dice >= 970)
			assert_same(&j, m);
	}
	no_memory = false;
	finish(&j, m);
}

static void random_against_a_model(void **state)
{
	static const size_t chunks[] = { 1, 2, 3, 5, 16, 256 };

	(void)state;
	for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++)
		anything_at_all((uint32_t)(i + 1) * 77, chunks[i]);
}

/* Every way for an entry to meet the end of a chunk: with a little room left behind it, with none,
 * with 8 bytes too few; and as large as one gets. */
static void every_end_of_a_chunk(void **state)
{
	static const size_t sizes[] = { 0, 1, 7, 8, 9, 160, JOURNAL_MAX_LEN - 200,
		JOURNAL_MAX_LEN - 9, JOURNAL_MAX_LEN - 8, JOURNAL_MAX_LEN - 1, JOURNAL_MAX_LEN };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t filled = JOURNAL_MAX_LEN - 320; filled <= JOURNAL_MAX_LEN;
			filled += 8) {
			struct model *m = model_new();
			struct journal j;

			journal_init(&j, 4 * JOURNAL_CHUNK, QUIET, on_dropped, m);
			assert_int_equal(add(&j, m, 1, 1, LOUD, filled), TD_OK);
			for (int n = 0; n < 12; n++) {
				assert_int_equal(add(&j, m, 1, 1, QUIET, sizes[i]), TD_OK);
				assert_same(&j, m);
			}
			/* The newest are kept, and all of them if there is room. */
			assert_true(m->first == 0 || held(m) > 2 * JOURNAL_CHUNK);
			finish(&j, m);
		}
	}
}

/* At every entry of three chunks, by number and by time. */
static void trim_takes_number_and_time(void **state)
{
	enum { N = 3 * 63 - 1, LEN = 1000 };

	(void)state;
	for (uint64_t upto = 0; upto <= N + 1; upto++) {
		for (unsigned how = 0; how < 4; how++) {
			const uint16_t type = how % 2 == 0 ? QUIET : LOUD;
			const bool by_number = how / 2 == 0;
			struct model *m = model_new();
			struct journal j;

			journal_init(&j, 16 * JOURNAL_CHUNK, QUIET, on_dropped, m);
			for (uint64_t n = 1; n <= N; n++)
				assert_int_equal(add(&j, m, 1, 100 + n, type, LEN), TD_OK);
			assert_int_equal(j.chunks, 3);
			/* What is at a time is not before it. */
			if (by_number)
				trim(&j, m, upto, UINT64_MAX);
			else
				trim(&j, m, UINT64_MAX, 100 + upto + 1);
			if (type == LOUD)
				assert_int_equal(m->told, upto < N ? upto : N);
			if (upto >= N)
				assert_null(j.first);
			trim(&j, m, 0, UINT64_MAX);
			trim(&j, m, UINT64_MAX, 0);
			finish(&j, m);
		}
	}
}

/* A time that is out of order holds back what is behind it. */
static void trim_keeps_order(void **state)
{
	struct model *m = model_new();
	struct journal j;

	(void)state;
	journal_init(&j, 16 * JOURNAL_CHUNK, QUIET, on_dropped, m);
	assert_int_equal(add(&j, m, 1, 500, LOUD, 8), TD_OK);
	for (int n = 0; n < 1000; n++)
		assert_int_equal(add(&j, m, 1, 100, LOUD, 500), TD_OK);
	trim(&j, m, UINT64_MAX, 500);
	assert_int_equal(m->told, 0);
	trim(&j, m, UINT64_MAX, 501);
	assert_int_equal(m->told, 1001);
	finish(&j, m);
}

/* What was dropped out of turn goes as soon as it is the oldest. */
static void dropped_chunks_go(void **state)
{
	struct model *m = model_new();
	struct journal_entry *e = NULL;
	struct journal j;

	(void)state;
	journal_init(&j, 16 * JOURNAL_CHUNK, QUIET, on_dropped, m);
	for (uint64_t n = 0; n < 1000; n++)
		assert_int_equal(add(&j, m, 1 + n % 2, 1, n % 3 == 0 ? LOUD : QUIET, 500), TD_OK);
	for (uint64_t conn = 2; conn > 0; conn--) {
		while ((e = journal_next(&j, e)) != NULL) {
			if (e->conn != conn)
				continue;
			m->e[e->no - 1].gone = e->type == QUIET;
			journal_drop(&j, e);
		}
		assert_same(&j, m);
	}
	assert_null(journal_next(&j, NULL));
	assert_int_equal(add(&j, m, 1, 1, QUIET, 500), TD_OK);
	assert_int_equal(j.chunks, 1);
	finish(&j, m);
}

/* However it moves, it keeps a quarter of what it holds beside it, a 128th of what it may hold, and
 * one chunk. */
static void memory_is_given_back(void **state)
{
	struct model *m = model_new();
	struct journal j;

	(void)state;
	journal_init(&j, 256 * JOURNAL_CHUNK, QUIET, on_dropped, m);
	for (uint64_t n = 1; n <= 20000; n++)
		assert_int_equal(add(&j, m, 1, n, QUIET, 200), TD_OK);
	assert_int_equal(mapped, j.chunks);
	/* As it is trimmed while more comes: nothing is asked of the system, nor dropped for that.
	 */
	for (uint64_t n = 20001; n <= 40000; n++) {
		no_memory = n > 22000;
		if (n % 2000 == 0) {
			assert_same(&j, m);
			assert_true(m->end - m->first >= 19000);
			journal_trim(&j, n - 18000, UINT64_MAX);
		}
		assert_int_equal(add(&j, m, 1, n, QUIET, 200), TD_OK);
	}
	no_memory = false;
	/* And when less does. */
	for (uint64_t n = 20500; n <= 40000; n += 100) {
		journal_trim(&j, n, UINT64_MAX);
		assert_true(mapped <= j.chunks + 1 + j.chunks / 4 + 2);
	}
	assert_null(j.first);
	assert_int_equal(mapped, 3);
	finish(&j, m);
}

static void without_memory(void **state)
{
	struct model *m = model_new();
	struct journal j;

	(void)state;
	journal_init(&j, 16 * JOURNAL_CHUNK, QUIET, on_dropped, m);
	no_memory = true;
	assert_int_equal(add(&j, m, 1, 1, QUIET, 100), TD_ERR_NOMEM);
	assert_int_equal(add(&j, m, 1, 1, LOUD, 100), TD_ERR_NOMEM);
	assert_null(journal_next(&j, NULL));
	assert_int_equal(j.last_no, 0);
	no_memory = false;
	for (int i = 0; i < 600; i++)
		assert_int_equal(add(&j, m, 1, 1, QUIET, 100), TD_OK);
	assert_int_equal(j.chunks, 2);
	/* One that cannot grow drops what is oldest, a chunk at a time. */
	no_memory = true;
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(add(&j, m, 1, 1, i % 100 == 0 ? LOUD : QUIET, 100), TD_OK);
		assert_same(&j, m);
		assert_true(m->end - m->first >= 480);
	}
	assert_int_equal(j.chunks, 2);
	no_memory = false;
	/* And one that can, does. */
	for (int i = 0; i < 3000; i++)
		assert_int_equal(add(&j, m, 1, 1, QUIET, 100), TD_OK);
	assert_same(&j, m);
	assert_true(m->end - m->first > 3000);
	finish(&j, m);
}

static void too_large(void **state)
{
	struct model *m = model_new();
	struct journal j;

	(void)state;
	journal_init(&j, JOURNAL_CHUNK, QUIET, on_dropped, m);
	assert_int_equal(add(&j, m, 1, 1, LOUD, 400), TD_OK);
	for (size_t len = JOURNAL_MAX_LEN + 1; len < sizeof(bytes); len += 1000)
		assert_int_equal(journal_add(&j, 1, 1, QUIET, bytes, len), TD_ERR_LIMIT);
	assert_int_equal(journal_add(&j, 1, 1, QUIET, bytes, SIZE_MAX), TD_ERR_LIMIT);
	assert_same(&j, m); /* and nothing was dropped for it */
	assert_int_equal(m->told, 0);
	assert_int_equal(add(&j, m, 1, 1, QUIET, JOURNAL_MAX_LEN), TD_OK);
	assert_same(&j, m);
	assert_int_equal(m->end - m->first, 1);
	finish(&j, m);
	journal_free(&j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_against_a_model),
		cmocka_unit_test(every_end_of_a_chunk),
		cmocka_unit_test(trim_takes_number_and_time),
		cmocka_unit_test(trim_keeps_order),
		cmocka_unit_test(dropped_chunks_go),
		cmocka_unit_test(memory_is_given_back),
		cmocka_unit_test(without_memory),
		cmocka_unit_test(too_large),
	};
	uint32_t seed = 1;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)roll(&seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
