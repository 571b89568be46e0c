/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <opus.h>
#include <sndfile.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/err.h"
#include "common/opus_packet.h"
#define READ_CHECK(x) assert_true(x)
#include "sinks/ogg_out.h"
#include "sinks/opus_headers.h"
#include "sinks/opus_writer.h"
#include "tests/unit/ogg_read.h"

enum { RATE = 48000, FRAME = 960, PRE_SKIP = 480, HOUR = 3600 * RATE };

static struct mem mem;
static struct td_output out;
static struct td_writer_conf conf;
static const char *options[] = { "bitrate", "", NULL };
static void *writer;

static int setup(void **state)
{
	(void)state;
	out = mem_output(&mem);
	options[1] = "";
	conf = (struct td_writer_conf){
		.size = sizeof(conf),
		.source = TD_WANT_OPUS,
		.channels = 2,
		.rate = RATE,
		.options = options,
	};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(mem.data);
	return 0;
}

/* The same again, into a file of its own. */
static void again(void)
{
	free(mem.data);
	out = mem_output(&mem);
}

static void begin(void)
{
	assert_int_equal(opus_writer.open(&writer, &out, &conf), 0);
}

static uint64_t end(int result)
{
	uint64_t samples = UINT64_MAX;

	assert_int_equal(opus_writer.close(writer, &samples), result);
	return samples;
}

static uint32_t noise = 1;

static uint32_t rnd(uint32_t below)
{
	noise = noise * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)noise * below >> 32);
}

static int put(const uint8_t *data, size_t len, uint32_t lost)
{
	int n = opus_packet_samples(data, len);
	const struct td_packet p = { .size = sizeof(p),
		.samples = n > 0 ? (uint32_t)n : FRAME,
		.lost = lost,
		.len = (uint32_t)len,
		.data = data };

	return opus_writer.packet(writer, &p);
}

static bool is_silence(const uint8_t *p, size_t len)
{
	return len == 3 && (p[0] & 0xe7) == 0xe0 && p[1] == 0xff && p[2] == 0xfe;
}

/* ---- packets ---- */

struct sent {
	uint8_t data[400];
	size_t len;
	uint64_t at; /* its true position */
	uint32_t samples, conceal;
};

/* No filler looks like one of these, and it need not be decodable. */
static void make_packet(struct sent *s)
{
	do {
		s->len = 4 + rnd(rnd(20) == 0 ? 396 : 60);
		for (size_t i = 0; i < s->len; i++)
			s->data[i] = (uint8_t)rnd(256);
		if (rnd(8) > 0)
			s->data[0] &= 0xfc;
	} while (opus_packet_samples(s->data, s->len) < 0);
	s->samples = (uint32_t)opus_packet_samples(s->data, s->len);
}

static uint64_t make_gap(void)
{
	static const uint32_t sizes[] = { 1, 59, 60, 61, 119, 120, 121, 960, 4799, 4800, 4801 };

	switch (rnd(40)) {
	case 0:
		return rnd(RATE);
	case 1:
		return rnd(400) == 0 ? (uint64_t)HOUR + rnd(HOUR) : rnd(200);
	case 2:
		return sizes[rnd(11)];
	case 3:
		return FRAME * rnd(9);
	default:
		return 0;
	}
}

/* What of a gap has to be concealment, given its length in the file. */
static void expect_gap(const struct read_file *f, size_t from, size_t to, uint32_t lost, bool sound,
	uint8_t toc)
{
	uint32_t gap = 0, concealed = 0, want;
	size_t i;

	for (i = from; i < to; i++)
		gap += f->packets[i].samples;
	for (i = from; i < to && f->packets[i].len == 1; i++) {
		assert_int_equal(read_data(f, i)[0] & 4, toc & 4);
		concealed += f->packets[i].samples;
	}
	for (; i < to; i++)
		assert_true(is_silence(read_data(f, i), f->packets[i].len));
	want = lost < 4800 ? lost : 4800;
	want = want < gap ? want : gap;
	want -= want % 120;
	if (want > 0 && gap - want < FRAME && gap <= 4800)
		want = gap;
	if (gap == RATE) /* a grain is not fine enough to tell */
		return;
	if (gap > RATE)
		want = 0;
	assert_int_equal(concealed, sound ? want : 0);
}

/* Every packet comes back, byte for byte, in order, at its place. */
static void packets_and_positions(void **state)
{
	enum { COUNT = 100000 };
	struct sent *sent = calloc(COUNT, sizeof(*sent));
	bool *refreshed = calloc(COUNT, sizeof(*refreshed));
	uint64_t at = 0, length;
	struct read_file f;
	size_t next = 0, i, filled = 0;
	uint64_t *gaps = calloc(COUNT, sizeof(*gaps));

	(void)state;
	begin();
	for (size_t n = 0; n < COUNT; n++) {
		struct sent *s = &sent[n];

		if (n % 50 == 0 || rnd(60) == 0)
			assert_int_equal(opus_writer.refresh(writer), 0);
		make_packet(s);
		/* a gap may come in pieces, and be settled before it is over */
		gaps[n] = make_gap();
		s->conceal = rnd(3) == 0 ? 0 : (uint32_t)(gaps[n] < 20000 ? gaps[n] : 20000);
		s->conceal -= rnd(4) == 0 ? rnd(s->conceal + 1) : 0;
		assert_int_equal(opus_writer.silence(writer, gaps[n] / 2), 0);
		if (rnd(10) == 0 && gaps[n] > 1000) {
			refreshed[n] = true;
			assert_int_equal(opus_writer.refresh(writer), 0);
		}
		assert_int_equal(opus_writer.silence(writer, gaps[n] - gaps[n] / 2), 0);
		at += gaps[n];
		s->at = at;
		assert_int_equal(put(s->data, s->len, s->conceal), 0);
		at += s->samples;
	}
	length = at + 12345;
	assert_int_equal(opus_writer.silence(writer, 12345), 0);
	assert_int_equal(end(0), length);

	f = read_mem(&mem);
	assert_int_equal(f.pre_skip, PRE_SKIP);
	assert_int_equal(f.packets[0].position, -PRE_SKIP);
	assert_true(f.eos);
	assert_int_equal(f.length, length);
	for (i = 0; i < f.count && next < COUNT; i++) {
		const struct sent *s = &sent[next];
		int64_t off = f.packets[i].position - (int64_t)s->at;

		if (f.packets[i].len != s->len || memcmp(read_data(&f, i), s->data, s->len) != 0)
			continue;
		assert_in_range(off + 60, 0, 120);
		if (!refreshed[next])
			expect_gap(&f, filled, i, s->conceal, next > 0,
				next > 0 ? sent[next - 1].data[0] : 0);
		filled = i + 1;
		next++;
	}
	assert_int_equal(next, COUNT);
	for (; i < f.count; i++)
		assert_true(is_silence(read_data(&f, i), f.packets[i].len));
	assert_in_range(f.longest_page, RATE / 2, RATE);
	read_free(&f);
	free(sent);
	free(gaps);
	free(refreshed);
}

