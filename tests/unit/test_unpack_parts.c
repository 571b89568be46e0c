/* SPDX-License-Identifier: ISC */
#include <opus.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/map.h"
#include "unpacker/decoder.h"
#include "unpacker/hold.h"
#include "unpacker/reorder.h"

/* A table against a plain array, through growth and every kind of deletion. */
static void the_map_is_a_map(void **state)
{
	enum { KEYS = 3000 };
	static char values[KEYS];
	static bool there[KEYS];
	uint32_t seed = 1;
	struct map m = { 0 };
	size_t len = 0;
	int i, k;

	(void)state;
	assert_null(map_get(&m, 1));
	map_del(&m, 1);
	for (i = 0; i < 60000; i++) {
		seed = seed * 1664525 + 1013904223;
		k = (int)(seed >> 8) % KEYS;
		if (there[k]) {
			map_del(&m, (uint64_t)k << 3);
			len--;
		} else {
			assert_int_equal(map_put(&m, (uint64_t)k << 3, &values[k]), TD_OK);
			len++;
		}
		there[k] = !there[k];
		assert_int_equal(m.len, len);
		if (i % 1000 == 0) {
			for (k = 0; k < KEYS; k++)
				assert_ptr_equal(map_get(&m, (uint64_t)k << 3),
					there[k] ? &values[k] : NULL);
		}
	}
	map_free(&m);
	assert_null(map_get(&m, 8));
}

static void the_hold_drops_the_oldest(void **state)
{
	struct hold h = { 0 };
	struct packet p = { 0 }, *out;
	uint8_t data = 0;
	size_t dropped;
	int i;

	(void)state;
	p.data = &data;
	p.len = 1;
	for (i = 0; i < HOLD_MAX + 30; i++) {
		p.seq = i;
		data = (uint8_t)i;
		assert_int_equal(hold_push(&h, &p, &dropped), TD_OK);
		assert_int_equal(dropped, i >= HOLD_MAX);
	}
	for (i = 30; (out = hold_pop(&h)) != NULL; i++) {
		assert_int_equal(out->seq, i);
		assert_int_equal(out->data[0], (uint8_t)i);
		free(out);
		if (i == 60)
			break;
	}
	hold_clear(&h);
	assert_null(hold_pop(&h));
}

/* One row is one packet; `pops` are the numbers that leave after it, in hex digits. */
struct row {
	int64_t seq;
	uint64_t at;
	enum reorder_verdict want;
	const char *pops;
	int64_t lost; /* before the first that leaves */
};

static void run_rows(const struct row *rows, size_t n, uint64_t window)
{
	struct reorder r;
	size_t i;

	reorder_init(&r, window);
	for (i = 0; i < n; i++) {
		struct packet p = { .arrival_ns = rows[i].at, .spurt = 1 }, *out;
		enum reorder_verdict v = reorder_check(&r, (uint16_t)rows[i].seq, &p.seq);
		const char *pop = rows[i].pops;
		int64_t lost, first_lost = 0;

		assert_int_equal(v, rows[i].want);
		if (v == REORDER_FITS && reorder_pass(&r, &p, rows[i].at)) {
			assert_int_equal((uint16_t)p.seq % 16,
				strtol((char[]){ *pop++, 0 }, NULL, 16));
		} else if (v == REORDER_FITS) {
			assert_int_equal(reorder_put(&r, &p), TD_OK);
		}
		while ((out = reorder_pop(&r, rows[i].at, &lost)) != NULL) {
			assert_true(*pop != '\0');
			assert_int_equal((uint16_t)out->seq % 16,
				strtol((char[]){ *pop++, 0 }, NULL, 16));
			if (first_lost == 0)
				first_lost = lost;
			free(out);
		}
		assert_int_equal(*pop, '\0');
		assert_int_equal(first_lost, rows[i].lost);
	}
	reorder_free(&r);
}

