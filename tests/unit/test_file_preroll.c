/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/err.h"
#include "sinks/file_preroll.h"

enum { SHORT = 120, LONG = 960, HEARD_MAX = 128 };

/* What a writer was given: the number in a packet, or samples of silence as a negative one. */
static int64_t heard[HEARD_MAX];
static size_t heard_count;

static int on_packet(void *state, const struct td_packet *packet)
{
	(void)state;
	assert_true(heard_count < HEARD_MAX);
	assert_int_equal(packet->len, 1 + packet->data[0] % 7);
	heard[heard_count++] = packet->data[0];
	return TD_OK;
}

static int on_silence(void *state, uint64_t n)
{
	(void)state;
	assert_true(heard_count < HEARD_MAX);
	heard[heard_count++] = -(int64_t)n;
	return TD_OK;
}

static void give(struct file_preroll *p, uint8_t number, uint32_t samples)
{
	uint8_t data[8];
	const struct td_packet packet = { .size = sizeof(packet),
		.samples = samples,
		.len = 1 + number % 7u,
		.data = data };

	memset(data, number, sizeof(data));
	assert_int_equal(preroll_packet(p, &packet), TD_OK);
	memset(data, 0xff, sizeof(data)); /* it is not ours any more */
}

static void hear(struct file_preroll *p, uint32_t length)
{
	static const struct td_writer_ops ops = { .packet = on_packet, .silence = on_silence };

	heard_count = 0;
	assert_int_equal(preroll_write(p, length, &ops, NULL), TD_OK);
}

/* However short packets are, 80 ms of them are kept in their order, wherever the ring begins. */
static void short_packets_are_kept(void **state)
{
	(void)state;
	for (int before = 0; before < 12; before++) {
		struct file_preroll p = { 0 };

		for (int i = 0; i < before; i++)
			give(&p, 200, LONG);
		for (int i = 0; i < 40; i++)
			give(&p, (uint8_t)i, SHORT);
		hear(&p, preroll_length(&p, 0));
		assert_int_equal(heard_count, PREROLL_SAMPLES / SHORT);
		for (size_t i = 0; i < heard_count; i++)
			assert_int_equal(heard[i], 40 - heard_count + i);
		preroll_free(&p);
	}
}

/* Packets and pauses by turns, more than there is room for; what is missing is silence in front. */
static void pauses_are_kept(void **state)
{
	struct file_preroll p = { 0 };

	(void)state;
	for (int i = 0; i < 100; i++) {
		give(&p, (uint8_t)i, 20);
		assert_int_equal(preroll_silence(&p, 10), TD_OK);
		assert_int_equal(preroll_silence(&p, 10), TD_OK);
	}
	assert_int_equal(p.count, PREROLL_ITEMS);
	hear(&p, (uint32_t)p.samples + 7);
	assert_int_equal(heard_count, 1 + PREROLL_ITEMS);
	assert_int_equal(heard[0], -7);
	for (int i = 0; i < PREROLL_ITEMS; i++)
		assert_int_equal(heard[1 + i], i % 2 == 0 ? 60 + i / 2 : -20);
	preroll_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_packets_are_kept),
		cmocka_unit_test(pauses_are_kept),
	};

	return cmocka_run_group_tests_name("file_preroll", tests, NULL, NULL);
}