static void what_is_no_packet_is_refused(void **state)
{
	static const uint8_t good[] = { 0xfc, 1, 2, 3 }, no_frames[] = { 0xff, 0x00 },
			     long_one[] = { 0xff, 0x07, 1, 2, 3, 4, 5, 6, 7 };
	/* 100 times 254 bytes of padding */
	static uint8_t huge[40000] = { 0x1b, 0x41 };
	const struct td_packet lies = { .size = sizeof(lies),
		.samples = 480,
		.len = 4,
		.data = good };
	int16_t pcm[2] = { 0 };
	struct read_file f;

	(void)state;
	memset(huge + 2, 255, 100);
	begin();
	assert_int_equal(put(good, 4, 0), 0);
	assert_int_equal(opus_writer.silence(writer, 1000), 0);
	assert_int_equal(put(good, 0, 960), TD_SINK_ERR_UNSUPPORTED);
	assert_int_equal(put(no_frames, 2, 960), TD_SINK_ERR_UNSUPPORTED);
	assert_int_equal(put(long_one, 9, 960), TD_SINK_ERR_UNSUPPORTED);
	assert_int_equal(put(huge, sizeof(huge), 960), TD_SINK_ERR_UNSUPPORTED);
	assert_int_equal(opus_writer.packet(writer, &lies), TD_SINK_ERR_UNSUPPORTED);
	assert_int_equal(opus_writer.write(writer, pcm, 1), TD_SINK_ERR_USAGE);
	assert_int_equal(opus_writer.silence(writer, UINT64_MAX), TD_SINK_ERR_LIMIT);
	assert_int_equal(opus_writer.silence(writer, UINT64_MAX / 2), TD_SINK_ERR_LIMIT);
	assert_int_equal(put(huge, 25600, 0), 0); /* long, and an Opus packet */
	assert_int_equal(end(0), FRAME + 1000 + 2880);
	f = read_mem(&mem);
	assert_int_equal(f.packets[f.count - 2].len, 25600);
	assert_int_equal(f.length, FRAME + 1000 + 2880);
	read_free(&f);
}

static void refresh_is_valid_and_makes_no_empty_page(void **state)
{
	struct sent s;
	uint64_t at = 0, samples;
	struct read_file f;
	size_t appends;

	(void)state;
	begin();
	f = read_mem(&mem);
	assert_int_equal(f.length, 0);
	assert_int_equal(f.granule, PRE_SKIP);
	read_free(&f);
	for (int n = 0; n < 300; n++) {
		for (uint32_t k = rnd(5); k > 0; k--) {
			make_packet(&s);
			assert_int_equal(put(s.data, s.len, 0), 0);
			at += s.samples;
		}
		if (rnd(2) > 0) {
			uint32_t gap = rnd(5000);

			assert_int_equal(opus_writer.silence(writer, gap), 0);
			at += gap;
		}
		assert_int_equal(opus_writer.refresh(writer), 0);
		appends = mem.appends;
		assert_int_equal(opus_writer.refresh(writer), 0);
		assert_int_equal(opus_writer.silence(writer, 0), 0);
		assert_int_equal(opus_writer.refresh(writer), 0);
		assert_int_equal(mem.appends, appends);
		f = read_mem(&mem);
		assert_false(f.eos);
		assert_in_range(f.length + 60, at, at + 120);
		read_free(&f);
	}
	assert_int_equal(opus_writer.close(writer, &samples), 0);
	assert_int_equal(samples, at);
	f = read_mem(&mem);
	assert_int_equal(f.length, at);
	assert_true(f.eos);
	read_free(&f);
}

