/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/err.h"
#include "sinks/spill.h"

static char dir[64];
static int dir_fd = -1;
static struct spill *s;

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_spill.XXXXXX");
	if (mkdtemp(dir) == NULL || (dir_fd = open(dir, O_RDONLY | O_DIRECTORY)) < 0)
		return -1;
	return spill_new(&s);
}

static int teardown(void **state)
{
	(void)state;
	spill_free(s);
	close(dir_fd);
	return rmdir(dir); /* it had no name */
}

static uint8_t byte_at(uint64_t list, uint64_t at)
{
	return (uint8_t)(at * 2654435761u >> 13 ^ list * 77);
}

/* Two lists that grow in turn by pieces of this size, read back at every place. */
static void fill_and_read(struct spill *spill, size_t piece, size_t total)
{
	struct spill_list lists[2] = { { 0 }, { 0 } };
	uint8_t *data = malloc(piece), *back = malloc(total);

	assert_true(data != NULL && back != NULL);
	for (size_t at = 0; at < total; at += piece) {
		size_t n = total - at < piece ? total - at : piece;

		for (size_t l = 0; l < 2; l++) {
			for (size_t i = 0; i < n; i++)
				data[i] = byte_at(l, at + i);
			assert_int_equal(spill_append(spill, &lists[l], data, n), 0);
		}
	}
	for (size_t l = 0; l < 2; l++) {
		uint8_t *all = spill_load(spill, &lists[l], 5);

		assert_int_equal(lists[l].len, total);
		assert_non_null(all);
		for (size_t at = 0; at < total; at++)
			assert_int_equal(all[at], byte_at(l, at));
		spill_unload(all, lists[l].len, 5);
		for (size_t at = 0; at < total; at += 97) {
			for (size_t n = 0; n <= total - at; n = n * 3 + 1) {
				assert_int_equal(spill_read(spill, &lists[l], at, back, n), 0);
				for (size_t i = 0; i < n; i++)
					assert_int_equal(back[i], byte_at(l, at + i));
			}
		}
		assert_int_equal(spill_read(spill, &lists[l], total, back, 1), TD_ERR_IO);
		assert_int_equal(spill_read(spill, &lists[l], 0, back, total + 1), TD_ERR_IO);
		spill_list_free(&lists[l]);
	}
	free(data);
	free(back);
}

static void pieces(void **state)
{
	static const size_t sizes[] = { 1, 16, 1000, 1023, 1024, 1025, 5000 };

	(void)state;
	spill_open(s, dir_fd);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fill_and_read(NULL, sizes[i], 10 * SPILL_BLOCK + 7);
		fill_and_read(s, sizes[i], 10 * SPILL_BLOCK + 7);
	}
}

/* Before there is a file, and where none can be made. */
static void without_a_file(void **state)
{
	(void)state;
	fill_and_read(s, 16, 10 * SPILL_BLOCK);
	spill_open(s, -1);
	fill_and_read(s, 16, 10 * SPILL_BLOCK);
}

/* A million pairs: what is in memory of them. */
static void little_is_in_memory(void **state)
{
	struct spill_list l = { 0 };
	uint64_t pair[2] = { 1, 2 };

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(spill_append(s, &l, pair, sizeof(pair)), 0);
	assert_true(l.tail_cap >= 16000);
	/* What was in memory goes to the file when there is one. */
	spill_open(s, dir_fd);
	for (size_t i = 0; i < 999000; i++)
		assert_int_equal(spill_append(s, &l, pair, sizeof(pair)), 0);
	assert_int_equal(l.len, 16000000);
	assert_int_equal(l.block_count, 16000000 / SPILL_BLOCK);
	assert_in_range(l.block_cap * sizeof(*l.blocks), 1, 128 * 1024);
	spill_list_free(&l);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pieces),
		TEST(without_a_file),
		TEST(little_is_in_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
