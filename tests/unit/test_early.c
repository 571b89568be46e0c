/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/early.h"

static void what_comes_early_is_kept_in_order(void **state)
{
	struct early e = { 0 };
	struct early_datagram *d;
	uint8_t byte;
	int turn;

	(void)state;
	assert_true(sizeof(e) <= 64); /* each connection has two, and mostly nothing in them */
	for (turn = 0; turn < 2; turn++) {
		assert_null(early_take(&e));
		assert_int_equal(early_since_ns(&e, 5), 5);
		for (byte = 0; byte < 3; byte++)
			early_put(&e, 100u + byte, byte, &byte, 1);
		assert_int_equal(early_since_ns(&e, 5), 100);
		for (byte = 0; byte < 3; byte++) {
			d = early_take(&e);
			assert_int_equal(d->arrival_ns, 100u + byte);
			assert_int_equal(d->flags, byte);
			assert_int_equal(d->len, 1);
			assert_int_equal(d->data[0], byte);
			free(d);
		}
	}
	assert_null(early_take(&e));
}

static void the_oldest_falls_out(void **state)
{
	struct early e = { 0 };
	struct early_datagram *d;
	uint32_t i;

	(void)state;
	for (i = 0; i < 3 * EARLY_MAX + 7; i++)
		assert_int_equal(early_put(&e, i, 0, (const uint8_t *)&i, sizeof(i)),
			i >= EARLY_MAX);
	assert_int_equal(e.count, EARLY_MAX);
	d = early_take(&e);
	assert_int_equal(d->arrival_ns, 2 * EARLY_MAX + 7);
	assert_memory_equal(d->data, &(uint32_t){ 2 * EARLY_MAX + 7 }, 4);
	free(d);
	early_clear(&e);
	assert_int_equal(e.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_early_is_kept_in_order),
		cmocka_unit_test(the_oldest_falls_out),
	};

	return cmocka_run_group_tests_name("early", tests, NULL, NULL);
}