/* The end is exact wherever it lies on the grid of 2.5 ms, and right after a refresh, too. */
static void end_is_exact(void **state)
{
	static const uint8_t packet[] = { 0xf8, 1, 2, 3 };

	(void)state;
	for (uint32_t n = 0; n < 1000; n++) {
		uint32_t gap = n / 4;
		struct read_file f;

		again();
		begin();
		assert_int_equal(opus_writer.silence(writer, gap), 0);
		if (n & 1)
			assert_int_equal(put(packet, sizeof(packet), 0), 0);
		if (n & 2)
			assert_int_equal(opus_writer.refresh(writer), 0);
		assert_int_equal(end(0), gap + (n & 1 ? FRAME : 0));
		f = read_mem(&mem);
		assert_true(f.eos);
		assert_int_equal(f.length, gap + (n & 1 ? FRAME : 0));
		/* and nothing longer than needed is trimmed */
		assert_true(f.packets[f.count - 1].position + f.packets[f.count - 1].samples -
				(int64_t)f.length <
			120);
		read_free(&f);
	}
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void an_hour_of_silence_is_small(void **state)
{
	double from;
	struct read_file f;

	(void)state;
	begin();
	from = now_ms();
	assert_int_equal(opus_writer.silence(writer, HOUR), 0);
	assert_int_equal(opus_writer.refresh(writer), 0);
	print_message("an hour of silence: %zu bytes, %.2f ms\n", mem.len, now_ms() - from);
	assert_true(now_ms() - from < 500);
	assert_true(mem.len < 1000000);
	assert_int_equal(end(0), HOUR);
	f = read_mem(&mem);
	assert_int_equal(f.length, HOUR);
	assert_int_equal(f.longest_page, RATE);
	for (size_t i = 1; i < f.count; i++) /* behind the pre-skip */
		assert_true(opus_packet_is_silence(read_data(&f, i), f.packets[i].len));
	read_free(&f);
}

/* What is owed lags a second behind at most, whatever it comes in: a file that has to end at a size
 * does. And it becomes the same packets as in one piece. */
static void the_file_grows_with_silence(void **state)
{
	static const uint8_t packet[] = { 0x78, 1, 2, 3 };
	static const uint32_t pieces[] = { HOUR + 77, FRAME, 1, 7777, 16384, 47999, 48001 };
	uint8_t *first = NULL;
	size_t first_len = 0, last;

	(void)state;
	for (size_t n = 0; n < sizeof(pieces) / sizeof(pieces[0]); n++) {
		uint64_t at = 0, length = n == 2 ? 5 * RATE + 77 : HOUR + 77;
		struct read_file f;

		again();
		begin();
		assert_int_equal(put(packet, 4, 0), 0);
		last = mem.len;
		while (at < length) {
			uint64_t piece = length - at < pieces[n] ? length - at : pieces[n];

			assert_int_equal(opus_writer.silence(writer, piece), 0);
			at += piece;
			/* A page holds a second, too, and as much may be left over in it. */
			if (at % (10 * RATE) < piece && at > 10 * RATE) {
				assert_true(mem.len > last);
				last = mem.len;
			}
		}
		if (n != 2)
			assert_true(mem.len > 3596 * 200);
		assert_int_equal(put(packet, 4, 4800), 0);
		assert_int_equal(opus_writer.close(writer, &at), 0);
		assert_int_equal(at, length + 2 * FRAME);
		f = read_mem(&mem);
		assert_int_equal(f.length, length + 2 * FRAME);
		assert_in_range(f.packets[f.count - 1].position + 60, length + FRAME,
			length + FRAME + 120);
		read_free(&f);
		if (n == 0) {
			assert_non_null(first = malloc(mem.len));
			memcpy(first, mem.data, first_len = mem.len);
		} else if (n != 2) {
			assert_int_equal(mem.len, first_len);
			assert_memory_equal(mem.data, first, first_len);
		}
		assert_true(mem.len < 1000000);
	}
	free(first);
}

/* Concealment goes on from sound: not from silence, wherever that came from. */
static void silence_is_not_concealed(void **state)
{
	static const uint8_t packet[] = { 0x78, 1, 2, 3 }, quiet[] = { 0xf8, 0xff, 0xfe };
	static const struct {
		uint32_t gap, settled; /* refreshed in between */
		bool after_quiet, concealed;
	} cases[] = {
		{ 2 * FRAME, 0, false, true }, { 2 * FRAME, 0, true, false },
		{ 2 * FRAME, FRAME, false, false },
		{ 2 * FRAME, 50, false, true }, /* too little to be settled */
		{ RATE, 0, false, true },
		{ RATE + 1, 0, false, false }, /* it is in the file already */
	};

	(void)state;
	for (size_t n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
		struct read_file f;
		size_t empty = 0;

		again();
		begin();
		assert_int_equal(put(packet, 4, 0), 0);
		if (cases[n].after_quiet)
			assert_int_equal(put(quiet, 3, 0), 0);
		opus_writer.silence(writer, cases[n].settled);
		assert_int_equal(opus_writer.refresh(writer), 0);
		opus_writer.silence(writer, cases[n].gap - cases[n].settled);
		assert_int_equal(put(packet, 4, 2 * FRAME), 0);
		end(0);
		f = read_mem(&mem);
		for (size_t i = 0; i < f.count; i++)
			empty += f.packets[i].len == 1;
		assert_int_equal(empty, cases[n].concealed ? 2 : 0);
		read_free(&f);
	}
}

/* Short ones and large ones: neither the segments of a page nor its bytes run out. */
static void pages_hold_whole_packets(void **state)
{
	static const uint32_t lens[] = { 2, 254, 255, 256, 509, 510, 511, 1275 };
	uint8_t packet[1275] = { 0xe0, 1 };

	(void)state;
	for (size_t n = 0; n < 8; n++) {
		struct read_file f;

		again();
		begin();
		for (int k = 0; k < 1000; k++) {
			packet[1] = (uint8_t)k;
			assert_int_equal(put(packet, lens[n], 0), 0);
		}
		assert_int_equal(end(0), 1000 * 120);
		f = read_mem(&mem);
		assert_int_equal(f.count, 1 + 1000);
		for (size_t i = 1; i < f.count; i++) {
			assert_int_equal(f.packets[i].len, lens[n]);
			assert_int_equal(read_data(&f, i)[1], (i - 1) & 255);
		}
		/* the pre-skip, and pages as full as can be */
		assert_int_equal(f.pages, 1 + (1000 - 1) / (255 / (lens[n] / 255 + 1)) + 1);
		read_free(&f);
	}
}

/* The checksum is made of pieces of 64, 16 and 8 bytes and single ones: libogg knows each to be
 * right, or there would not be as many pages. */
static void pages_of_every_length(void **state)
{
	static uint8_t packet[700] = { 0xf8 };

	(void)state;
	for (uint32_t i = 1; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i * 167 + (i >> 3));
	for (uint32_t len = 1; len <= sizeof(packet); len++) {
		struct read_file f;

		again();
		begin();
		assert_int_equal(put(packet, len, 0), 0);
		assert_int_equal(opus_writer.refresh(writer), 0);
		assert_int_equal(end(0), FRAME);
		f = read_mem(&mem);
		assert_int_equal(f.count, 2);
		assert_int_equal(f.packets[1].len, len);
		read_free(&f);
	}
}

static void preroll_is_before_the_start(void **state)
{
	static const uint8_t packet[] = { 0xf8, 1, 2, 3 };
	struct read_file f;

	(void)state;
	conf.preroll = 3 * FRAME;
	begin();
	for (int n = 0; n < 6; n++)
		assert_int_equal(put(packet, sizeof(packet), 0), 0);
	assert_int_equal(end(0), 3 * FRAME);
	f = read_mem(&mem);
	assert_int_equal(f.pre_skip, 3 * FRAME);
	assert_int_equal(f.count, 6);
	assert_int_equal(f.packets[3].position, 0);
	assert_int_equal(f.length, 3 * FRAME);
	read_free(&f);
	/* the pre-roll never came, or a part of it */
	for (int n = 0; n < 3; n++) {
		again();
		begin();
		for (int k = 0; k < n; k++)
			assert_int_equal(put(packet, sizeof(packet), 0), 0);
		assert_int_equal(end(0), 0);
		f = read_mem(&mem);
		assert_int_equal(f.granule, 3 * FRAME);
		assert_true(f.eos);
		read_free(&f);
	}
	conf.preroll = 65536;
	assert_int_equal(opus_writer.open(&writer, &out, &conf), TD_SINK_ERR_USAGE);
}

static void same_input_same_file(void **state)
{
	uint8_t *first = NULL;
	size_t len = 0;
	uint32_t serial = 0;

	(void)state;
	conf.title = "Ada";
	conf.album = "a call";
	for (int n = 0; n < 4; n++) {
		struct read_file f;
		struct sent s;

		again();
		noise = 77;
		if (n == 2)
			conf.title = "Bob";
		conf.position = n == 3 ? 48000 : 0;
		begin();
		for (int k = 0; k < 200; k++) {
			make_packet(&s);
			opus_writer.silence(writer, make_gap());
			assert_int_equal(put(s.data, s.len, 960), 0);
		}
		end(0);
		f = read_mem(&mem);
		if (n == 1) {
			assert_int_equal(mem.len, len);
			assert_memory_equal(mem.data, first, len);
		} else {
			assert_int_not_equal(f.serial, serial);
		}
		serial = f.serial;
		read_free(&f);
		if (n == 0) {
			len = mem.len;
			assert_non_null(first = malloc(len));
			memcpy(first, mem.data, len);
		}
	}
	free(first);
}

/* ---- headers ---- */

/* The comment behind key, NUL-terminated; NULL: none. */
static const char *comment(const struct read_file *f, const char *key)
{
	static char text[2 * OPUS_TEXT_MAX];
	const uint8_t *p = f->tags + 12 + read_le(f->tags + 8, 4);
	const char *found = NULL;
	uint32_t count = read_le(p, 4);

	p += 4;
	while (count-- > 0) {
		uint32_t len = read_le(p, 4);

		assert_true(p + 4 + len <= f->tags + f->tags_len);
		if (len > strlen(key) && memcmp(p + 4, key, strlen(key)) == 0 &&
			p[4 + strlen(key)] == '=') {
			size_t n = len - strlen(key) - 1;

			assert_null(found);
			memcpy(text, p + 4 + strlen(key) + 1, n);
			text[n] = '\0';
			found = text;
		}
		p += 4 + len;
	}
	assert_ptr_equal(p, f->tags + f->tags_len);
	return found;
}

static void expect_vendor(const struct read_file *f, const char *vendor)
{
	assert_int_equal(read_le(f->tags + 8, 4), strlen(vendor));
	assert_memory_equal(f->tags + 12, vendor, strlen(vendor));
}

static void headers(void **state)
{
	static const uint8_t head[] = { 'O', 'p', 'u', 's', 'H', 'e', 'a', 'd', 1, 1, 0xe0, 0x01,
		0x80, 0xbb, 0, 0, 0, 0, 0 };
	struct read_file f;

	(void)state;
	conf.channels = 1;
	begin();
	end(0);
	f = read_mem(&mem);
	assert_memory_equal(f.head, head, sizeof(head));
	assert_null(comment(&f, "TITLE"));
	assert_null(comment(&f, "ALBUM"));
	assert_null(comment(&f, "DATE"));
	assert_string_equal(comment(&f, "ENCODER"), "tapedeck " TD_VERSION);
	expect_vendor(&f, "tapedeck");
	read_free(&f);

	again();
	conf.channels = 2;
	conf.title = "J\xc3\xb6rg \xf0\x9f\x8e\x99";
	conf.album = "=";
	conf.start_utc_ns = UINT64_C(1763642643123456789);
	begin();
	end(0);
	f = read_mem(&mem);
	assert_int_equal(f.head[9], 2);
	assert_string_equal(comment(&f, "TITLE"), conf.title);
	assert_string_equal(comment(&f, "ALBUM"), "=");
	assert_string_equal(comment(&f, "DATE"), "2025-11-20T12:44:03.123456Z");
	read_free(&f);

	again();
	conf.source = TD_WANT_PCM;
	conf.rate = 16000;
	begin();
	end(0);
	f = read_mem(&mem);
	assert_int_equal(read_le(f.head + 10, 2), 312);
	assert_int_equal(read_le(f.head + 12, 4), 16000);
	expect_vendor(&f, opus_get_version_string());
	read_free(&f);
}

static void texts_become_utf8(void **state)
{
#define BAD "\xef\xbf\xbd"
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "\xff", BAD },
		{ "a\xc3", "a" BAD },
		{ "a\x80z", "a" BAD "z" },
		{ "\xc0\x80", BAD BAD },
		{ "\xc1\xbf", BAD BAD },
		{ "\xe0\x9f\xbf", BAD BAD BAD },
		{ "\xe0\xa0\x80", "\xe0\xa0\x80" },
		{ "\xed\xa0\x80", BAD BAD BAD },
		{ "\xed\x9f\xbf", "\xed\x9f\xbf" },
		{ "\xee\x80\x80", "\xee\x80\x80" },
		{ "\xf0\x8f\xbf\xbf", BAD BAD BAD BAD },
		{ "\xf0\x90\x80\x80", "\xf0\x90\x80\x80" },
		{ "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
		{ "\xf4\x90\x80\x80", BAD BAD BAD BAD },
		{ "\xf5\x80\x80\x80", BAD BAD BAD BAD },
		{ "\xe2\x82z", BAD BAD "z" },
		{ "\xc2\xa0", "\xc2\xa0" },
		{ "\xdf\xbf", "\xdf\xbf" },
		{ "\xe2\x82\xac\n\t\x7f", "\xe2\x82\xac   " },
	};
	static char text[70000];
	struct read_file f;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		again();
		conf.title = cases[i].in;
		begin();
		end(0);
		f = read_mem(&mem);
		assert_string_equal(comment(&f, "TITLE"), cases[i].out);
		read_free(&f);
	}
	/* Very long: cut, between two characters. */
	for (int shift = 0; shift < 4; shift++) {
		memset(text, 'x', (size_t)shift);
		for (size_t i = (size_t)shift; i + 4 < sizeof(text); i += 4)
			memcpy(text + i, "\xf0\x9f\x8e\x99", 4);
		again();
		conf.title = conf.album = text;
		begin();
		end(0);
		f = read_mem(&mem);
		assert_int_equal(strlen(comment(&f, "TITLE")),
			OPUS_TEXT_MAX - (shift > 0 ? 4 - shift : 0));
		assert_memory_equal(comment(&f, "ALBUM"), text, OPUS_TEXT_MAX - 4);
		read_free(&f);
	}
	memset(text, 0xff, sizeof(text) - 1);
	again();
	begin();
	end(0);
	f = read_mem(&mem);
	assert_int_equal(strlen(comment(&f, "TITLE")), OPUS_TEXT_MAX / 3 * 3);
	read_free(&f);
}

