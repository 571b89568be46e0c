/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/err.h"
#include "common/mls/mls_codec.h"

struct header_case {
	uint8_t bytes[5];
	size_t len;
	bool good;
	uint32_t value;
};

/* Section 2.1.2: the shortest of three forms, and nothing else. */
static void length_headers(void **state)
{
	static const struct header_case rows[] = {
		{ { 0x00 }, 1, true, 0 },
		{ { 0x3f }, 1, true, 63 },
		{ { 0x40, 0x40 }, 2, true, 64 },
		{ { 0x7f, 0xff }, 2, true, 16383 },
		{ { 0x80, 0x00, 0x40, 0x00 }, 4, true, 16384 },
		{ { 0xbf, 0xff, 0xff, 0xff }, 4, true, MLS_VEC_MAX },
		{ { 0 }, 0, false, 0 },
		{ { 0x40 }, 1, false, 0 },
		{ { 0x80, 0x00 }, 2, false, 0 },
		{ { 0x80, 0x00, 0x40 }, 3, false, 0 },
		{ { 0x40, 0x00 }, 2, false, 0 },
		{ { 0x40, 0x3f }, 2, false, 0 },
		{ { 0x80, 0x00, 0x00, 0x3f }, 4, false, 0 },
		{ { 0x80, 0x00, 0x3f, 0xff }, 4, false, 0 },
		{ { 0xc0, 0x00, 0x00, 0x00 }, 4, false, 0 },
		{ { 0xff, 0xff, 0xff, 0xff }, 4, false, 0 },
	};
	uint8_t out[8];
	struct rd r;
	struct wr w;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rd_init(&r, rows[i].bytes, rows[i].len);
		assert_int_equal(mls_rd_varint(&r), rows[i].value);
		assert_int_equal(r.bad, !rows[i].good);
		if (!rows[i].good)
			continue;
		assert_true(rd_done(&r));
		wr_init(&w, out, sizeof(out));
		mls_wr_varint(&w, rows[i].value);
		assert_int_equal(w.len, rows[i].len);
		assert_int_equal(mls_varint_size(rows[i].value), rows[i].len);
		assert_memory_equal(out, rows[i].bytes, w.len);
	}
	wr_init(&w, out, sizeof(out));
	mls_wr_varint(&w, (size_t)MLS_VEC_MAX + 1);
	assert_true(w.bad);
}

static void vectors_stay_inside(void **state)
{
	static const uint8_t bytes[] = { 2, 0xaa, 0xbb, 3, 0xcc };
	struct mls_span s;
	struct rd inner;
	struct rd r;

	(void)state;
	rd_init(&r, bytes, sizeof(bytes));
	s = mls_rd_vec(&r);
	assert_int_equal(s.len, 2);
	assert_ptr_equal(s.p, bytes + 1);
	s = mls_rd_vec(&r); /* says 3, has 1 */
	assert_true(r.bad);
	assert_int_equal(s.len, 0);

	rd_init(&r, bytes, sizeof(bytes));
	inner = mls_rd_open(&r);
	assert_int_equal(rd_u8(&inner), 0xaa);
	mls_rd_close(&r, &inner); /* a byte of it is left */
	assert_true(r.bad);

	rd_init(&r, bytes, 3);
	inner = mls_rd_open(&r);
	assert_int_equal(rd_u16(&inner), 0xaabb);
	mls_rd_close(&r, &inner);
	assert_true(rd_done(&r));

	rd_init(&r, bytes + 3, 2);
	inner = mls_rd_open(&r);
	assert_true(inner.bad);
	mls_rd_close(&r, &inner);
	assert_true(r.bad);

	rd_init(&r, NULL, 0);
	inner = mls_rd_open(&r);
	assert_true(inner.bad);
}

static void optional_is_zero_or_one(void **state)
{
	static const uint8_t bytes[] = { 0, 1, 2 };
	struct rd r;

	(void)state;
	rd_init(&r, bytes, sizeof(bytes));
	assert_false(mls_rd_present(&r));
	assert_true(mls_rd_present(&r));
	assert_false(r.bad);
	assert_false(mls_rd_present(&r));
	assert_true(r.bad);
}

