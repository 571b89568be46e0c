/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/clock.h"
#include "common/dave_ratchet.h"
#include "common/err.h"
#include "tests/unit/hex.h"

enum { MAX = 4096 };
#define T0 TD_REPLAY_BASE_NS
/* When generation g becomes possible: 2^24 frames each at 170 a second, in whole seconds. */
#define AGE(g) ((((uint64_t)(g) << 24) + 169) / 170 * TD_SEC_NS)

static const char base_text[] = "cedd61b1b8a1ca69046554282cf70b7b";

/* A receiver's ratchet, and what its sender has. */
struct pair {
	uint8_t base[DAVE_RATCHET_BASE_LEN], secret[DAVE_RATCHET_SECRET_LEN];
	struct dave_ratchet *r;
};

static void pair_init(struct pair *p, const char *base)
{
	memset(p, 0, sizeof(*p));
	assert_int_equal(hex(p->base, sizeof(p->base), base), sizeof(p->base));
	memcpy(p->secret, p->base, sizeof(p->base));
	assert_int_equal(dave_ratchet_new(&p->r, p->secret, T0), TD_OK);
}

static void pair_free(struct pair *p)
{
	static const uint8_t zeros[DAVE_RATCHET_SECRET_LEN];

	dave_ratchet_free(p->r);
	assert_memory_equal(p->secret, zeros, sizeof(zeros));
}

/* Sends the frame of a counter, generation and all. */
static int pass(struct pair *p, uint64_t counter, uint64_t now_ns)
{
	static const uint8_t media[] = { 0x78, 1, 2, 3, 4, 5, 6, 7, 8 }, zeros[sizeof(media)];
	uint8_t key[DAVE_FRAME_KEY_LEN], sealed[MAX], plain[MAX] = { 0 };
	struct dave_frame_key *k;
	struct dave_frame f;
	size_t len;
	int e;

	dave_ratchet_key(key, p->base, 0, (uint32_t)(counter >> 24));
	assert_int_equal(dave_frame_key_new(&k, key), TD_OK);
	assert_int_equal(dave_frame_seal(k, sealed, &len, media, sizeof(media), (uint32_t)counter,
				 NULL, 0),
		TD_OK);
	dave_frame_key_free(k);
	assert_int_equal(dave_frame_parse(&f, sealed, len), TD_OK);
	e = dave_ratchet_open(p->r, plain, &f, sealed, now_ns, false);
	assert_memory_equal(plain, e == TD_OK ? media : zeros, sizeof(media));
	return e;
}

#define GENERATION(g) ((uint64_t)(g) << 24)

/* dave.md section 12.1. */
static void published_keys(void **state)
{
	static const struct {
		uint32_t generation;
		const char *key;
	} cases[] = {
		{ 0, "7530f9a9945e2d2e06d0651f7b2a864b" },
		{ 1, "cddd06e0f3437596bacb9c06a0329c49" },
		{ 2, "651f0856cc3dbd6496079901a6b56d4d" },
		{ 255, "440c48006e759f606fbffad86c5071c8" },
	};
	uint8_t base[16], want[16], key[16];
	size_t i;

	(void)state;
	hex(base, sizeof(base), base_text);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		hex(want, sizeof(want), cases[i].key);
		dave_ratchet_key(key, base, 0, cases[i].generation);
		assert_memory_equal(key, want, sizeof(key));
	}
}

static void generations_unwrap(void **state)
{
	(void)state;
	assert_int_equal(dave_ratchet_unwrap(0, 5), 5);
	assert_int_equal(dave_ratchet_unwrap(1, 0), 256);
	assert_int_equal(dave_ratchet_unwrap(255, 0), 256);
	assert_int_equal(dave_ratchet_unwrap(256, 0), 256);
	assert_int_equal(dave_ratchet_unwrap(257, 0), 512);
	assert_int_equal(dave_ratchet_unwrap(UINT32_MAX, 0), (uint64_t)1 << 32);
}