/* ---- what a decoder makes of it ---- */

struct cursor {
	const struct mem *m;
	sf_count_t at;
};

static sf_count_t cursor_length(void *user)
{
	return (sf_count_t)((struct cursor *)user)->m->len;
}

static sf_count_t cursor_seek(sf_count_t offset, int whence, void *user)
{
	struct cursor *c = user;

	return c->at = offset +
		(whence == SEEK_CUR                  ? c->at
				: whence == SEEK_END ? cursor_length(c)
						     : 0);
}

static sf_count_t cursor_read(void *to, sf_count_t len, void *user)
{
	struct cursor *c = user;
	sf_count_t left = cursor_length(c) - c->at;

	len = len < left ? len : left;
	memcpy(to, c->m->data + c->at, (size_t)len);
	c->at += len;
	return len;
}

static sf_count_t cursor_write(const void *from, sf_count_t len, void *user)
{
	(void)from;
	(void)len;
	(void)user;
	return 0;
}

static sf_count_t cursor_tell(void *user)
{
	return ((struct cursor *)user)->at;
}

/* All samples, by libsndfile, which knows nothing of this code. */
static int16_t *play(sf_count_t *ret_samples, int rate, int channels)
{
	static SF_VIRTUAL_IO io = { cursor_length, cursor_seek, cursor_read, cursor_write,
		cursor_tell };
	struct cursor c = { &mem, 0 };
	SF_INFO info = { 0 };
	SNDFILE *snd = sf_open_virtual(&io, SFM_READ, &info, &c);
	int16_t *pcm;

	if (snd == NULL)
		fail_msg("%s", sf_strerror(NULL));
	assert_int_equal(info.format, SF_FORMAT_OGG | SF_FORMAT_OPUS);
	assert_int_equal(info.samplerate, rate);
	assert_int_equal(info.channels, channels);
	assert_non_null(pcm = malloc((size_t)(info.frames + 1) * (size_t)channels * sizeof(*pcm)));
	*ret_samples = sf_readf_short(snd, pcm, info.frames + 1);
	assert_int_equal(*ret_samples, info.frames);
	sf_close(snd);
	return pcm;
}

/* Every filler of silence is digital silence of its length, for a fresh decoder and in a row. */
static void silence_decodes_to_zeros(void **state)
{
	static const struct {
		uint8_t toc;
		int samples;
	} cases[] = { { 0xf8, 960 }, { 0xf0, 480 }, { 0xe8, 240 }, { 0xe0, 120 } };
	int16_t pcm[5760 * 2];
	int err;

	(void)state;
	for (int channels = 1; channels <= 2; channels++) {
		for (int i = 0; i < 16; i++) {
			OpusDecoder *d = opus_decoder_create(RATE, channels, &err);

			for (int k = 0; k < 4; k++) {
				int c = k % 2 == 0 ? i / 4 : i % 4;
				const uint8_t p[] = { cases[c].toc, 0xff, 0xfe };

				assert_int_equal(opus_decode(d, p, 3, pcm, 5760, 0),
					cases[c].samples);
				for (int s = 0; s < cases[c].samples * channels; s++)
					assert_int_equal(pcm[s], 0);
			}
			opus_decoder_destroy(d);
		}
	}
}