/* The header of a vector written backwards, at every size where its length changes. */
static void open_vectors(void **state)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 16383, 16384 };
	uint8_t *out = malloc(20000);
	struct mls_span s;
	struct rd r;
	struct wr w;
	size_t mark;
	size_t i;
	size_t k;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		wr_init(&w, out, sizes[i] + 1 + mls_varint_size(sizes[i]));
		wr_u8(&w, 7);
		mark = mls_wr_open(&w);
		for (k = 0; k < sizes[i]; k++)
			wr_u8(&w, (uint8_t)k);
		mls_wr_close(&w, mark);
		assert_false(w.bad);
		rd_init(&r, out, w.len);
		assert_int_equal(rd_u8(&r), 7);
		s = mls_rd_vec(&r);
		assert_true(rd_done(&r));
		assert_int_equal(s.len, sizes[i]);
		for (k = 0; k < s.len; k++)
			assert_int_equal(s.p[k], (uint8_t)k);
		wr_init(&w, out, sizes[i] + mls_varint_size(sizes[i]) - 1);
		mark = mls_wr_open(&w);
		wr_zeros(&w, sizes[i]);
		mls_wr_close(&w, mark);
		assert_true(w.bad); /* no room for the header */
	}
	free(out);
}

static void extension_lists(void **state)
{
	static const uint8_t good[] = { 0, 5, 2, 0xab, 0xcd, 0xff, 0xff, 0 };
	static const uint8_t twice[] = { 0, 5, 0, 0, 6, 0, 0, 5, 0 };
	static const uint8_t cut[] = { 0, 5, 2, 0xab };
	uint8_t many[3 * (MLS_EXT_MAX + 1)];
	struct mls_span data;
	size_t i;

	(void)state;
	assert_int_equal(mls_ext_check(mls_span(good, sizeof(good))), 0);
	assert_true(mls_ext_find(mls_span(good, sizeof(good)), 5, &data));
	assert_int_equal(data.len, 2);
	assert_true(mls_ext_find(mls_span(good, sizeof(good)), 0xffff, &data));
	assert_false(mls_ext_find(mls_span(good, sizeof(good)), 6, &data));
	assert_int_equal(mls_ext_check(mls_span(twice, sizeof(twice))), TD_ERR_MALFORMED);
	assert_int_equal(mls_ext_check(mls_span(cut, sizeof(cut))), TD_ERR_MALFORMED);
	assert_int_equal(mls_ext_check(mls_span(cut, 1)), TD_ERR_MALFORMED);
	assert_int_equal(mls_ext_check(mls_span(NULL, 0)), 0);
	for (i = 0; i <= MLS_EXT_MAX; i++) {
		many[3 * i] = 0;
		many[3 * i + 1] = (uint8_t)i;
		many[3 * i + 2] = 0;
	}
	assert_int_equal(mls_ext_check(mls_span(many, 3 * MLS_EXT_MAX)), 0);
	assert_int_equal(mls_ext_check(mls_span(many, sizeof(many))), TD_ERR_LIMIT);
}

static void lists_of_numbers(void **state)
{
	static const uint8_t list[] = { 0, 2, 0x0a, 0x0a, 0, 1 };

	(void)state;
	assert_true(mls_u16s_have(mls_span(list, 6), 2));
	assert_true(mls_u16s_have(mls_span(list, 6), 1));
	assert_false(mls_u16s_have(mls_span(list, 6), 0x020a)); /* not across elements */
	assert_false(mls_u16s_have(mls_span(NULL, 0), 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(length_headers),
		cmocka_unit_test(vectors_stay_inside),
		cmocka_unit_test(optional_is_zero_or_one),
		cmocka_unit_test(open_vectors),
		cmocka_unit_test(extension_lists),
		cmocka_unit_test(lists_of_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
