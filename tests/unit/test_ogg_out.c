/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ogg/ogg.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "sinks/ogg_out.h"

/* Every byte of a stream against what libogg makes of the same packets on the same pages. */
enum { ROOM = 8 << 20, SERIAL = (int)0x9abcdef0u, FRAME = 960 };

static uint8_t *got, *want;
static size_t got_len, want_len, last_page, room;

static int out_append(void *user, const void *data, size_t len)
{
	size_t n = len < room - got_len ? len : room - got_len;

	(void)user;
	assert_true(n <= ROOM - got_len);
	memcpy(got + got_len, data, n);
	got_len += n;
	return n == len ? TD_OK : TD_SINK_ERR_IO;
}

static int out_patch(void *user, uint64_t at, const void *data, size_t len)
{
	(void)user;
	assert_true(at <= got_len && len <= got_len - at);
	memcpy(got + at, data, len);
	return TD_OK;
}

static uint64_t out_length(void *user)
{
	(void)user;
	return got_len;
}

static const struct td_output out = {
	.size = sizeof(out),
	.append = out_append,
	.patch = out_patch,
	.length = out_length,
};

static int setup(void **state)
{
	(void)state;
	got = malloc(ROOM);
	want = malloc(ROOM);
	got_len = want_len = last_page = 0;
	room = ROOM;
	return got != NULL && want != NULL ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(got);
	free(want);
	return 0;
}

static uint32_t noise = 1;

static uint32_t rnd(uint32_t below)
{
	noise = noise * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)noise * below >> 32);
}

/* ---- libogg ---- */

static ogg_stream_state stream;
static uint32_t page_samples, page_segments;
static uint64_t samples_in;

static void lib_page(void)
{
	ogg_page page;

	while (ogg_stream_flush_fill(&stream, &page, 255 * 255 + 1) != 0) {
		last_page = want_len;
		assert_true(want_len + (size_t)(page.header_len + page.body_len) <= ROOM);
		memcpy(want + want_len, page.header, (size_t)page.header_len);
		want_len += (size_t)page.header_len;
		memcpy(want + want_len, page.body, (size_t)page.body_len);
		want_len += (size_t)page.body_len;
	}
	page_samples = page_segments = 0;
}

static void lib_packet(uint8_t *data, size_t len, uint32_t samples)
{
	ogg_packet p = { .packet = data, .bytes = (long)len };

	if (page_samples + samples > TD_RATE || page_segments + len / 255 + 1 > 255)
		lib_page();
	samples_in += samples;
	p.granulepos = (ogg_int64_t)samples_in;
	assert_int_equal(ogg_stream_packetin(&stream, &p), 0);
	page_samples += samples;
	page_segments += (uint32_t)(len / 255 + 1);
}

/* The page that is last in so many bytes ends the stream at `granule`. */
static void lib_end(size_t page_at, size_t len, uint64_t granule)
{
	uint8_t *p = want + page_at;
	ogg_page page = { .header = p,
		.header_len = 27 + p[26],
		.body = p + 27 + p[26],
		.body_len = (long)(len - page_at) - 27 - p[26] };

	p[5] |= 4;
	for (int i = 0; i < 8; i++)
		p[6 + i] = (uint8_t)(granule >> (8 * i));
	ogg_page_checksum_set(&page);
}

/* ---- both ---- */

/* Packets of a size: 1 to 255 * 254 bytes, often at a multiple of 255 and beside it. */
static size_t length(uint32_t small)
{
	size_t len =
		rnd(8) == 0 ? 255 * (1 + rnd(rnd(4) == 0 ? 254 : 3)) + rnd(3) - 1 : 1 + rnd(small);

	return len < OGG_OUT_PACKET_MAX ? len : OGG_OUT_PACKET_MAX;
}