static void reorder_rows(void **state)
{
	static const struct row over_the_wrap[] = {
		{ 65534, 0, REORDER_FITS, "e", 0 },
		{ 0, 1, REORDER_FITS, "", 0 },
		{ 1, 2, REORDER_FITS, "", 0 },
		{ 0, 3, REORDER_DUPLICATE, "", 0 },
		{ 65535, 4, REORDER_FITS, "f01", 0 },
		{ 65535, 5, REORDER_DUPLICATE, "", 0 },
		{ 65533, 5, REORDER_LATE, "", 0 },
		{ 4, 6, REORDER_FITS, "", 0 },
		{ 6, 7, REORDER_FITS, "", 0 },
		{ 7, 16, REORDER_FITS, "4", 2 },
		{ 8, 17, REORDER_FITS, "678", 1 },
		{ 2, 18, REORDER_LATE, "", 0 },
		{ 5, 18, REORDER_LATE, "", 0 },
		{ 4, 18, REORDER_DUPLICATE, "", 0 },
		{ 8 + 512, 19, REORDER_FITS, "", 0 },
		{ 8 + 512 + 513, 20, REORDER_FAR, "", 0 },
		{ 65536 - 600, 20, REORDER_FAR, "", 0 },
		{ 30000, 20, REORDER_FAR, "", 0 },
	};
	static const struct row no_window[] = {
		{ 10, 0, REORDER_FITS, "a", 0 },
		{ 12, 1, REORDER_FITS, "c", 1 },
		{ 11, 1, REORDER_LATE, "", 0 },
		{ 13, 1, REORDER_FITS, "d", 0 },
	};

	(void)state;
	run_rows(over_the_wrap, sizeof(over_the_wrap) / sizeof(over_the_wrap[0]), 10);
	run_rows(no_window, sizeof(no_window) / sizeof(no_window[0]), 0);
}

/* As many as a window holds, in any order, from any first one on. */
static void whatever_waits_leaves_in_order(void **state)
{
	uint32_t seed = 1;

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		unsigned span = 1 + round * 37 % REORDER_SLOTS, left = 0, at;
		int64_t base = 65000 + (int64_t)round * 7, lost, seq;
		bool waits[REORDER_SLOTS] = { 0 };
		struct packet p = { 0 }, *out;
		struct reorder r;

		reorder_init(&r, 1000);
		for (unsigned i = 0; i < 3 * span; i++) {
			seed = seed * 1664525 + 1013904223;
			at = (seed >> 8) % span;
			p.ts = at;
			assert_int_equal(reorder_check(&r, (uint16_t)(base + at), &p.seq),
				waits[at] ? REORDER_DUPLICATE : REORDER_FITS);
			assert_int_equal((uint16_t)p.seq, (uint16_t)(base + at));
			if (waits[at]) {
				assert_int_equal(reorder_at(&r, p.seq)->ts, at);
				continue;
			}
			assert_int_equal(reorder_put(&r, &p), TD_OK);
			waits[at] = true;
			left++;
		}
		for (at = 0; left > 0; at++) {
			if (!waits[at])
				continue;
			out = reorder_pop(&r, REORDER_NEVER, &lost);
			assert_non_null(out);
			assert_int_equal(out->ts, at);
			free(out);
			left--;
		}
		assert_null(reorder_pop(&r, REORDER_NEVER, &lost));
		assert_int_equal(reorder_check(&r, (uint16_t)(base + at - 1), &seq),
			REORDER_DUPLICATE);
		assert_ptr_equal(r.slot, r.few);
		reorder_free(&r);
	}
}

