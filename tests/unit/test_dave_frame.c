/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/dave_frame.h"
#include "common/err.h"
#include "tests/unit/hex.h"

/* The generation 0 key of dave.md section 12.1, and its generation 1. */
static const char *const key_text[] = { "7530f9a9945e2d2e06d0651f7b2a864b",
	"cddd06e0f3437596bacb9c06a0329c49" };

static struct dave_frame_key *a_key(int generation)
{
	struct dave_frame_key *k;
	uint8_t key[DAVE_FRAME_KEY_LEN];

	assert_int_equal(hex(key, sizeof(key), key_text[generation]), sizeof(key));
	assert_int_equal(dave_frame_key_new(&k, key), TD_OK);
	return k;
}

static const struct {
	const char *plain, *frame;
	uint32_t nonce;
	int generation;
	size_t ranges;
	struct dave_frame_range range[2];
} spec[] = {
	{ "78aabbccdd", "438893472a b42555db2605db0b ac02 0d fafa", 300, 0, 0, { { 0, 0 } } },
	{ "78aabbccdd", "a0f69629ea 3875f3df77d25f1b 85808008 0f fafa", 0x01000005, 1, 0,
		{ { 0, 0 } } },
	{ "10111213141516171819", "1011630c400b16991f2c 02cc3050f6938374 838404 0002 0601 12 fafa",
		66051, 0, 2, { { 0, 2 }, { 6, 1 } } },
};
enum { SPECS = sizeof(spec) / sizeof(spec[0]) };

/* dave.md section 12.2, both ways. */
static void published_frames(void **state)
{
	uint8_t data[64], want[64], plain[64], sealed[64 + DAVE_FRAME_MAX_TRAILER];
	struct dave_frame f;
	size_t i, len, n, sealed_len;

	(void)state;
	for (i = 0; i < SPECS; i++) {
		struct dave_frame_key *k = a_key(spec[i].generation);

		len = hex(data, sizeof(data), spec[i].frame);
		n = hex(want, sizeof(want), spec[i].plain);
		assert_int_equal(dave_frame_parse(&f, data, len), TD_OK);
		assert_int_equal(f.media_len, n);
		assert_int_equal(f.nonce, spec[i].nonce);
		assert_int_equal(f.ranges, spec[i].ranges);
		assert_int_equal(dave_frame_open(k, plain, &f, data), TD_OK);
		assert_memory_equal(plain, want, n);
		/* Sealing in between does not disturb the key. */
		assert_int_equal(dave_frame_seal(k, sealed, &sealed_len, want, n, spec[i].nonce,
					 spec[i].range, spec[i].ranges),
			TD_OK);
		assert_int_equal(sealed_len, len);
		assert_memory_equal(sealed, data, len);
		assert_int_equal(dave_frame_open(k, plain, &f, data), TD_OK);
		assert_memory_equal(plain, want, n);
		dave_frame_key_free(k);
	}
}