static void as_libogg_makes_them(void **state)
{
	static const uint32_t samples[] = { 120, 240, 480, FRAME, 1920, 2880, 5760 };
	static uint8_t data[OGG_OUT_PACKET_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)rnd(256);
	for (int round = 0; round < 200; round++) {
		uint32_t count = 1 + rnd(400), small = round % 2 == 0 ? 200 : 1300;
		uint64_t total, stored;
		struct ogg_out *o;

		got_len = want_len = samples_in = 0;
		page_samples = page_segments = 0;
		assert_int_equal(ogg_out_new(&o, &out, (uint32_t)SERIAL), 0);
		assert_int_equal(ogg_stream_init(&stream, SERIAL), 0);
		for (int header = 0; header < 2; header++) {
			size_t len = length(200);

			assert_int_equal(ogg_out_header(o, data, len), 0);
			lib_packet(data, len, 0);
			lib_page();
		}
		for (uint32_t i = 0; i < count; i++) {
			size_t len = length(small), at = rnd((uint32_t)(sizeof(data) - len + 1));
			uint32_t n = samples[rnd(3) == 0 ? rnd(7) : 3];

			if (want_len > ROOM - 2 * OGG_OUT_PACKET_MAX)
				break;
			assert_int_equal(ogg_out_packet(o, data + at, len, n), 0);
			lib_packet(data + at, len, n);
			if (rnd(20) == 0) {
				assert_int_equal(ogg_out_flush(o), 0);
				lib_page();
			}
		}
		lib_page();
		assert_int_equal(ogg_out_samples(o), samples_in);
		total = samples_in - rnd(120);
		assert_int_equal(ogg_out_finish(o, total, &stored), 0);
		assert_int_equal(stored, total);
		lib_end(last_page, want_len, total);
		assert_int_equal(got_len, want_len);
		assert_memory_equal(got, want, want_len);
		ogg_out_free(o);
		ogg_stream_clear(&stream);
	}
}

/* An output that takes no more: the last page that is there whole is the end. */
static void as_far_as_there_is_room(void **state)
{
	enum { PACKETS = 250, PAGE = 10, PAGES = PACKETS / PAGE };
	static uint8_t data[1024];

	(void)state;
	for (int round = 0; round < 500; round++) {
		size_t lens[PACKETS], ends[PAGES + 1], pages = PAGES;
		uint64_t stored;
		struct ogg_out *o;

		got_len = want_len = samples_in = 0;
		page_samples = page_segments = 0;
		assert_int_equal(ogg_stream_init(&stream, SERIAL), 0);
		lib_packet(data, 19, 0);
		lib_page();
		ends[0] = want_len;
		for (size_t i = 0; i < PACKETS; i++) {
			lens[i] = length(200) % sizeof(data) + 1;
			lib_packet(data, lens[i], FRAME);
			if (i % PAGE == PAGE - 1) {
				lib_page();
				ends[i / PAGE + 1] = want_len;
			}
		}
		ogg_stream_clear(&stream);
		room = round % 2 == 0 ? 20 + rnd(20000) : ends[rnd(PAGES)] + rnd(3) - 1;
		assert_int_equal(ogg_out_new(&o, &out, (uint32_t)SERIAL), 0);
		(void)ogg_out_header(o, data, 19);
		for (size_t i = 0; i < PACKETS; i++) {
			(void)ogg_out_packet(o, data, lens[i], FRAME);
			if (i % PAGE == PAGE - 1)
				(void)ogg_out_flush(o);
		}
		while (pages > 0 && ends[pages] > room)
			pages--;
		(void)ogg_out_finish(o, UINT64_MAX, &stored);
		assert_int_equal(stored, pages * PAGE * FRAME);
		if (pages > 0)
			lib_end(ends[pages - 1], ends[pages], stored);
		assert_int_equal(got_len, room < want_len ? room : want_len);
		assert_memory_equal(got, want, got_len);
		ogg_out_free(o);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(as_libogg_makes_them),
		TEST(as_far_as_there_is_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