/* The packets of a decoder's three modes, 20 ms each; one channel. */
static OpusEncoder *encoder(int mode)
{
	static const struct {
		int app, bandwidth, rate;
	} modes[] = {
		{ OPUS_APPLICATION_VOIP, OPUS_BANDWIDTH_WIDEBAND, 16000 },
		{ OPUS_APPLICATION_VOIP, OPUS_BANDWIDTH_FULLBAND, 28000 },
		{ OPUS_APPLICATION_AUDIO, OPUS_BANDWIDTH_FULLBAND, 64000 },
	};
	int err;
	OpusEncoder *e = opus_encoder_create(RATE, 1, modes[mode].app, &err);

	opus_encoder_ctl(e, OPUS_SET_BITRATE(modes[mode].rate));
	opus_encoder_ctl(e, OPUS_SET_BANDWIDTH(modes[mode].bandwidth));
	/* OPUS_SET_FORCE_MODE, which is not in the public header */
	opus_encoder_ctl(e, 11002, 1000 + mode);
	return e;
}

static void tone(int16_t *pcm, int *at)
{
	for (int i = 0; i < FRAME; i++, (*at)++)
		pcm[i] = (int16_t)(9000 * sin(*at * 2 * M_PI * 220 / RATE) +
			3000 * sin(*at * 2 * M_PI * 730 / RATE));
}

/* The largest second difference: a click is one. */
static int sharpest(const int16_t *pcm, sf_count_t from, sf_count_t to)
{
	int most = 0;

	for (sf_count_t i = from + 2; i < to; i++) {
		int d = abs(pcm[i] - 2 * pcm[i - 1] + pcm[i - 2]);

		most = d > most ? d : most;
	}
	return most;
}

/* Speech stops without a word: no click, silence soon, and what comes next is no click either. */
static void no_click_around_gaps(void **state)
{
	static const struct {
		uint32_t gap, lost;
	} cases[] = { { 120, 0 }, { 240, 0 }, { 360, 0 }, { 480, 0 }, { 960, 0 }, { 1080, 0 },
		{ 12345, 0 }, { 960, 960 }, { 1920, 960 }, { 4800, 4800 }, { 9600, 9600 } };

	(void)state;
	conf.channels = 1;
	for (size_t n = 0; n < 3 * sizeof(cases) / sizeof(cases[0]); n++) {
		size_t c = n / 3;
		OpusEncoder *e = encoder((int)(n % 3));
		sf_count_t samples, gap_at = 20 * FRAME, gap_end = gap_at + cases[c].gap;
		uint8_t packet[1500];
		int16_t *pcm, frame[FRAME];
		int at = 0, usual, n_bytes;

		again();
		begin();
		for (int k = 0; k < 40; k++) {
			tone(frame, &at);
			n_bytes = opus_encode(e, frame, FRAME, packet, sizeof(packet));
			if (k == 20)
				assert_int_equal(opus_writer.silence(writer, cases[c].gap), 0);
			assert_int_equal(put(packet, (size_t)n_bytes, k == 20 ? cases[c].lost : 0),
				0);
		}
		end(0);
		pcm = play(&samples, RATE, 1);
		usual = sharpest(pcm, 5 * FRAME, gap_at);
		assert_true(sharpest(pcm, gap_at - 10, gap_end) <= 2 * usual);
		assert_true(sharpest(pcm, gap_end - 10, samples) <= 2 * usual);
		if (cases[c].gap > cases[c].lost + 500 || cases[c].gap > 5400) {
			sf_count_t from =
				gap_at + 300 + (cases[c].lost < 4800 ? cases[c].lost : 4800);

			for (sf_count_t i = from; i < gap_end - 60; i++)
				assert_int_equal(pcm[i], 0);
		}
		free(pcm);
		opus_encoder_destroy(e);
	}
}

/* A decoder goes on after a loss nearly as if it had concealed it of its own: it kept its memory.
 */
static void concealment_keeps_the_decoder_going(void **state)
{
	(void)state;
	conf.channels = 1;
	for (int mode = 0; mode < 3; mode++) {
		OpusEncoder *e = encoder(mode);
		double signal = 0, noise_power = 0;
		int16_t *pcm, frame[FRAME], *all = calloc(60, FRAME * sizeof(*all));
		uint8_t packet[1500];
		sf_count_t samples;
		int at = 0, lost = 0, err;
		OpusDecoder *d = opus_decoder_create(RATE, 1, &err);

		again();
		begin();
		for (int k = 0; k < 60; k++) {
			int len;

			tone(frame, &at);
			len = opus_encode(e, frame, FRAME, packet, sizeof(packet));
			if (k >= 20 && k < 23) {
				opus_writer.silence(writer, FRAME);
				lost += FRAME;
				assert_int_equal(opus_decode(d, NULL, 0, all + k * FRAME, FRAME, 0),
					FRAME);
				continue;
			}
			assert_int_equal(opus_decode(d, packet, len, all + k * FRAME, FRAME, 0),
				FRAME);
			assert_int_equal(put(packet, (size_t)len, (uint32_t)lost), 0);
			lost = 0;
		}
		end(0);
		pcm = play(&samples, RATE, 1);
		assert_int_equal(samples, 60 * FRAME);
		for (int i = 19 * FRAME; i < 60 * FRAME; i++) {
			signal += (double)all[i] * all[i];
			noise_power += (double)(pcm[i] - all[i]) * (pcm[i] - all[i]);
		}
		assert_true(noise_power * 1000 < signal);
		free(pcm);
		free(all);
		opus_decoder_destroy(d);
		opus_encoder_destroy(e);
	}
}