static void a_hold_keeps_its_spurt_and_no_other(void **state)
{
	struct reorder r;
	struct packet p = { .arrival_ns = 0, .spurt = 1, .seq = 10 }, *out;
	int64_t lost;

	(void)state;
	reorder_init(&r, 100);
	assert_int_equal(reorder_due(&r), REORDER_NEVER);
	assert_true(!reorder_pass(&r, &p, 0));
	reorder_put(&r, &p);
	free(reorder_pop(&r, 0, &lost));
	p.seq = 12; /* behind a gap since 50 */
	p.arrival_ns = 50;
	reorder_put(&r, &p);
	assert_null(reorder_pop(&r, 50, &lost));
	assert_int_equal(reorder_due(&r), 150);
	reorder_hold(&r, 2, 200);
	p.seq = 13; /* a new spurt, held past the other one's time */
	p.arrival_ns = 140;
	p.spurt = 2;
	reorder_put(&r, &p);
	assert_null(reorder_pop(&r, 149, &lost));
	assert_int_equal(reorder_due(&r), 150);
	out = reorder_pop(&r, 150, &lost);
	assert_non_null(out);
	assert_int_equal(out->seq, 12);
	assert_int_equal(lost, 1);
	free(out);
	assert_null(reorder_pop(&r, 150, &lost));
	assert_int_equal(reorder_due(&r), 200);
	assert_true(reorder_holds(&r, 199));
	out = reorder_pop(&r, 200, &lost);
	assert_non_null(out);
	free(out);
	assert_int_equal(reorder_due(&r), REORDER_NEVER);
	reorder_free(&r);
}

/* A decoder from the pool is as good as new, and so is one beside it. */
static void a_used_decoder_is_as_new(void **state)
{
	struct decoder_pool pool = { 0 };
	struct decoder *used, *fresh, *other, *many[DECODER_POOL_MAX + 2];
	uint8_t packet[400];
	int16_t pcm[960 * 2], again[960 * 2];
	OpusEncoder *enc;
	int e, k, i, len;

	(void)state;
	enc = opus_encoder_create(48000, 2, OPUS_APPLICATION_AUDIO, &e);
	assert_int_equal(decoder_get(&used, &pool, 2), TD_OK);
	for (k = 0; k < 20; k++) {
		for (i = 0; i < 960 * 2; i++)
			pcm[i] = (int16_t)((i * 7919 + k * 104729) % 16001 - 8000);
		len = opus_encode(enc, pcm, 960, packet, sizeof(packet));
		assert_int_equal(decoder_decode(used, pcm, 960, packet, (size_t)len), TD_OK);
	}
	assert_int_equal(decoder_conceal(used, pcm, 960), TD_OK);
	decoder_put(&pool, used);
	assert_int_equal(decoder_get(&fresh, &pool, 1), TD_OK); /* not that one */
	assert_ptr_not_equal(fresh, used);
	decoder_put(&pool, fresh);
	assert_int_equal(decoder_get(&used, &pool, 2), TD_OK);
	assert_int_equal(pool.len, 1);
	assert_int_equal(decoder_get(&other, &pool, 2), TD_OK);
	{
		OpusDecoder *plain = opus_decoder_create(48000, 2, &e);

		for (k = 0; k < 5; k++) {
			assert_int_equal(opus_decode(plain, packet, len, again, 960, 0), 960);
			assert_int_equal(decoder_decode(used, pcm, 960, packet, (size_t)len),
				TD_OK);
			assert_memory_equal(pcm, again, sizeof(pcm));
			assert_int_equal(decoder_decode(other, pcm, 960, packet, (size_t)len),
				TD_OK);
			assert_memory_equal(pcm, again, sizeof(pcm));
		}
		opus_decoder_destroy(plain);
	}
	/* Not the size it was said to be. */
	assert_int_equal(decoder_decode(used, pcm, 480, packet, (size_t)len), TD_ERR_MALFORMED);
	decoder_put(&pool, used);
	decoder_put(&pool, other);
	for (i = 0; i < DECODER_POOL_MAX + 2; i++)
		assert_int_equal(decoder_get(&many[i], &pool, 2), TD_OK);
	for (i = 0; i < DECODER_POOL_MAX + 2; i++)
		decoder_put(&pool, many[i]);
	assert_int_equal(pool.len, DECODER_POOL_MAX);
	decoder_put(&pool, NULL);
	decoder_pool_free(&pool);
	opus_encoder_destroy(enc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_map_is_a_map),
		cmocka_unit_test(the_hold_drops_the_oldest),
		cmocka_unit_test(reorder_rows),
		cmocka_unit_test(whatever_waits_leaves_in_order),
		cmocka_unit_test(a_hold_keeps_its_spurt_and_no_other),
		cmocka_unit_test(a_used_decoder_is_as_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