static const char *string_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	assert_non_null(s);
	return s;
}

/* A recorded frame under a fresh ratchet, old enough for every generation of the file. */
static int recorded_open(const json_t *file, const json_t *o, uint8_t *plain, size_t *ret_len)
{
	const char *text = string_of(o, "encrypted");
	uint8_t data[MAX];
	size_t len = hex(data, sizeof(data), text);
	struct dave_frame f;
	struct pair p;
	int e;

	if ((e = dave_frame_parse(&f, data, len)) != TD_OK)
		return e;
	pair_init(&p, string_of(file, "base_secret"));
	e = dave_ratchet_open(p.r, plain, &f, data, T0 + AGE(3), false);
	*ret_len = f.media_len;
	pair_free(&p);
	return e;
}

/* Every key and frame of frames.json. */
static void recorded_frames(void **state)
{
	json_t *file = json_load_file("tests/vectors/dave/frames.json", 0, NULL), *o;
	uint8_t base[16], want[MAX], got[MAX];
	size_t i, n, len;

	(void)state;
	assert_non_null(file);
	hex(base, sizeof(base), string_of(file, "base_secret"));
	json_array_foreach(json_object_get(file, "keys"), i, o)
	{
		json_int_t g = json_integer_value(json_object_get(o, "generation"));

		hex(want, sizeof(want), string_of(o, "key"));
		dave_ratchet_key(got, base, 0, (uint32_t)g);
		assert_memory_equal(got, want, 16);
	}
	assert_true(i >= 8);
	json_array_foreach(json_object_get(file, "frames"), i, o)
	{
		n = hex(want, sizeof(want), string_of(o, "plain"));
		assert_int_equal(recorded_open(file, o, got, &len), TD_OK);
		assert_int_equal(len, n);
		assert_memory_equal(got, want, n);
	}
	assert_true(i >= 10);
	json_array_foreach(json_object_get(file, "must_not_decrypt"), i, o)
		assert_int_not_equal(recorded_open(file, o, got, &len), TD_OK);
	assert_true(i > 0);
	json_array_foreach(json_object_get(file, "not_protocol_frames"), i, o)
	{
		struct dave_frame f;

		n = hex(want, sizeof(want), string_of(o, "data"));
		assert_int_equal(dave_frame_parse(&f, want, n), TD_ERR_MALFORMED);
	}
	assert_true(i > 0);
	json_decref(file);
}

static void a_nonce_opens_once(void **state)
{
	struct pair p;
	uint64_t n;

	(void)state;
	pair_init(&p, base_text);
	assert_int_equal(pass(&p, 5000, T0), TD_OK);
	assert_int_equal(pass(&p, 5000, T0), TD_ERR_DUPLICATE);
	/* Below the first: as far as the window goes, in any order, once each. */
	assert_int_equal(pass(&p, 5000 - 1024, T0), TD_ERR_DUPLICATE);
	for (n = 5000 - 1023; n < 5000; n++)
		assert_int_equal(pass(&p, n, T0), TD_OK);
	for (n = 5000 - 1023; n <= 5000; n++)
		assert_int_equal(pass(&p, n, T0), TD_ERR_DUPLICATE);
	/* A jump inside the window leaves the skipped ones free; the slots of old ones are new. */
	assert_int_equal(pass(&p, 5600, T0), TD_OK);
	assert_int_equal(pass(&p, 5000, T0), TD_ERR_DUPLICATE);
	for (n = 5001; n < 5600; n++)
		assert_int_equal(pass(&p, n, T0), TD_OK);
	assert_int_equal(pass(&p, 5001, T0), TD_ERR_DUPLICATE);
	/* A jump by exactly the window, and by more. */
	assert_int_equal(pass(&p, 5600 + 1024, T0), TD_OK);
	assert_int_equal(pass(&p, 5600, T0), TD_ERR_DUPLICATE);
	assert_int_equal(pass(&p, 5601, T0), TD_OK);
	assert_int_equal(pass(&p, 900000, T0), TD_OK);
	assert_int_equal(pass(&p, 900000 - 1023, T0), TD_OK);
	assert_int_equal(pass(&p, 900000 - 1024, T0), TD_ERR_DUPLICATE);
	assert_int_equal(pass(&p, 0, T0), TD_ERR_DUPLICATE);
	pair_free(&p);
}