/* The filler of every configuration goes on in its mode and bandwidth, longest frames first. */
static void concealment_fits_what_was_before(void **state)
{
	static const uint32_t gaps[] = { 120, 240, 360, 480, 600, 960, 1320, 2880, 4560, 4800 };
	int16_t pcm[5760 * 2];
	int err;

	(void)state;
	for (int toc = 0; toc < 256; toc += 4) {
		for (size_t g = 0; g < 10; g++) {
			const uint8_t packet[] = { (uint8_t)toc, 1, 2, 3 };
			uint32_t left = gaps[g], frame = (uint32_t)opus_packet_samples(packet, 4);
			int config = toc >> 3;
			int group = config < 12 ? config / 4
				: config < 16   ? 3 + config / 2 % 2
						: config / 4;
			OpusDecoder *d = opus_decoder_create(RATE, 2, &err);
			struct read_file f;

			again();
			begin();
			assert_int_equal(put(packet, 4, 0), 0);
			opus_writer.silence(writer, gaps[g]);
			assert_int_equal(put(packet, 4, gaps[g]), 0);
			end(0);
			f = read_mem(&mem);
			for (size_t i = 2; i + 1 < f.count; i++) {
				int c = read_data(&f, i)[0] >> 3;

				assert_int_equal(f.packets[i].len, 1);
				assert_int_equal(read_data(&f, i)[0] & 7, toc & 4);
				assert_int_equal(opus_decode(d, read_data(&f, i), 1, pcm, 5760, 0),
					f.packets[i].samples);
				if (left >= frame) {
					assert_int_equal(c, config);
				} else if (left >= 480 || config >= 16) {
					assert_int_equal(c < 12  ? c / 4
							: c < 16 ? 3 + c / 2 % 2
								 : c / 4,
						group);
				} else {
					/* CELT of the bandwidth, wideband for mediumband */
					static const int celt[] = { 4, 5, 5, 6, 7 };

					assert_int_equal(c / 4, celt[group]);
				}
				if (i > 2)
					assert_true(
						f.packets[i].samples <= f.packets[i - 1].samples);
				/* and no shorter than needed */
				if (left < frame)
					assert_true(2 * f.packets[i].samples > left);
				left -= f.packets[i].samples;
			}
			assert_int_equal(left, 0);
			read_free(&f);
			opus_decoder_destroy(d);
		}
	}
}

/* The first sample of a loud stretch after `from`. */
static sf_count_t onset(const int16_t *pcm, sf_count_t from, sf_count_t samples, int channels)
{
	while (from < samples && abs(pcm[from * channels]) < 6000)
		from++;
	return from;
}

/* A click is heard where it was spoken, whatever was lost or kept silent before. */
static void marker_is_at_its_sample(void **state)
{
	sf_count_t samples, at = 0, where[60];
	uint8_t packet[1500];
	int16_t frame[FRAME], *pcm;
	size_t count = 0;
	uint32_t lost = 0;
	opus_int32 lookahead;
	OpusEncoder *e = encoder(2);

	(void)state;
	opus_encoder_ctl(e, OPUS_GET_LOOKAHEAD(&lookahead));
	begin();
	for (int n = 0; n < 1200; n++) {
		int len;

		memset(frame, 0, sizeof(frame));
		if (n % 20 == 10)
			frame[n % FRAME] = frame[n % FRAME + 1] = 32000;
		len = opus_encode(e, frame, FRAME, packet, sizeof(packet));
		if (n % 20 == 3 && rnd(2) > 0) {
			uint32_t gap = rnd(20000);

			opus_writer.silence(writer, gap);
			at += gap;
		}
		if (n % 20 < 3 && rnd(2) > 0) {
			opus_writer.silence(writer, FRAME);
			lost += FRAME;
		} else {
			assert_int_equal(put(packet, (size_t)len, lost), 0);
			lost = 0;
		}
		if (n % 20 == 10)
			where[count++] = at + n % FRAME + lookahead;
		at += FRAME;
		if (n % 50 == 0)
			assert_int_equal(opus_writer.refresh(writer), 0);
	}
	opus_encoder_destroy(e);
	assert_int_equal(end(0), at);
	pcm = play(&samples, RATE, 2);
	assert_int_equal(samples, at);
	for (size_t i = 0; i < count; i++) {
		sf_count_t heard = onset(pcm, where[i] - 2000, samples, 2);

		assert_in_range(heard + 120, where[i], where[i] + 240);
	}
	free(pcm);
}

/* ---- failures ---- */

/* A fixed scenario of pages of many kinds; goes on after an error, as nobody should. */
static void scenario(void)
{
	struct sent s;

	noise = 4711;
	for (int n = 0; n < 150; n++) {
		make_packet(&s);
		opus_writer.silence(writer, n % 40 == 20 ? 100000 : rnd(3) == 0 ? rnd(700) : 0);
		put(s.data, s.len, 960);
		if (n % 25 == 0)
			opus_writer.refresh(writer);
	}
}

static void expect_failed_at(size_t room, size_t block, size_t whole)
{
	struct read_file f;
	uint64_t samples = 1;
	int r;

	again();
	mem.room = room;
	mem.block = block;
	if ((r = opus_writer.open(&writer, &out, &conf)) == 0) {
		scenario();
		r = opus_writer.close(writer, &samples);
		f = read_mem(&mem);
		assert_int_equal(samples, f.length);
		/* ended properly, whenever there is anything to end */
		assert_true(f.eos == (f.pages > 0));
		read_free(&f);
	}
	assert_int_equal(r, room < whole ? TD_SINK_ERR_IO : 0);
}

static void failing_output(void **state)
{
	size_t whole, audio, edges[64] = { 0 }, count = 0;

	(void)state;
	conf.title = "Ada";
	begin();
	scenario();
	end(0);
	whole = mem.len;
	for (size_t i = 0, pages = 0; i + 4 <= whole; i++) {
		if (memcmp(mem.data + i, "OggS", 4) == 0 && pages++ >= 2 && count < 64)
			edges[count++] = i;
	}
	audio = edges[0];
	for (size_t room = 0; room < audio + 300; room++)
		expect_failed_at(room, 0, whole);
	for (size_t i = 0; i < count; i++) {
		for (size_t d = 0; d < 40; d++)
			expect_failed_at(edges[i] + d - 5, 0, whole);
	}
	for (size_t room = audio; room < whole + 100; room += 97)
		expect_failed_at(room, 0, whole);
	for (size_t room = audio; room < whole + 100; room += 997) {
		expect_failed_at(room, 512, whole);
		expect_failed_at(room, 4096, whole);
	}
	/* an encoder behind the same pages */
	conf.source = TD_WANT_PCM;
	again();
	mem.room = 40000;
	begin();
	{
		static const int16_t loud[FRAME * 2] = { 12345, -12345 };
		struct read_file f;
		uint64_t samples;
		int r = 0;

		for (int n = 0; n < 1000; n++)
			r = opus_writer.write(writer, loud, FRAME);
		assert_int_equal(r, TD_SINK_ERR_IO);
		assert_int_equal(opus_writer.silence(writer, 5), TD_SINK_ERR_IO);
		assert_int_equal(opus_writer.refresh(writer), TD_SINK_ERR_IO);
		assert_int_equal(opus_writer.close(writer, &samples), TD_SINK_ERR_IO);
		f = read_mem(&mem);
		assert_int_equal(samples, f.length);
		assert_true(f.eos);
		read_free(&f);
	}
}

/* An output that took everything and gives back what it had buffered, as far as it says it may. */
static void failing_far_back(void **state)
{
	static const uint8_t packet[] = { 0xe0, 1 };
	uint64_t samples;
	struct read_file f;

	(void)state;
	for (size_t back = 1; back < OGG_OUT_WINDOW; back += 9973) {
		again();
		begin();
		/* the smallest pages there are */
		for (int n = 0; n < 20000; n++) {
			assert_int_equal(put(packet, sizeof(packet), 0), 0);
			assert_int_equal(opus_writer.refresh(writer), 0);
		}
		mem.failed = true;
		mem.room = mem.len -= back;
		assert_int_equal(put(packet, sizeof(packet), 0), 0);
		assert_int_equal(opus_writer.refresh(writer), TD_SINK_ERR_IO);
		assert_int_equal(opus_writer.close(writer, &samples), TD_SINK_ERR_IO);
		f = read_mem(&mem);
		assert_int_equal(samples, f.length);
		assert_true(f.eos);
		read_free(&f);
	}
}

