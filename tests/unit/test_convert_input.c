/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "common/err.h"
#include "sinks/convert/reel.h"
#include "sinks/convert/riff.h"
#include "sinks/convert/source.h"
#include "tests/unit/convert_dir.h"

/* ---- --raw ---- */

static void raw_texts(void **state)
{
	static const struct {
		const char *text;
		uint32_t rate, channels; /* rate 0: refused */
		enum raw_format format;
	} cases[] = {
		{ "48000:2:s16le", 48000, 2, RAW_S16LE },
		{ "8000:1:s16be", 8000, 1, RAW_S16BE },
		{ "192000:2:f32le", 192000, 2, RAW_F32LE },
		{ "", 0, 0, 0 },
		{ ":", 0, 0, 0 },
		{ "::", 0, 0, 0 },
		{ "48000", 0, 0, 0 },
		{ "48000:2", 0, 0, 0 },
		{ "48000:2:", 0, 0, 0 },
		{ "48000:2:s16", 0, 0, 0 },
		{ "48000:2:s16le ", 0, 0, 0 },
		{ "48000:2:S16LE", 0, 0, 0 },
		{ "48000:2:s24le", 0, 0, 0 },
		{ "48000::s16le", 0, 0, 0 },
		{ "48000:0:s16le", 0, 0, 0 },
		{ "48000:3:s16le", 0, 0, 0 },
		{ "48000:-1:s16le", 0, 0, 0 },
		{ "+48000:1:s16le", 0, 0, 0 },
		{ " 48000:1:s16le", 0, 0, 0 },
		{ "7999:1:s16le", 0, 0, 0 },
		{ "192001:1:s16le", 0, 0, 0 },
		{ "4294967296:1:s16le", 0, 0, 0 },
		{ "99999999999999999999:1:s16le", 0, 0, 0 },
		{ "48000:4294967297:s16le", 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct raw_form form = { 0 };
		struct fault fault = { "" };
		int r = raw_form_parse(&form, cases[i].text, &fault);

		if (cases[i].rate == 0) {
			if (r != TD_ERR_USAGE || fault.text[0] == '\0' || form.rate != 0)
				fail_msg("'%s' was taken", cases[i].text);
			continue;
		}
		if (r != TD_OK || form.rate != cases[i].rate ||
			form.channels != cases[i].channels || form.format != cases[i].format)
			fail_msg("'%s': %s", cases[i].text, fault.text);
	}
}

/* ---- .json ---- */

static void raw_json(void **state)
{
	static const struct {
		const char *text;
		int r;
	} cases[] = {
		{ "{\"format\":\"s16le\",\"rate\":48000,\"channels\":2}", TD_OK },
		{ "{\"format\":\"f32le\",\"rate\":8000,\"channels\":1,\"samples\":-1,\"start\":7,"
		  "\"title\":[],\"album\":{}}",
			TD_OK },
		{ "", TD_ERR_MALFORMED },
		{ "null", TD_ERR_MALFORMED },
		{ "[]", TD_ERR_MALFORMED },
		{ "{}", TD_ERR_MALFORMED },
		{ "{\"format\":\"s16le\",\"rate\":48000}", TD_ERR_MALFORMED },
		{ "{\"format\":16,\"rate\":48000,\"channels\":2}", TD_ERR_MALFORMED },
		{ "{\"format\":\"s16le\",\"rate\":48000.0,\"channels\":2}", TD_ERR_MALFORMED },
		{ "{\"format\":\"s16le\",\"rate\":\"48000\",\"channels\":2}", TD_ERR_MALFORMED },
		{ "{\"format\":\"s16le\",\"rate\":-48000,\"channels\":2}", TD_ERR_MALFORMED },
		{ "{\"format\":\"s16le\",\"rate\":4294967297,\"channels\":2}", TD_ERR_MALFORMED },
		{ "{\"format\":\"s16le\",\"rate\":0,\"channels\":2}", TD_ERR_UNSUPPORTED },
		{ "{\"format\":\"s16le\",\"rate\":4000000000,\"channels\":2}", TD_ERR_UNSUPPORTED },
		{ "{\"format\":\"s16le\",\"rate\":48000,\"channels\":0}", TD_ERR_UNSUPPORTED },
		{ "{\"format\":\"s16le\",\"rate\":48000,\"channels\":255}", TD_ERR_UNSUPPORTED },
		{ "{\"format\":\"u8\",\"rate\":48000,\"channels\":2}", TD_ERR_UNSUPPORTED },
		{ "{\"format\":\"s16le\",\"format\":\"s16be\",\"rate\":48000,\"channels\":2}",
			TD_ERR_MALFORMED },
		{ "{\"format\":\"s16le\",\"rate\":48000,\"channels\":2", TD_ERR_MALFORMED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct raw_about about = { 0 };
		struct fault fault = { "" };
		int r = raw_form_json(&about, cases[i].text, strlen(cases[i].text), &fault);

		if (r != cases[i].r || (r < 0) != (fault.text[0] != '\0') ||
			(r < 0) != (about.form.rate == 0))
			fail_msg("%s: %d %s", cases[i].text, r, fault.text);
	}
}

static void raw_json_tells(void **state)
{
	static const char text[] =
		"{\"format\":\"s16be\",\"rate\":44100,\"channels\":1,\"samples\":7,"
		"\"start\":\"2026-01-02T03:04:05.678901Z\",\"title\":\"me\",\"album\":\"us\"}";
	struct raw_about about;
	struct fault fault;

	(void)state;
	assert_int_equal(raw_form_json(&about, text, strlen(text), &fault), TD_OK);
	assert_int_equal(about.form.rate, 44100);
	assert_int_equal(about.form.channels, 1);
	assert_int_equal(about.form.format, RAW_S16BE);
	assert_int_equal(about.samples, 7);
	assert_int_equal(about.start_utc_ns, UINT64_C(1767323045678901000));
	assert_string_equal(about.title, "me");
	assert_string_equal(about.album, "us");
}

static void times(void **state)
{
	(void)state;
	assert_int_equal(utc_parse("1970-01-01T00:00:01Z"), 1000000000);
	assert_int_equal(utc_parse("1970-01-01T00:00:00.000000001Z"), 1);
	assert_int_equal(utc_parse("1970-01-01T00:00:00.0000000019Z"), 1);
	assert_int_equal(utc_parse("2026-01-02T03:04:05.678901"), 0);
	assert_int_equal(utc_parse("2026-01-02T03:04:05.678901+01:00"), 0);
	assert_int_equal(utc_parse("9999-01-02T03:04:05Z"), 0);
	assert_int_equal(utc_parse("1969-01-02T03:04:05Z"), 0);
	assert_int_equal(utc_parse("soon"), 0);
	assert_int_equal(utc_parse(""), 0);
}

static void sample_values(void **state)
{
	static const uint8_t b[] = { 0x00, 0x80, 0x7f, 0xff, 0xff, 0x7f, 0x80, 0x00, 0x00, 0x7f,
		0x80, 0x00 };
	int16_t out[8];

	(void)state;
	raw_form_samples(out, b, 2, RAW_S16LE);
	assert_int_equal(out[0], -32768);
	assert_int_equal(out[1], -129);
	raw_form_samples(out, b, 2, RAW_S16BE);
	assert_int_equal(out[0], 128);
	assert_int_equal(out[1], 32767);
	raw_form_samples(out, b, 3, RAW_U8);
	assert_int_equal(out[0], -32768);
	assert_int_equal(out[1], 0);
	assert_int_equal(out[2], -256);
	/* 0x7f8000 rounds up, 0xff7fff down, 0x800000 is the middle of nothing */
	raw_form_samples(out, (const uint8_t[]){ 0x00, 0x80, 0x7f, 0xff, 0xff, 0x7f, 0x7f, 0, 0 },
		3, RAW_S24LE);
	assert_int_equal(out[0], 0x7f80);
	assert_int_equal(out[1], 32767);
	assert_int_equal(out[2], 0);
	raw_form_samples(out,
		(const uint8_t[]){ 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0x80, 0, 0x80, 0, 0 }, 3,
		RAW_S32LE);
	assert_int_equal(out[0], 32767);
	assert_int_equal(out[1], -32768);
	assert_int_equal(out[2], 1);
	assert_int_equal(raw_form_float(NAN), 0);
	assert_int_equal(raw_form_float(-NAN), 0);
	assert_int_equal(raw_form_float(INFINITY), 32767);
	assert_int_equal(raw_form_float(-INFINITY), -32768);
	assert_int_equal(raw_form_float(1e30f), 32767);
	assert_int_equal(raw_form_float(0.5f), 16384);
	assert_int_equal(raw_form_float(-0.5f), -16384);
	assert_int_equal(raw_form_float(1.6f / 32768), 2);
}

/* ---- RIFF ---- */

struct builder {
	uint8_t bytes[512];
	size_t len;
};

static void put(struct builder *b, const char *id, uint32_t size, const void *data, size_t len)
{
	memcpy(b->bytes + b->len, id, 4);
	memcpy(b->bytes + b->len + 4, &size, 4);
	if (len > 0)
		memcpy(b->bytes + b->len + 8, data, len);
	b->len += 8 + len;
}

static void put_fmt(struct builder *b, uint16_t tag, uint16_t channels, uint32_t rate,
	uint16_t bits)
{
	uint8_t fmt[16] = { 0 };
	uint16_t align = (uint16_t)(channels * (bits / 8));

	memcpy(fmt, &tag, 2);
	memcpy(fmt + 2, &channels, 2);
	memcpy(fmt + 4, &rate, 4);
	memcpy(fmt + 12, &align, 2);
	memcpy(fmt + 14, &bits, 2);
	put(b, "fmt ", 16, fmt, 16);
}

static int read_riff(struct riff *ret, const struct builder *b)
{
	struct input in;
	struct fault fault;
	int r;

	put_file("x.wav", b->bytes, b->len);
	assert_int_equal(input_open(&in, "x.wav", 0, &fault), TD_OK);
	r = riff_read(ret, &in);
	input_close(&in);
	return r;
}

static void riff_headers(void **state)
{
	static const struct {
		uint16_t tag, channels, bits;
		uint32_t rate;
		int r;
	} cases[] = {
		{ 1, 2, 16, 48000, TD_OK }, { 1, 1, 8, 8000, TD_OK }, { 1, 2, 24, 192000, TD_OK },
		{ 1, 2, 32, 48000, TD_OK }, { 3, 2, 32, 48000, TD_OK },
		{ 3, 2, 64, 48000, TD_ERR_UNSUPPORTED }, { 3, 2, 16, 48000, TD_ERR_UNSUPPORTED },
		{ 1, 0, 16, 48000, TD_ERR_UNSUPPORTED }, { 1, 3, 16, 48000, TD_ERR_UNSUPPORTED },
		{ 1, 65535, 16, 48000, TD_ERR_UNSUPPORTED }, { 1, 2, 0, 48000, TD_ERR_UNSUPPORTED },
		{ 1, 2, 12, 48000, TD_ERR_UNSUPPORTED }, { 1, 2, 16, 0, TD_ERR_UNSUPPORTED },
		{ 1, 2, 16, UINT32_MAX, TD_ERR_UNSUPPORTED },
		{ 2, 2, 16, 48000, TD_ERR_UNSUPPORTED },
		{ 0xfffe, 2, 16, 48000, TD_ERR_UNSUPPORTED }, /* without what it needs */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct builder b = { .len = 0 };
		struct riff riff;

		put(&b, "RIFF", 0, "WAVE", 4);
		put_fmt(&b, cases[i].tag, cases[i].channels, cases[i].rate, cases[i].bits);
		put(&b, "data", 8, "12345678", 8);
		if (read_riff(&riff, &b) != cases[i].r)
			fail_msg("case %zu", i);
	}
}

static void riff_lengths(void **state)
{
	static const struct {
		const char *form;
		uint32_t size; /* of data */
		uint64_t ds64; /* 0: none */
		size_t there;  /* bytes behind the header of data */
		bool chunk;    /* and a chunk behind them */
		uint64_t want;
		bool mended;
	} cases[] = {
		{ "RIFF", 8, 0, 8, false, 8, false },
		{ "RIFF", 8, 0, 8, true, 8, false },
		{ "RIFF", 7, 0, 7, false, 7, false },
		{ "RIFF", 0, 0, 0, false, 0, false },
		{ "RIFF", 0, 0, 0, true, 0, false }, /* no sound, and something else */
		{ "RIFF", 0, 0, 16, false, 16, true },
		{ "RIFF", UINT32_MAX, 0, 16, false, 16, true },
		{ "RIFF", 100, 0, 16, false, 16, true },
		{ "RIFF", 0x7ffff000, 0, 16, false, 16, true },
		/* a second that its header does not know of yet is not taken */
		{ "RIFF", 8, 0, 16, false, 8, false },
		{ "RF64", UINT32_MAX, 12, 12, false, 12, false },
		{ "RF64", UINT32_MAX, UINT64_MAX, 12, false, 12, true },
		{ "RF64", UINT32_MAX, 0, 12, false, 12, true },
		{ "RF64", 8, 12, 12, false, 8, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* Samples that are no chunk. */
		static const uint8_t sound[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 };
		uint8_t ds64[28] = { 0 };
		struct builder b = { .len = 0 };
		struct riff riff;

		put(&b, cases[i].form, 0, "WAVE", 4);
		memcpy(ds64 + 8, &cases[i].ds64, 8);
		if (cases[i].form[1] == 'F')
			put(&b, "ds64", 28, ds64, 28);
		put_fmt(&b, 1, 2, 48000, 16);
		put(&b, "data", cases[i].size, sound, cases[i].there);
		if (cases[i].chunk)
			put(&b, "LIST", 3, "abc", 3);
		assert_int_equal(read_riff(&riff, &b), TD_OK);
		if (riff.len != cases[i].want || riff.mended != cases[i].mended)
			fail_msg("case %zu: %d bytes, mended %d", i, (int)riff.len, riff.mended);
	}
}

static void riff_prefixes(void **state)
{
	struct builder b = { .len = 0 };
	struct riff riff;

	(void)state;
	put(&b, "RIFF", 0, "WAVE", 4);
	put_fmt(&b, 1, 2, 48000, 16);
	put(&b, "LIST", 0xfffffff0, "", 0);
	put(&b, "data", 8, "12345678", 8);
	for (size_t len = 0; len <= b.len; len++) {
		struct builder part = b;

		part.len = len;
		assert_int_equal(read_riff(&riff, &part), TD_ERR_UNSUPPORTED);
	}
}

/* ---- sources ---- */

static void bad_sources(void **state)
{
	static const struct {
		const char *name, *data, *json, *want;
	} cases[] = {
		{ "a.wav", "", NULL, "empty" },
		{ "a.wav", "just a text, nothing else", NULL, "not a sound file" },
		{ "a.wav", "RIFF1234WAVE", NULL, "not a sound file" },
		{ "a.flac", "fLaC", NULL, "not a sound file" },
		{ "a.opus", "OggS", NULL, "not a sound file" },
		{ "a.pcm", "1234", NULL, "need their .json" },
		{ "a.pcm", "1234", "{", "a.pcm.json: line" },
		{ "a.pcm", "1234", "{\"format\":\"s16le\",\"rate\":1,\"channels\":1}",
			"rate 1 is" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct source_conf conf = { .path = cases[i].name, .witness = &witness };
		struct source *s = NULL;
		struct fault fault = { "" };

		put_text(cases[i].name, cases[i].data);
		if (cases[i].json != NULL)
			put_text("a.pcm.json", cases[i].json);
		if (source_open(&s, &conf, &fault) == TD_OK || s != NULL ||
			strstr(fault.text, cases[i].want) == NULL)
			fail_msg("%s '%s': %s", cases[i].name, cases[i].data, fault.text);
	}
}

static void no_files(void **state)
{
	struct source_conf conf = { .path = "pipe", .witness = &witness };
	struct source *s = NULL;
	struct fault fault;

	(void)state;
	assert_int_equal(mkfifo("pipe", 0600), 0);
	assert_int_equal(mkdir("folder", 0700), 0);
	assert_int_equal(source_open(&s, &conf, &fault), TD_ERR_UNSUPPORTED);
	conf.path = "folder";
	assert_int_equal(source_open(&s, &conf, &fault), TD_ERR_UNSUPPORTED);
	conf.path = "/dev/zero";
	assert_int_equal(source_open(&s, &conf, &fault), TD_ERR_UNSUPPORTED);
	put_text("x.wav", "");
	assert_int_equal(symlink("x.wav", "link"), 0);
	conf.path = "link";
	conf.input_flags = INPUT_NOFOLLOW;
	assert_int_equal(source_open(&s, &conf, &fault), TD_ERR_IO);
	assert_string_equal(fault.text, "a symbolic link");
}

static void json_longer_than_large(void **state)
{
	struct source_conf conf = { .path = "a.pcm", .witness = &witness };
	struct source *s = NULL;
	struct fault fault;
	FILE *f = fopen("a.pcm.json", "wb");

	(void)state;
	put_text("a.pcm", "1234");
	assert_int_equal(fseek(f, RAW_JSON_MAX, SEEK_SET), 0);
	fputc('}', f);
	fclose(f);
	assert_int_equal(source_open(&s, &conf, &fault), TD_ERR_MALFORMED);
}

/* Reads all of it as text: a letter for a kind of sample, and a number for silence. */
static void read_all(struct reel *r, char *ret, size_t len)
{
	int16_t pcm[64];
	struct fault fault = { "" };
	bool silent;
	uint64_t n;

	ret[0] = '\0';
	do {
		if (reel_read(r, pcm, 16, &n, &silent, &fault) < 0)
			fail_msg("%s", fault.text);
		if (silent)
			snprintf(ret + strlen(ret), len - strlen(ret), "<%d>", (int)n);
		for (uint64_t i = 0; !silent && i < n; i++)
			snprintf(ret + strlen(ret), len - strlen(ret), "%c", pcm[i]);
	} while (n > 0);
}

static void reels(void **state)
{
	static const struct {
		const char *files[3]; /* a letter a sample */
		struct job_part parts[3];
		struct job_cut cuts[2];
		bool restored;
		const char *want, *heard;
	} cases[] = {
		{ { "abc" }, { { "0", 0, JOB_TO_END } }, { { 0 } }, false, "abc", "" },
		{ { "abc", "de", "f" }, { { "0", 0, 3 }, { "1", 3, 2 }, { "2", 5, JOB_TO_END } },
			{ { 0 } }, false, "abcdef", "" },
		/* nobody spoke between two parts, and before the first */
		{ { "abc", "de" }, { { "0", 4, 3 }, { "1", 9, JOB_TO_END } }, { { 0 } }, false,
			"<4>abc<2>de", "" },
		{ { "ab", "de" }, { { "0", 0, 3 }, { "1", 3, JOB_TO_END } }, { { 0 } }, false,
			"ab<1>de", "ends early" },
		{ { "abcX", "de" }, { { "0", 0, 3 }, { "1", 3, JOB_TO_END } }, { { 0 } }, false,
			"abcde", "longer than its place" },
		/* silence that was left out */
		{ { "abcdef" }, { { "0", 0, JOB_TO_END } }, { { 2, 100 } }, false, "abcdef", "" },
		{ { "abcdef" }, { { "0", 0, JOB_TO_END } }, { { 2, 100 } }, true, "ab<100>cdef",
			"" },
		{ { "abcdef" }, { { "0", 0, JOB_TO_END } }, { { 0, 7 }, { 9, 5 } }, true,
			"<7>ab<5>cdef", "" },
		{ { "abcdef" }, { { "0", 0, JOB_TO_END } }, { { 6, 7 } }, true, "abcdef<7>", "" },
		{ { "abc", "def" }, { { "0", 0, 3 }, { "1", 103, JOB_TO_END } },
			{ { 2, 100 }, { 104, 10 } }, true, "ab<100>cd<10>ef", "" },
		{ { "abc", "def" }, { { "0", 0, 3 }, { "1", 103, JOB_TO_END } },
			{ { 2, 100 }, { 104, 10 } }, false, "abcdef", "" },
		{ { "abc", "def" }, { { "0", 0, 3 }, { "1", 103, JOB_TO_END } }, { { 3, 100 } },
			true, "abc<100>def", "" },
		{ { "abc", "def" }, { { "0", 0, 3 }, { "1", 103, JOB_TO_END } }, { { 3, 100 } },
			false, "abcdef", "" },
	};
	static const struct raw_form form = { 48000, 1, RAW_S16LE };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct job_part parts[3];
		struct job_cut cuts[2];
		struct job_track track = { .parts = parts, .cuts = cuts };
		struct reel_conf conf = { .track = &track,
			.raw = &form,
			.restored = cases[i].restored,
			.witness = &witness };
		char got[256];
		struct fault fault;
		struct reel *r;

		memcpy(parts, cases[i].parts, sizeof(parts));
		memcpy(cuts, cases[i].cuts, sizeof(cuts));
		while (track.cut_count < 2 && cuts[track.cut_count].samples > 0)
			track.cut_count++;
		for (; track.part_count < 3 && cases[i].files[track.part_count] != NULL;
			track.part_count++) {
			int16_t pcm[16];
			size_t len = strlen(cases[i].files[track.part_count]);

			for (size_t k = 0; k < len; k++)
				pcm[k] = cases[i].files[track.part_count][k];
			put_file(parts[track.part_count].path, pcm, 2 * len);
		}
		heard[0] = '\0';
		if (reel_open(&r, &conf, &fault) < 0)
			fail_msg("%s", fault.text);
		read_all(r, got, sizeof(got));
		if (strcmp(got, cases[i].want) != 0 ||
			(cases[i].heard[0] == '\0' ? heard[0] != '\0'
						   : strstr(heard, cases[i].heard) == NULL) ||
			(reel_finish(r) == SOURCE_WHOLE) != (heard[0] == '\0'))
			fail_msg("case %zu: %s, wanted %s; heard %s", i, got, cases[i].want, heard);
		reel_free(r);
	}
}

/* A hole is cut where a part ends, and where something is put back into it. */
static void holes_in_parts(void **state)
{
	static const struct raw_form form = { 48000, 1, RAW_S16LE };
	struct job_part parts[] = { { "0", 0, 100000 }, { "1", 160000, JOB_TO_END } };
	struct job_cut cuts[] = { { 50000, 100000 } };
	const struct job_track track = { parts, cuts, 2, 1 };
	struct reel_conf conf = { .track = &track, .raw = &form, .witness = &witness };
	const int16_t abc[] = { 'a', 'b', 'c' };
	struct fault fault;
	struct reel *r;

	(void)state;
	put_text("0", "");
	assert_int_equal(truncate("0", 2 * 100000), 0);
	put_file("1", abc, sizeof(abc));
	for (int restored = 0; restored < 2; restored++) {
		uint64_t n, all = 0;
		bool silent = true;
		int16_t pcm[16];

		conf.restored = restored != 0;
		heard[0] = '\0';
		assert_int_equal(reel_open(&r, &conf, &fault), TD_OK);
		do {
			assert_int_equal(reel_read(r, pcm, 16, &n, &silent, &fault), TD_OK);
			all += n;
		} while (n > 0);
		/* 100000 samples in a place for 60000 */
		assert_int_equal(all, restored != 0 ? 160003 : 60003);
		assert_non_null(strstr(heard, "longer than its place"));
		reel_free(r);
	}
}

static void holes(void **state)
{
	static const struct raw_form form = { 8000, 1, RAW_S16LE };
	struct source_conf conf = { .path = "hole", .raw = &form, .witness = &witness };
	struct source *s;
	struct fault fault;
	int16_t pcm[16];
	bool silent;
	uint64_t n;

	(void)state;
	put_text("hole", "");
	assert_int_equal(truncate("hole", 6000000000), 0);
	assert_int_equal(source_open(&s, &conf, &fault), TD_OK);
	assert_int_equal(source_info(s)->samples, 3000000000);
	assert_int_equal(source_read(s, pcm, 16, &n, &silent, &fault), TD_OK);
	if (!silent)
		skip(); /* this file system does not tell */
	assert_int_equal(n, 3000000000);
	assert_int_equal(source_read(s, pcm, 16, &n, &silent, &fault), TD_OK);
	assert_int_equal(n, 0);
	assert_int_equal(source_finish(s), SOURCE_WHOLE);
	/* and now there is more of it */
	assert_int_equal(truncate("hole", 6000000002), 0);
	assert_int_equal(source_finish(s), SOURCE_CHANGED);
	source_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_texts),
		cmocka_unit_test(raw_json),
		cmocka_unit_test(raw_json_tells),
		cmocka_unit_test(times),
		cmocka_unit_test(sample_values),
		cmocka_unit_test_setup_teardown(riff_headers, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(riff_lengths, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(riff_prefixes, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(bad_sources, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(json_longer_than_large, scratch_enter,
			scratch_leave),
		cmocka_unit_test_setup_teardown(reels, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(no_files, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(holes_in_parts, scratch_enter, scratch_leave),
		cmocka_unit_test_setup_teardown(holes, scratch_enter, scratch_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