/* What opens under a change of one bit: nothing, and no plaintext is left behind. */
static void every_bit_counts(void **state)
{
	uint8_t data[64], plain[64];
	static const uint8_t zeros[64];
	struct dave_frame f;
	size_t i, bit, len, opened = 0;

	(void)state;
	for (i = 0; i < SPECS; i++) {
		struct dave_frame_key *k = a_key(spec[i].generation);

		len = hex(data, sizeof(data), spec[i].frame);
		for (bit = 0; bit < len * 8; bit++) {
			data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			memset(plain, 0xee, sizeof(plain));
			if (dave_frame_parse(&f, data, len) == TD_OK) {
				assert_int_equal(dave_frame_open(k, plain, &f, data), TD_ERR_AUTH);
				assert_memory_equal(plain, zeros, f.media_len);
				opened++;
			}
			data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		for (bit = 0; bit < len; bit++) {
			uint8_t *cut = malloc(bit > 0 ? bit : 1);

			/* Exactly as long as it is, from either end. */
			memcpy(cut, data, bit);
			assert_int_equal(dave_frame_parse(&f, cut, bit), TD_ERR_MALFORMED);
			memcpy(cut, data + len - bit, bit);
			if (dave_frame_parse(&f, cut, bit) == TD_OK)
				assert_int_equal(dave_frame_open(k, plain, &f, cut), TD_ERR_AUTH);
			free(cut);
		}
		dave_frame_key_free(k);
	}
	assert_true(opened > 100);
}

static void trailers(void **state)
{
	static const char tag[] = "0000000000000000";
	static const struct {
		const char *name, *media, *rest; /* rest follows the tag */
		int want;
		uint32_t nonce, ranges;
	} cases[] = {
		{ "least", "", "00 0c fafa", TD_OK, 0, 0 },
		{ "media", "aabb", "7f 0c fafa", TD_OK, 127, 0 },
		{ "no marker", "aa", "00 0c fafb", TD_ERR_MALFORMED, 0, 0 },
		{ "half a marker", "aa", "00 0c fbfa", TD_ERR_MALFORMED, 0, 0 },
		{ "S of a frame without a nonce", "aa", "0b fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "S longer than the frame", "", "00 0d fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "S 255", "aa", "00 ff fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "S 0", "aa", "00 00 fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "nonce not ended", "aa", "80 0c fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "nonce longer than needed", "aa", "8100 0d fafa", TD_OK, 1, 0 },
		{ "nonce of 32 bits", "aa", "ffffffff0f 10 fafa", TD_OK, 0xffffffff, 0 },
		{ "nonce of more", "aa", "ffffffff7f 10 fafa", TD_OK, 0xffffffff, 0 },
		{ "nonce of ten bytes", "aa", "82808080808080808001 15 fafa", TD_OK, 2, 0 },
		{ "nonce of eleven", "aa", "8280808080808080808001 16 fafa", TD_ERR_MALFORMED, 0,
			0 },
		{ "range", "aabbcc", "00 0102 0e fafa", TD_OK, 0, 1 },
		{ "range past the media", "aabbcc", "00 0103 0e fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "range behind the media", "aabbcc", "00 0401 0e fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "offset alone", "aabbcc", "00 01 0d fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "touching", "aabbcc", "00 00010102 10 fafa", TD_OK, 0, 2 },
		{ "overlapping", "aabbcc", "00 00020101 10 fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "descending", "aabbcc", "00 01010001 10 fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "the same", "aabbcc", "00 01010101 10 fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "empty", "aabbcc", "00 01000101 10 fafa", TD_OK, 0, 1 },
		{ "empty at the end", "aabbcc", "00 0300 0e fafa", TD_OK, 0, 0 },
		{ "all clear", "aabbcc", "00 0003 0e fafa", TD_OK, 0, 1 },
		{ "offset 2^32", "aabbcc", "00 8080808010 01 12 fafa", TD_ERR_MALFORMED, 0, 0 },
		{ "offset + size is 2^64", "aabbcc", "00 01 ffffffffffffffffff01 17 fafa",
			TD_ERR_MALFORMED, 0, 0 },
		{ "offset of 70 bits", "aabbcc", "00 ffffffffffffffffff7f 01 17 fafa",
			TD_ERR_MALFORMED, 0, 0 },
	};
	uint8_t data[128], plain[128];
	struct dave_frame_key *k = a_key(0);
	struct dave_frame f;
	size_t i, n, len;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].name);
		n = hex(data, sizeof(data), cases[i].media);
		len = n + hex(data + n, sizeof(data) - n, tag);
		len += hex(data + len, sizeof(data) - len, cases[i].rest);
		assert_int_equal(dave_frame_parse(&f, data, len), cases[i].want);
		if (cases[i].want != TD_OK)
			continue;
		assert_int_equal(f.media_len, n);
		assert_int_equal(f.nonce, cases[i].nonce);
		assert_int_equal(f.ranges, cases[i].ranges);
		assert_int_equal(dave_frame_open(k, plain, &f, data), TD_ERR_AUTH);
	}
	dave_frame_key_free(k);
}

/* As many ranges as fit, each byte in its place; one more is refused. */
static void most_ranges(void **state)
{
	struct dave_frame_range range[DAVE_FRAME_MAX_RANGES + 1];
	uint8_t media[127], sealed[sizeof(media) + DAVE_FRAME_MAX_TRAILER], plain[sizeof(media)];
	struct dave_frame_key *k = a_key(0);
	struct dave_frame f;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(media); i++)
		media[i] = (uint8_t)i;
	for (i = 0; i <= DAVE_FRAME_MAX_RANGES; i++)
		range[i] = (struct dave_frame_range){ (uint32_t)i, 1 };
	assert_int_equal(dave_frame_seal(k, sealed, &len, media, sizeof(media), 5, range,
				 DAVE_FRAME_MAX_RANGES),
		TD_OK);
	assert_int_equal(len, sizeof(media) + 8 + 1 + 242 + 3);
	assert_int_equal(dave_frame_parse(&f, sealed, len), TD_OK);
	assert_int_equal(f.ranges, DAVE_FRAME_MAX_RANGES);
	assert_int_equal(dave_frame_open(k, plain, &f, sealed), TD_OK);
	assert_memory_equal(plain, media, sizeof(media));
	assert_memory_equal(sealed, media, DAVE_FRAME_MAX_RANGES);
	assert_memory_not_equal(sealed + DAVE_FRAME_MAX_RANGES, media + DAVE_FRAME_MAX_RANGES, 6);
	assert_int_equal(dave_frame_seal(k, sealed, &len, media, sizeof(media), 5, range,
				 DAVE_FRAME_MAX_RANGES + 1),
		TD_ERR_USAGE);
	range[1].offset = 0;
	assert_int_equal(dave_frame_seal(k, sealed, &len, media, sizeof(media), 5, range, 2),
		TD_ERR_USAGE);
	range[0] = (struct dave_frame_range){ sizeof(media), 1 };
	assert_int_equal(dave_frame_seal(k, sealed, &len, media, sizeof(media), 5, range, 1),
		TD_ERR_USAGE);
	dave_frame_key_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_frames),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(trailers),
		cmocka_unit_test(most_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