static void failing_patch(void **state)
{
	struct read_file f;

	(void)state;
	begin();
	scenario();
	mem.patch_fails = true;
	f = read_mem(&mem);
	read_free(&f);
	end(TD_SINK_ERR_IO);
	f = read_mem(&mem);
	assert_false(f.eos);
	read_free(&f);
}

/* ---- PCM ---- */

/* No two places sound the same, and 8 kHz are enough for it. The right channel is quieter: what is
 * coded as one keeps its phase. */
static int16_t speech(uint64_t i, uint32_t rate, uint32_t channel)
{
	double t = (double)i / rate;

	return (int16_t)((6000 * sin(2 * M_PI * (300 + 40 * t) * t) +
				 5000 * sin(2 * M_PI * (700 + 111 * t) * t + 2 * sin(9 * t))) /
		(1 + channel));
}

static void pcm_write(uint64_t from, uint64_t n)
{
	int16_t pcm[1000 * 2];

	while (n > 0) {
		uint32_t k = 1 + rnd(1000);

		k = k < n ? k : (uint32_t)n;
		for (uint32_t i = 0; i < k * conf.channels; i++)
			pcm[i] = speech(from + i / conf.channels, conf.rate, i % conf.channels);
		assert_int_equal(opus_writer.write(writer, pcm, k), 0);
		from += k;
		n -= k;
	}
}

/* By how many samples what is heard is behind what was said. */
static int delay_of(const int16_t *pcm, sf_count_t at, uint64_t said, sf_count_t n)
{
	static double reference[8000];
	double best = -1e30;
	int delay = 0;

	assert_in_range(n, 1, 8000);
	for (sf_count_t i = 0; i < n; i++)
		reference[i] = speech(said + (uint64_t)i, conf.rate, 0);
	for (int d = -30; d <= 30; d++) {
		double sum = 0;

		for (sf_count_t i = 0; i < n; i++)
			sum += pcm[(at + i + d) * conf.channels] * reference[i];
		if (sum > best) {
			best = sum;
			delay = d;
		}
	}
	return delay;
}

/* What SILK resamples is off by up to 0.1 ms; CELT at its own rate is not. */
static void expect_on_time(const int16_t *pcm, uint64_t at, sf_count_t n)
{
	int most = conf.rate < RATE ? 1 : strlen(options[1]) != 2 ? 0 : 4;

	assert_true(abs(delay_of(pcm, (sf_count_t)at, at, n)) <= most);
}

static const uint32_t rates[] = { 8000, 12000, 16000, 24000, 48000 };

static void pcm_is_where_it_was(void **state)
{
	static const char *const bitrates[] = { "", "12", "32", "128" };

	(void)state;
	conf.source = TD_WANT_PCM;
	for (size_t n = 0; n < 5 * 2 * 4; n++) {
		sf_count_t samples;
		uint64_t length;
		int16_t *pcm;
		struct read_file f;

		again();
		conf.rate = rates[n % 5];
		conf.channels = 1 + n / 5 % 2;
		options[1] = bitrates[n / 10];
		length = conf.rate * 2 + rnd(conf.rate);
		begin();
		pcm_write(0, length);
		assert_int_equal(end(0), length);
		f = read_mem(&mem);
		assert_int_equal(f.length, length * (RATE / conf.rate));
		assert_int_equal(f.longest_page <= RATE, 1);
		/* within a fifth of what was asked for, headers and pages not counted */
		if (options[1][0] != '\0' && conf.rate == RATE && n / 10 > 1)
			assert_in_range(f.bytes_len * 8 * conf.rate / length,
				(unsigned)atoi(options[1]) * 600,
				(unsigned)atoi(options[1]) * 1200);
		read_free(&f);
		pcm = play(&samples, (int)conf.rate, (int)conf.channels);
		assert_int_equal(samples, length);
		expect_on_time(pcm, 2000, 8000);
		expect_on_time(pcm, length - 5030, 5000);
		free(pcm);
	}
}

static void short_pcm_has_its_length(void **state)
{
	static const uint32_t lengths[] = { 0, 1, 2, 100, 159, 160, 161, 647, 648, 649, 960, 961 };
	sf_count_t samples;

	(void)state;
	conf.source = TD_WANT_PCM;
	for (size_t n = 0; n < 5 * 12; n++) {
		struct read_file f;

		again();
		conf.rate = rates[n % 5];
		begin();
		pcm_write(0, lengths[n / 5]);
		if (n % 2 > 0)
			assert_int_equal(opus_writer.refresh(writer), 0);
		assert_int_equal(end(0), lengths[n / 5]);
		f = read_mem(&mem);
		assert_true(f.eos);
		assert_int_equal(f.length, lengths[n / 5] * (RATE / conf.rate));
		read_free(&f);
		if (lengths[n / 5] > 0) {
			free(play(&samples, (int)conf.rate, 2));
			assert_int_equal(samples, lengths[n / 5]);
		}
	}
}

/* Silence costs no encoding, is silence, and what follows it is at its place and sounds as well. */
static void pcm_silence(void **state)
{
	static const char *const bitrates[] = { "", "10", "20", "128" };

	(void)state;
	conf.source = TD_WANT_PCM;
	for (size_t n = 0; n < 5 * 4; n++) {
		uint64_t gap, lead = 30000 + rnd(1000), tail = 40000;
		sf_count_t samples;
		size_t direct = 0, kind = n % 3;
		struct read_file f;
		int16_t *pcm;

		again();
		conf.rate = rates[n % 5];
		conf.channels = 1 + n % 2;
		options[1] = bitrates[n / 5 % 4];
		gap = kind == 0 ? rnd(conf.rate / 4) : conf.rate * 3 + rnd(conf.rate);
		begin();
		pcm_write(0, lead);
		/* in one piece or in many */
		for (uint64_t left = gap; left > 0;) {
			uint64_t k = kind < 2 ? gap : 1 + rnd(conf.rate / 10);

			k = k < left ? k : left;
			assert_int_equal(opus_writer.silence(writer, k), 0);
			left -= k;
		}
		pcm_write(lead + gap, tail);
		assert_int_equal(end(0), lead + gap + tail);
		f = read_mem(&mem);
		for (size_t i = 0; i < f.count; i++)
			direct += opus_packet_is_silence(read_data(&f, i), f.packets[i].len);
		if (kind == 1)
			assert_true(direct >= gap * 50 / conf.rate - 52);
		read_free(&f);
		pcm = play(&samples, (int)conf.rate, (int)conf.channels);
		assert_int_equal(samples, lead + gap + tail);
		expect_on_time(pcm, lead - 5030, 5000);
		expect_on_time(pcm, lead + gap + 10000, 8000);
		for (uint64_t i = (lead + conf.rate / 2) * conf.channels;
			kind > 0 && i < (lead + gap - conf.rate / 100) * conf.channels; i++)
			assert_in_range(pcm[i] + 3, 0, 6);
		free(pcm);
	}
}