/* Another one goes on in its place. */
static void used_nonces_are_taken_over(void **state)
{
	struct dave_nonces used = { 0 };
	struct pair p;

	(void)state;
	pair_init(&p, base_text);
	dave_ratchet_set_used(p.r, &used);
	assert_int_equal(pass(&p, 0, T0), TD_OK);
	pair_free(&p);

	dave_nonces_add(&used, 0);
	assert_true(dave_nonces_used(&used, 0));
	assert_false(dave_nonces_used(&used, 1));
	dave_nonces_add(&used, 5000);
	dave_nonces_add(&used, 4990);
	dave_nonces_add(&used, 100); /* out of the window: it is used as it is */
	pair_init(&p, base_text);
	dave_ratchet_set_used(p.r, &used);
	assert_int_equal(pass(&p, 0, T0), TD_ERR_DUPLICATE);
	assert_int_equal(pass(&p, 5000 - 1024, T0), TD_ERR_DUPLICATE);
	assert_int_equal(pass(&p, 5000, T0), TD_ERR_DUPLICATE);
	assert_int_equal(pass(&p, 4990, T0), TD_ERR_DUPLICATE);
	/* An honest one that was overtaken, in the window, and the next. */
	assert_int_equal(pass(&p, 4999, T0), TD_OK);
	assert_int_equal(dave_ratchet_last(p.r), 4999);
	assert_int_equal(pass(&p, 5000 - 1023, T0), TD_OK);
	assert_int_equal(pass(&p, 5001, T0), TD_OK);
	assert_int_equal(pass(&p, 4999, T0), TD_ERR_DUPLICATE);
	pair_free(&p);
}

/* Zero and one are first nonces in use. */
static void begins_at_zero_or_one(void **state)
{
	struct pair p;

	(void)state;
	pair_init(&p, base_text);
	assert_int_equal(pass(&p, 1, T0), TD_OK);
	assert_int_equal(pass(&p, 0, T0), TD_OK);
	assert_int_equal(pass(&p, 0, T0), TD_ERR_DUPLICATE);
	pair_free(&p);
}

static void generations_have_bounds(void **state)
{
	struct pair p;
	uint32_t g;

	(void)state;
	pair_init(&p, base_text);
	assert_int_equal(pass(&p, GENERATION(1), T0 - 5), TD_ERR_LIMIT);
	for (g = 1; g < 4; g++) {
		assert_int_equal(pass(&p, GENERATION(g), T0 + AGE(g) - 1), TD_ERR_LIMIT);
		assert_int_equal(pass(&p, GENERATION(g), T0 + AGE(g)), TD_OK);
	}
	pair_free(&p);
	/* 250 ahead of the newest, however old. */
	pair_init(&p, base_text);
	assert_int_equal(pass(&p, GENERATION(251), T0 + AGE(600)), TD_ERR_LIMIT);
	assert_int_equal(pass(&p, GENERATION(250), T0 + AGE(600)), TD_OK);
	/* g8 0 may be generation 256 as soon as 1 is the oldest, not before. */
	assert_int_equal(pass(&p, 1, T0 + AGE(600)), TD_ERR_DUPLICATE);
	assert_int_equal(pass(&p, GENERATION(256), T0 + AGE(600) + 10 * TD_SEC_NS), TD_OK);
	assert_int_equal(pass(&p, GENERATION(500), T0 + AGE(600) + 21 * TD_SEC_NS), TD_OK);
	pair_free(&p);
}