/* A short sound between two long silences is at its place, too. */
static void pcm_sound_within_silence(void **state)
{
	static const int16_t click[] = { 32000, 32000, 32000, 32000 };
	sf_count_t samples, at = 0;
	int16_t *pcm;

	(void)state;
	conf.source = TD_WANT_PCM;
	conf.channels = 1;
	begin();
	for (uint32_t n = 0; n < 5; n++) {
		assert_int_equal(opus_writer.silence(writer, 3 * RATE + 100 * n), 0);
		assert_int_equal(opus_writer.write(writer, click, 4), 0);
	}
	assert_int_equal(opus_writer.silence(writer, 3 * RATE), 0);
	assert_int_equal(end(0), 18 * RATE + 1020);
	pcm = play(&samples, RATE, 1);
	for (uint32_t n = 0; n < 5; n++) {
		at += 3 * RATE + 100 * n;
		assert_in_range(onset(pcm, at - 1000, samples, 1), at - 5, at + 5);
		at += 4;
	}
	free(pcm);
}

static void pcm_silence_for_hours(void **state)
{
	double from;
	struct read_file f;
	uint64_t length;

	(void)state;
	conf.source = TD_WANT_PCM;
	begin();
	pcm_write(0, 5000);
	from = now_ms();
	assert_int_equal(opus_writer.silence(writer, (uint64_t)3 * HOUR + 77), 0);
	assert_true(now_ms() - from < 1500);
	length = (uint64_t)3 * HOUR + 77 + 10000;
	pcm_write(5000, 5000);
	assert_int_equal(end(0), length);
	f = read_mem(&mem);
	assert_int_equal(f.length, length);
	assert_true(mem.len < 3 * 1000000);
	read_free(&f);
}

/* ---- options ---- */

static void check_says_what_it_cannot_write(void **state)
{
	static const struct {
		uint32_t source, channels, rate, preroll;
		const char *bitrate, *err; /* NULL: fits */
	} cases[] = {
		{ TD_WANT_OPUS, 1, 48000, 0, "", NULL },
		{ TD_WANT_OPUS, 2, 48000, 65535, "", NULL },
		{ TD_WANT_OPUS, 2, 48000, 65536, "", "pre-roll of 65536" },
		{ TD_WANT_OPUS, 2, 44100, 0, "", "48000" },
		{ TD_WANT_OPUS, 2, 16000, 0, "", "48000" },
		{ TD_WANT_OPUS, 2, 48000, 0, "64", "no bitrate to choose" },
		{ TD_WANT_OPUS, 0, 48000, 0, "", "1 or 2" },
		{ TD_WANT_OPUS | TD_WANT_PCM, 1, 48000, 0, "", "either" },
		{ 0, 1, 48000, 0, "", "either" },
		{ TD_WANT_PCM, 1, 8000, 0, "", NULL },
		{ TD_WANT_PCM, 1, 12000, 0, "6", NULL },
		{ TD_WANT_PCM, 1, 16000, 0, "256", NULL },
		{ TD_WANT_PCM, 1, 24000, 0, "", NULL },
		{ TD_WANT_PCM, 2, 48000, 0, "510", NULL },
		{ TD_WANT_PCM, 1, 48000, 0, "257", "256" },
		{ TD_WANT_PCM, 2, 48000, 0, "511", "6 to 510" },
		{ TD_WANT_PCM, 2, 48000, 0, "5", "6 to 510" },
		{ TD_WANT_PCM, 2, 48000, 0, "64k", "6 to 510" },
		{ TD_WANT_PCM, 2, 48000, 0, "99999999999999999999", "6 to 510" },
		{ TD_WANT_PCM, 2, 44100, 0, "", "8000, 12000, 16000, 24000 or 48000" },
		{ TD_WANT_PCM, 2, 0, 0, "", "8000, 12000" },
		{ TD_WANT_PCM, 3, 48000, 0, "", "1 or 2" },
		{ TD_WANT_PCM, 1, 48000, 960, "", "pre-roll" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char err[200] = "";
		int want = cases[i].err == NULL ? 0 : TD_SINK_ERR_USAGE;

		conf.source = cases[i].source;
		conf.channels = cases[i].channels;
		conf.rate = cases[i].rate;
		conf.preroll = cases[i].preroll;
		options[1] = cases[i].bitrate;
		assert_int_equal(opus_writer.check(&conf, err, sizeof(err)), want);
		if (want == 0) {
			assert_string_equal(err, "");
		} else {
			assert_non_null(strstr(err, cases[i].err));
			assert_int_equal(strncmp(err, "opus ", 5), 0);
			assert_null(strchr(err, '\n'));
			assert_int_equal(opus_writer.open(&writer, &out, &conf), want);
			assert_int_equal(mem.len, 0);
		}
	}
	conf = (struct td_writer_conf){ .size = sizeof(conf),
		.source = TD_WANT_PCM,
		.channels = 1,
		.rate = RATE };
	assert_int_equal(opus_writer.check(&conf, NULL, 0), 0);
	conf.channels = 3;
	assert_int_equal(opus_writer.check(&conf, NULL, 0), TD_SINK_ERR_USAGE);
}

static void it_is_what_it_says(void **state)
{
	const uint8_t packet[] = { 0xf8, 1, 2, 3 };

	(void)state;
	assert_int_equal(opus_writer.abi, TD_SINK_ABI);
	assert_int_equal(opus_writer.size, sizeof(opus_writer));
	assert_string_equal(opus_writer.name, "opus");
	assert_int_equal(opus_writer.takes, TD_WANT_PCM | TD_WANT_OPUS);
	conf.source = TD_WANT_PCM;
	begin();
	assert_int_equal(put(packet, 4, 0), TD_SINK_ERR_USAGE);
	assert_int_equal(opus_writer.silence(writer, UINT64_MAX - 5), TD_SINK_ERR_LIMIT);
	assert_int_equal(end(0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(packets_and_positions),
		TEST(what_is_no_packet_is_refused),
		TEST(refresh_is_valid_and_makes_no_empty_page),
		TEST(end_is_exact),
		TEST(an_hour_of_silence_is_small),
		TEST(the_file_grows_with_silence),
		TEST(silence_is_not_concealed),
		TEST(pages_hold_whole_packets),
		TEST(pages_of_every_length),
		TEST(preroll_is_before_the_start),
		TEST(same_input_same_file),
		TEST(headers),
		TEST(texts_become_utf8),
		TEST(silence_decodes_to_zeros),
		TEST(no_click_around_gaps),
		TEST(concealment_keeps_the_decoder_going),
		TEST(concealment_fits_what_was_before),
		TEST(marker_is_at_its_sample),
		TEST(failing_output),
		TEST(failing_far_back),
		TEST(failing_patch),
		TEST(pcm_is_where_it_was),
		TEST(short_pcm_has_its_length),
		TEST(pcm_silence),
		TEST(pcm_sound_within_silence),
		TEST(pcm_silence_for_hours),
		TEST(check_says_what_it_cannot_write),
		TEST(it_is_what_it_says),
	};

	return cmocka_run_group_tests_name("opus_writer", tests, NULL, NULL);
}