/* The sender of before: ten seconds after the newer one opened something, and not longer. */
static void old_generations_expire(void **state)
{
	struct pair p;
	uint8_t key[16], want[16];
	uint64_t t = T0 + AGE(5);

	(void)state;
	pair_init(&p, base_text);
	assert_int_equal(pass(&p, GENERATION(1) - 3, t), TD_OK);
	assert_int_equal(pass(&p, GENERATION(1), t), TD_OK);
	assert_int_equal(pass(&p, GENERATION(1) - 2, t + 10 * TD_SEC_NS - 1), TD_OK);
	assert_memory_equal(p.secret, p.base, sizeof(p.base));
	assert_int_equal(pass(&p, GENERATION(1) - 1, t + 10 * TD_SEC_NS), TD_ERR_LIMIT);
	assert_memory_not_equal(p.secret, p.base, sizeof(p.base));
	dave_ratchet_key(key, p.secret, 1, 3);
	dave_ratchet_key(want, p.base, 0, 3);
	assert_memory_equal(key, want, sizeof(key));
	/* Two newer ones at once, then each its time. */
	t += 20 * TD_SEC_NS;
	assert_int_equal(pass(&p, GENERATION(2), t), TD_OK);
	assert_int_equal(pass(&p, GENERATION(3), t + 2 * TD_SEC_NS), TD_OK);
	assert_int_equal(pass(&p, GENERATION(3) - 1, t + 3 * TD_SEC_NS), TD_OK);
	/* Its key is there, its nonce is far below. */
	assert_int_equal(pass(&p, GENERATION(2) - 1, t + 10 * TD_SEC_NS - 1), TD_ERR_DUPLICATE);
	assert_int_equal(pass(&p, GENERATION(2) - 1, t + 10 * TD_SEC_NS), TD_ERR_LIMIT);
	assert_int_equal(pass(&p, GENERATION(3) - 2, t + 12 * TD_SEC_NS - 1), TD_OK);
	assert_int_equal(pass(&p, GENERATION(3) - 3, t + 12 * TD_SEC_NS), TD_ERR_LIMIT);
	pair_free(&p);
}

/* A frame of somebody else changes nothing, whatever its nonce. */
static void a_failure_changes_nothing(void **state)
{
	struct pair p, other;
	uint64_t t = T0 + AGE(9);

	(void)state;
	pair_init(&p, base_text);
	pair_init(&other, "00112233445566778899aabbccddeeff");
	assert_int_equal(pass(&p, 10, t), TD_OK);
	memcpy(p.base, other.base, sizeof(p.base)); /* the sender's side alone */
	assert_int_equal(pass(&p, 11, t), TD_ERR_AUTH);
	assert_int_equal(pass(&p, 10, t), TD_ERR_AUTH);
	assert_int_equal(pass(&p, 800000, t), TD_ERR_AUTH);
	assert_int_equal(pass(&p, GENERATION(7), t), TD_ERR_AUTH);
	hex(p.base, sizeof(p.base), base_text);
	assert_int_equal(pass(&p, 11, t + 30 * TD_SEC_NS), TD_OK);
	assert_int_equal(pass(&p, 9, t + 30 * TD_SEC_NS), TD_OK);
	assert_memory_equal(p.secret, p.base, sizeof(p.base));
	pair_free(&p);
	pair_free(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_keys),
		cmocka_unit_test(generations_unwrap),
		cmocka_unit_test(recorded_frames),
		cmocka_unit_test(a_nonce_opens_once),
		cmocka_unit_test(used_nonces_are_taken_over),
		cmocka_unit_test(begins_at_zero_or_one),
		cmocka_unit_test(generations_have_bounds),
		cmocka_unit_test(old_generations_expire),
		cmocka_unit_test(a_failure_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
