/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <lame/lame.h>
#include <math.h>
#include <sndfile.h>

#include "sinks/mp3.h"
#include "tests/unit/sparse_output.h"

enum { CHUNK = 960, SOUND_MAX = 48000 * 8, DECODER_DELAY = 529 };
enum { ENCODED_MAX = 10 * 48000 }; /* of a silence of twenty minutes */
enum { FORMAT_MPEG = 0x230000 };   /* of libsndfile 1.1 and later */

static struct sparse sparse;
static struct td_output output;
static const char *options[] = { "vbr", "", "bitrate", "", NULL };
static char vbr_text[12], bitrate_text[12];
static bool decodes; /* libsndfile knows MP3 */
static struct td_writer_conf conf;

static int setup(void **state)
{
	(void)state;
	output = sparse_output(&sparse);
	conf = (struct td_writer_conf){
		.size = sizeof(conf),
		.source = TD_WANT_PCM,
		.channels = 2,
		.rate = 48000,
		.options = options,
	};
	options[1] = options[3] = "";
	return sparse.fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	return close(sparse.fd);
}

/* Another file, empty. */
static void renew(void)
{
	close(sparse.fd);
	output = sparse_output(&sparse);
}

/* -1: not given. */
static void quality(int vbr, int bitrate)
{
	snprintf(vbr_text, sizeof(vbr_text), "%d", vbr);
	snprintf(bitrate_text, sizeof(bitrate_text), "%d", bitrate);
	options[1] = vbr < 0 ? "" : vbr_text;
	options[3] = bitrate < 0 ? "" : bitrate_text;
}

static uint32_t noise = 1;

static uint32_t rnd(uint32_t below)
{
	noise = noise * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)noise * below >> 32);
}

/* Sound that is nowhere like itself: a tone that rises, and some noise. */
static const int16_t *sound(uint32_t channels, uint32_t rate, uint32_t samples)
{
	static int16_t pcm[SOUND_MAX * 2];
	static uint32_t have[3];
	double phase = 0;

	assert_true(samples <= SOUND_MAX);
	if (have[0] == channels && have[1] == rate && have[2] == samples)
		return pcm;
	for (uint32_t i = 0; i < samples; i++) {
		phase += 2 * M_PI * (150 + 900.0 * i / samples) / rate;
		for (uint32_t c = 0; c < channels; c++)
			pcm[i * channels + c] =
				(int16_t)(9000 * sin(phase + c) + (int)rnd(400) - 200);
	}
	have[0] = channels;
	have[1] = rate;
	have[2] = samples;
	return pcm;
}

static void *open_writer(void)
{
	void *w = NULL;
	char err[256] = "";

	if (mp3_writer.check(&conf, err, sizeof(err)) < 0)
		fail_msg("%s", err);
	assert_int_equal(mp3_writer.open(&w, &output, &conf), 0);
	return w;
}

static void write_all(void *w, const int16_t *pcm, uint32_t samples)
{
	for (uint32_t at = 0; at < samples; at += CHUNK)
		assert_int_equal(mp3_writer.write(w, pcm + (size_t)at * conf.channels,
					 samples - at < CHUNK ? samples - at : CHUNK),
			0);
}

static uint64_t close_writer(void *w, int want)
{
	uint64_t samples = UINT64_MAX;

	assert_int_equal(mp3_writer.close(w, &samples), want);
	assert_int_equal(sparse_flush(&sparse), want);
	return samples;
}

/* ---- a reader of our own ---- */

struct seen {
	uint8_t *data;
	size_t len;
	size_t tag_at, audio_at, end; /* end: of the last whole frame */
	uint32_t frames, spf, mode;
	bool constant;
	size_t smallest, largest; /* frames */
	/* The Info frame. */
	char kind[5];
	uint32_t says_frames, says_bytes, delay, padding, says_length;
	const uint8_t *toc, *ext;
	uint64_t samples;
	char title[4096], album[4096], date[64], encoder[64];
	size_t *where; /* of every frame, and of the end */
};

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static size_t safe32(const uint8_t *p)
{
	for (int i = 0; i < 4; i++)
		assert_true(p[i] < 128);
	return (size_t)p[0] << 21 | (size_t)p[1] << 14 | (size_t)p[2] << 7 | p[3];
}

/* Bit by bit, as it is defined. */
static uint16_t crc16(const uint8_t *p, size_t len)
{
	uint32_t crc = 0;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (0xa001 & (0 - (crc & 1)));
	}
	return (uint16_t)crc;
}

static size_t frame_size(const uint8_t *p, uint32_t *ret_rate, uint32_t *ret_spf)
{
	static const uint32_t v1[] = { 0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256,
		320 };
	static const uint32_t v2[] = { 0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144,
		160 };
	static const uint32_t hz[] = { 44100, 48000, 32000 };
	uint32_t version, index, padding;

	/* Sync, layer III, no checksum. */
	if (p[0] != 0xff || (p[1] & 0xe7) != 0xe3)
		return 0;
	version = p[1] >> 3 & 3; /* 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5 */
	index = p[2] >> 4;
	padding = p[2] >> 1 & 1;
	if (version == 1 || index == 0 || index == 15 || (p[2] >> 2 & 3) == 3)
		return 0;
	*ret_rate = hz[p[2] >> 2 & 3] / (version == 3 ? 1 : version == 2 ? 2 : 4);
	*ret_spf = version == 3 ? 1152 : 576;
	return (version == 3 ? 144 * v1[index] : 72 * v2[index]) * 1000 / *ret_rate + padding;
}

static bool valid_utf8(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len;) {
		uint32_t c = p[i], n = c < 0x80 ? 0 : c >> 5 == 6 ? 1 : c >> 4 == 14 ? 2 : 3;
		static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };

		if (n == 3 && c >> 3 != 30)
			return false;
		c &= n == 0 ? 0x7f : 0x3fu >> n;
		for (i++; n > 0 && i < len && p[i] >> 6 == 2; i++, n--)
			c = c << 6 | (p[i] & 0x3f);
		if (n > 0)
			return false;
		n = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
		if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return false;
	}
	return true;
}

static void see_id3(struct seen *s)
{
	size_t end;

	assert_memory_equal(s->data, "ID3\4\0\0", 6);
	end = 10 + safe32(s->data + 6);
	assert_true(end <= s->len);
	for (size_t at = 10; at < end;) {
		const uint8_t *f = s->data + at;
		size_t len = safe32(f + 4);
		char *to;

		assert_true(at + 10 + len <= end && len > 1);
		assert_int_equal(f[8], 0);
		assert_int_equal(f[9], 0);
		assert_int_equal(f[10], 3);
		assert_true(valid_utf8(f + 11, len - 1));
		to = memcmp(f, "TIT2", 4) == 0      ? s->title
			: memcmp(f, "TALB", 4) == 0 ? s->album
			: memcmp(f, "TDRC", 4) == 0 ? s->date
			: memcmp(f, "TSSE", 4) == 0 ? s->encoder
						    : NULL;
		assert_non_null(to);
		assert_true(to[0] == '\0' && len < 4096);
		memcpy(to, f + 11, len - 1);
		assert_null(memchr(f + 11, 0, len - 1));
		at += 10 + len;
	}
	s->tag_at = end;
}

/* Where frame n begins, in 256ths of the file. */
static uint32_t share(const struct seen *s, uint32_t n)
{
	uint64_t at = (uint64_t)(s->where[n] - s->tag_at) * 256 / s->says_bytes;

	return at < 255 ? (uint32_t)at : 255;
}

/* torn: the last frame may be cut. stale: the Info frame may be of a moment ago. */
static void see(struct seen *s, int fd, bool torn, bool stale)
{
	uint32_t rate, spf, side, mpeg1;
	const uint8_t *p;
	struct stat st;
	size_t n;

	memset(s, 0, sizeof(*s));
	assert_int_equal(fstat(fd, &st), 0);
	s->len = (size_t)st.st_size;
	s->data = malloc(s->len + 4);
	assert_int_equal(pread(fd, s->data, s->len, 0), s->len);
	memset(s->data + s->len, 0, 4);
	see_id3(s);
	p = s->data + s->tag_at;
	n = frame_size(p, &rate, &s->spf);
	assert_true(n > 0);
	assert_int_equal(rate, conf.rate);
	mpeg1 = p[1] >> 3 & 1;
	s->mode = p[3] >> 6;
	assert_int_equal(s->mode, conf.channels == 2 ? 1 : 3);
	side = mpeg1 ? (conf.channels == 2 ? 32 : 17) : (conf.channels == 2 ? 17 : 9);
	for (uint32_t i = 4; i < 4 + side; i++)
		assert_int_equal(p[i], 0);
	assert_true(4 + side + 156 <= n);
	p += 4 + side;
	memcpy(s->kind, p, 4);
	assert_int_equal(be32(p + 4), 15);
	s->says_frames = be32(p + 8);
	s->says_bytes = be32(p + 12);
	s->toc = p + 16;
	s->ext = p + 120;
	s->delay = (uint32_t)s->ext[21] << 4 | s->ext[22] >> 4;
	s->padding = (s->ext[22] & 15u) << 8 | s->ext[23];
	s->says_length = be32(s->ext + 28);
	assert_int_equal(s->says_length, s->says_bytes);
	assert_int_equal(s->ext[34] << 8 | s->ext[35],
		crc16(s->data + s->tag_at, (size_t)(s->ext + 34 - s->data) - s->tag_at));
	for (size_t i = (size_t)(s->ext + 36 - s->data); i < s->tag_at + n; i++)
		assert_int_equal(s->data[i], 0);
	s->audio_at = s->tag_at + n;

	s->where = malloc((s->len / 24 + 2) * sizeof(s->where[0]));
	s->smallest = SIZE_MAX;
	for (s->end = s->audio_at; s->end + 4 <= s->len; s->end += n) {
		p = s->data + s->end;
		n = frame_size(p, &rate, &spf);
		if (torn && n == 0)
			break;
		assert_true(n > 0);
		assert_int_equal(rate, conf.rate);
		assert_int_equal(spf, s->spf);
		assert_int_equal(p[3] >> 6, s->mode);
		if (s->end + n > s->len)
			break;
		s->where[s->frames++] = s->end;
		s->smallest = n < s->smallest ? n : s->smallest;
		s->largest = n > s->largest ? n : s->largest;
	}
	s->where[s->frames] = s->end;
	if (!torn)
		assert_int_equal(s->end, s->len);
	if (!stale) {
		assert_int_equal(s->says_frames, s->frames);
		assert_int_equal(s->says_bytes, s->end - s->tag_at);
	}
	assert_true(s->says_frames <= s->frames);
	n = s->where[s->says_frames];
	assert_int_equal(s->says_bytes, n - s->tag_at);
	assert_int_equal(s->ext[32] << 8 | s->ext[33],
		crc16(s->data + s->audio_at, n - s->audio_at));
	for (uint32_t i = 0; i < 100; i++) {
		/* Exact while there is a mark for every frame; later there is one for every 1/128.
		 */
		uint32_t at = (uint32_t)((uint64_t)s->says_frames * i / 100);
		uint32_t about = s->says_frames <= 256 ? 0 : s->says_frames / 128 + 1;
		uint32_t from = at > about ? at - about : 0;
		uint32_t to = at + about < s->says_frames ? at + about : s->says_frames;

		assert_true(s->toc[i] >= share(s, from) && s->toc[i] <= share(s, to));
	}
	assert_true((uint64_t)s->says_frames * s->spf >= s->delay + s->padding);
	s->samples = (uint64_t)s->says_frames * s->spf - s->delay - s->padding;
	assert_int_equal(s->delay, 576);
	assert_true(s->padding >= DECODER_DELAY);
}

static void seen_free(struct seen *s)
{
	free(s->data);
	free(s->where);
}

/* ---- decoding ---- */

/* Everything the decoder gives; free() it. */
static int16_t *decode(int fd, uint64_t *ret_samples)
{
	int copy = dup(fd), stderr_fd = dup(2), null = open("/dev/null", O_WRONLY);
	SF_INFO info = { 0 };
	SNDFILE *snd;
	int16_t *pcm;
	uint64_t at = 0;
	sf_count_t n;

	assert_int_equal(lseek(copy, 0, SEEK_SET), 0);
	/* libmpg123 says a word about every file that was cut off. */
	dup2(null, 2);
	if ((snd = sf_open_fd(copy, SFM_READ, &info, 1)) == NULL)
		fail_msg("libsndfile: %s", sf_strerror(NULL));
	assert_int_equal(info.channels, conf.channels);
	assert_int_equal(info.samplerate, conf.rate);
	pcm = malloc(((size_t)info.frames + 5000) * conf.channels * 2);
	while ((n = sf_readf_short(snd, pcm + at * conf.channels, 4096)) > 0) {
		at += (uint64_t)n;
		assert_true(at <= (uint64_t)info.frames);
	}
	assert_int_equal(at, info.frames);
	sf_close(snd);
	dup2(stderr_fd, 2);
	close(stderr_fd);
	close(null);
	*ret_samples = at;
	return pcm;
}

/* How alike a and b are when b is moved: -1..1. Of the first channel. */
static double alike(const int16_t *a, const int16_t *b, int n, int shift)
{
	double ab = 0, aa = 1, bb = 1;
	int step = (int)conf.channels;

	for (int i = 8; i < n - 8; i++) {
		double x = a[i * step], y = b[(i + shift) * step];

		ab += x * y;
		aa += x * x;
		bb += y * y;
	}
	return ab / sqrt(aa * bb);
}

/* got has pcm exactly where it belongs. */
static void expect_sound(const int16_t *pcm, const int16_t *got, uint32_t samples, double least)
{
	double here = alike(pcm, got, (int)samples, 0);

	if (here < least)
		fail_msg("%u Hz, vbr %s bitrate %s: alike %f", conf.rate, options[1], options[3],
			here);
	/* 8 and 16 kbit/s leave too little of it to tell. */
	for (int shift = 1; shift <= 8 && least >= 0.9; shift++) {
		if (alike(pcm, got, (int)samples, shift) >= here ||
			alike(pcm, got, (int)samples, -shift) >= here)
			fail_msg("%u Hz, vbr %s bitrate %s: %d samples off", conf.rate, options[1],
				options[3], shift);
	}
}

static void expect_samples(uint64_t want)
{
	uint64_t got;

	if (!decodes)
		return;
	free(decode(sparse.fd, &got));
	assert_int_equal(got, want);
}

/* Decoders of other people's; those that are not there have nothing to say. */
static void expect_programs_content(void)
{
	int r = sparse_run(&sparse, "ffmpeg -nostdin -v error -i", "-f null -");

	assert_true(r == 0 || r == 77);
	r = sparse_run(&sparse, "mpg123 -q -t", "");
	assert_true(r == 0 || r == 77);
}

/* ---- tests ---- */

static void one_setting(int vbr, int bitrate)
{
	uint32_t n = conf.rate / 5;
	const int16_t *pcm = sound(conf.channels, conf.rate, n);
	uint64_t pause = conf.rate / 10 + 7, samples;
	double least = bitrate < 0 || bitrate >= 32 ? 0.9 : 0.2;
	struct seen s;
	int16_t *got;
	void *w;

	renew();
	quality(vbr, bitrate);
	w = open_writer();
	write_all(w, pcm, n);
	assert_int_equal(mp3_writer.silence(w, pause), 0);
	write_all(w, pcm, n);
	assert_int_equal(close_writer(w, 0), 2 * n + pause);
	see(&s, sparse.fd, false, false);
	assert_int_equal(s.samples, 2 * n + pause);
	assert_string_equal(s.kind, bitrate < 0 ? "Xing" : "Info");
	if (bitrate > 0)
		assert_true(s.largest - s.smallest <= 1 &&
			s.smallest == s.spf / 8 * 1000 * (uint32_t)bitrate / conf.rate);
	if (decodes) {
		got = decode(sparse.fd, &samples);
		assert_int_equal(samples, 2 * n + pause);
		expect_sound(pcm, got, n, least);
		expect_sound(pcm, got + (n + pause) * conf.channels, n, least);
		free(got);
	}
	seen_free(&s);
}

static const uint32_t all_rates[] = { 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100,
	48000 };

static void every_setting(void **state)
{
	static const int bitrates[] = { 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160,
		192, 224, 256, 320 };
	int constant = 0;
	char err[256];

	(void)state;
	for (size_t i = 0; i < 9; i++) {
		conf.rate = all_rates[i];
		for (conf.channels = 1; conf.channels <= 2; conf.channels++) {
			for (int vbr = 0; vbr <= 9; vbr += conf.rate == 48000 ? 1 : 3)
				one_setting(vbr, -1);
			for (size_t b = 0; b < sizeof(bitrates) / sizeof(bitrates[0]); b++) {
				quality(-1, bitrates[b]);
				if (mp3_writer.check(&conf, err, sizeof(err)) < 0)
					continue;
				one_setting(-1, bitrates[b]);
				constant++;
			}
		}
	}
	assert_int_equal(constant, 2 * 3 * (8 + 14 + 14));
}

static void every_length(void **state)
{
	const int16_t *pcm = sound(2, 48000, 6000);

	(void)state;
	for (int i = 0; i < 3; i++) {
		conf.rate = i == 0 ? 48000 : i == 1 ? 44100 : 8000;
		conf.channels = i == 2 ? 1 : 2;
		quality(-1, i == 0 ? -1 : i == 1 ? 128 : 8);
		for (uint32_t n = 0; n < 6000; n += n < 5 || n % 576 > 570 ? 1 : 61) {
			struct seen s;
			void *w;

			renew();
			w = open_writer();
			write_all(w, pcm, n);
			assert_int_equal(close_writer(w, 0), n);
			see(&s, sparse.fd, false, false);
			assert_int_equal(s.samples, n);
			expect_samples(n);
			seen_free(&s);
		}
	}
}

static void what_is_asked_for_is_checked(void **state)
{
	static const struct {
		uint32_t source, channels, rate;
		const char *vbr, *bitrate, *says; /* NULL: fine */
	} cases[] = {
		{ TD_WANT_PCM, 2, 48000, "", "", NULL },
		{ TD_WANT_PCM, 1, 8000, "9", "", NULL },
		{ TD_WANT_PCM, 2, 44100, "", "320", NULL },
		{ TD_WANT_PCM, 2, 16000, "", "160", NULL },
		{ TD_WANT_PCM, 2, 12000, "", "64", NULL },
		{ TD_WANT_PCM, 2, 48000, "2", "128", "both" },
		{ TD_WANT_PCM, 2, 48000, "", "100",
			" 32 40 48 56 64 80 96 112 128 160 192 224 256 320" },
		{ TD_WANT_PCM, 2, 48000, "", "144", "144" },
		{ TD_WANT_PCM, 2, 24000, "", "192",
			" 8 16 24 32 40 48 56 64 80 96 112 128 144 160" },
		{ TD_WANT_PCM, 2, 12000, "", "80", " 8 16 24 32 40 48 56 64" },
		{ TD_WANT_PCM, 2, 96000, "", "", "44100 and 48000" },
		{ TD_WANT_PCM, 2, 0, "", "", "8000" },
		{ TD_WANT_PCM, 3, 48000, "", "", "channels" },
		{ TD_WANT_PCM, 0, 48000, "", "", "channels" },
		{ TD_WANT_OPUS, 2, 48000, "", "", "samples" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char err[256] = "";
		int r;

		conf.source = cases[i].source;
		conf.channels = cases[i].channels;
		conf.rate = cases[i].rate;
		options[1] = cases[i].vbr;
		options[3] = cases[i].bitrate;
		r = mp3_writer.check(&conf, err, sizeof(err));
		assert_int_equal(r, cases[i].says == NULL ? 0 : TD_ERR_USAGE);
		if (cases[i].says != NULL && strstr(err, cases[i].says) == NULL)
			fail_msg("case %zu: %s", i, err);
		assert_null(strchr(err, '\n'));
		if (cases[i].says == NULL)
			assert_string_equal(err, "");
		else
			assert_int_equal(mp3_writer.check(&conf, err, 1), TD_ERR_USAGE);
	}
}

static void tags(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "plain", "plain" },
		{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x8e\xb5", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x8e\xb5" },
		{ "a\xff\xfe"
		  "b",
			"a\xef\xbf\xbd\xef\xbf\xbd"
			"b" },
		{ "cut\xe2\x82", "cut\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "a\nb\tc\x7f", "a b c " },
		{ "", "" },
		{ NULL, "" },
	};
	static char wild[3000];
	struct seen s;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		renew();
		conf.title = cases[i].in;
		conf.album = cases[9 - i].in;
		conf.start_utc_ns = UINT64_C(1767323045678901234);
		close_writer(open_writer(), 0);
		see(&s, sparse.fd, false, false);
		assert_string_equal(s.title, cases[i].out);
		assert_string_equal(s.album, cases[9 - i].out);
		assert_string_equal(s.date, "2026-01-02T03:04:05");
		assert_non_null(strstr(s.encoder, "LAME"));
		seen_free(&s);
	}
	conf.start_utc_ns = 0;
	for (uint32_t i = 0; i < 1000; i++) {
		size_t len = rnd(sizeof(wild));

		for (size_t k = 0; k < len; k++)
			wild[k] = (char)(1 + rnd(255));
		wild[len] = '\0';
		renew();
		conf.title = wild;
		conf.album = wild + len / 2;
		close_writer(open_writer(), 0);
		see(&s, sparse.fd, false, false);
		assert_true(strlen(s.title) <= 1024);
		if (len > 900)
			assert_true(strlen(s.title) > 1020);
		assert_string_equal(s.date, "");
		assert_null(memchr(s.data, 0xff, s.tag_at));
		seen_free(&s);
	}
	expect_programs_content();
}

/* The frames are LAME's to the last byte, and so is what there is to say about them. */
static void as_lame_itself_has_it(void **state)
{
	static uint8_t whole[1 << 20], tag[2880];
	const int16_t *pcm;

	(void)state;
	for (int i = 0; i < 8; i++) {
		uint32_t n = 100000, len = 0;
		struct seen s;
		lame_global_flags *l = lame_init();
		const uint8_t *ext = NULL;
		size_t tag_len, spf;
		void *w;

		conf.rate = i < 4 ? 48000 : i < 6 ? 44100 : i == 6 ? 24000 : 8000;
		conf.channels = i % 3 == 2 ? 1 : 2;
		quality(i % 2 == 0 ? i : -1, i % 2 == 0 ? -1 : i == 7 ? 32 : 320 >> i / 2);
		pcm = sound(conf.channels, conf.rate, n);
		lame_set_in_samplerate(l, (int)conf.rate);
		lame_set_out_samplerate(l, (int)conf.rate);
		lame_set_num_channels(l, (int)conf.channels);
		lame_set_quality(l, 5);
		if (i % 2 == 0) {
			lame_set_VBR(l, vbr_mtrh);
			lame_set_VBR_q(l, i);
		} else {
			lame_set_brate(l, atoi(bitrate_text));
		}
		assert_int_equal(lame_init_params(l), 0);
		if (conf.channels == 2)
			len += (uint32_t)lame_encode_buffer_interleaved(l,
				(int16_t *)(uintptr_t)pcm, (int)n, whole, sizeof(whole));
		else
			len += (uint32_t)lame_encode_buffer(l, pcm, pcm, (int)n, whole,
				sizeof(whole));
		len += (uint32_t)lame_encode_flush(l, whole + len, (int)(sizeof(whole) - len));
		tag_len = lame_get_lametag_frame(l, tag, sizeof(tag));
		spf = (size_t)lame_get_framesize(l);
		lame_close(l);
		assert_true(tag_len > 0);
		for (size_t k = 0; k + 160 <= tag_len && ext == NULL; k++)
			if (memcmp(tag + k, "Info", 4) == 0 || memcmp(tag + k, "Xing", 4) == 0)
				ext = tag + k + 120;
		assert_non_null(ext);

		renew();
		w = open_writer();
		write_all(w, pcm, n);
		assert_int_equal(close_writer(w, 0), n);
		see(&s, sparse.fd, false, false);
		assert_int_equal(s.spf, spf);
		assert_int_equal(s.len - s.audio_at, len - tag_len);
		assert_memory_equal(s.data + s.audio_at, whole + tag_len, len - tag_len);
		assert_memory_equal(s.data + s.tag_at, tag, 2);
		assert_int_equal(s.data[s.tag_at + 2] & 0x0f, tag[2] & 0x0f);
		assert_memory_equal(s.ext - 120, ext - 120, 8);
		assert_int_equal(s.says_frames, be32(ext - 112));
		/* From the quality to the source, but for two bits LAME does not tell. */
		assert_memory_equal(s.ext - 4, ext - 4, 28);
		assert_int_equal(s.ext[24] & 0xfc, ext[24] & 0xfc);
		assert_memory_equal(s.ext + 25, ext + 25, 3);
		assert_memory_equal(s.ext + 32, ext + 32, 2);
		seen_free(&s);
	}
}

/* Everything of the file; free() it. */
static uint8_t *contents(size_t *ret_len)
{
	struct stat st;
	uint8_t *data;

	assert_int_equal(fstat(sparse.fd, &st), 0);
	data = malloc((size_t)st.st_size);
	assert_int_equal(pread(sparse.fd, data, (size_t)st.st_size, 0), st.st_size);
	*ret_len = (size_t)st.st_size;
	return data;
}

/* Samples of silence, as one; or encoded as sound; or in two pieces; or in small ones. */
static void put_pause(void *w, uint64_t pause, int how)
{
	static const int16_t zeros[2 * CHUNK];
	uint64_t n, first = how == 2 ? pause / 3 : pause;

	if (how == 1) {
		for (; pause > 0; pause -= n) {
			n = pause < CHUNK ? pause : CHUNK;
			assert_int_equal(mp3_writer.write(w, zeros, (uint32_t)n), 0);
		}
		return;
	}
	if (how == 3) {
		for (; pause > 0; pause -= n) {
			n = pause < CHUNK ? pause : CHUNK;
			assert_int_equal(mp3_writer.silence(w, n), 0);
			if (rnd(100) == 0)
				assert_int_equal(mp3_writer.refresh(w), 0);
		}
		return;
	}
	assert_int_equal(mp3_writer.silence(w, first), 0);
	if (how == 2)
		assert_int_equal(mp3_writer.refresh(w), 0);
	assert_int_equal(mp3_writer.silence(w, pause - first), 0);
}

/* Sound, and twice silence and sound; how 2: with refreshes anywhere. */
static uint8_t *with_pauses(uint64_t pause, int how, size_t *ret_len)
{
	const int16_t *pcm = sound(conf.channels, conf.rate, 40000);
	struct seen s;
	void *w;

	renew();
	w = open_writer();
	write_all(w, pcm, 40000);
	for (int round = 0; round < 2; round++) {
		put_pause(w, pause, how);
		for (int i = 0; i < 20; i++) {
			assert_int_equal(mp3_writer.write(w, pcm + i * 1000 * (int)conf.channels,
						 1000),
				0);
			if (how == 2)
				assert_int_equal(mp3_writer.refresh(w), 0);
		}
	}
	assert_int_equal(close_writer(w, 0), 80000 + 2 * pause);
	see(&s, sparse.fd, false, false);
	assert_int_equal(s.samples, 80000 + 2 * pause);
	seen_free(&s);
	return contents(ret_len);
}

static void silence_is_what_lame_makes_of_it(void **state)
{
	static const struct {
		uint32_t rate, channels;
		int vbr, bitrate;
		uint32_t frames; /* of silence */
	} cases[] = {
		{ 48000, 2, 2, -1, 140 },
		{ 48000, 2, 2, -1, 700 },
		{ 48000, 2, 0, -1, 200 },
		{ 48000, 1, 9, -1, 200 },
		{ 44100, 2, 4, -1, 200 },
		{ 48000, 2, -1, 320, 200 },
		{ 48000, 1, -1, 32, 200 },
		{ 44100, 2, -1, 128, 450 },
		{ 44100, 1, -1, 320, 450 },
		{ 32000, 2, -1, 56, 200 },
		{ 22050, 2, -1, 8, 450 },
		{ 22050, 2, -1, 112, 450 },
		{ 16000, 1, 3, -1, 200 },
		{ 11025, 2, -1, 48, 450 },
		{ 8000, 1, -1, 8, 200 },
		{ 8000, 2, 5, -1, 200 },
	};

	(void)state;
	/* After 128 frames, and two rounds of up to 98, nothing is encoded any more. */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t spf = cases[i].rate >= 32000 ? 1152 : 576;
		uint64_t pause = (uint64_t)cases[i].frames * spf + rnd(2 * spf);
		uint8_t *made[4];
		size_t len[4];

		conf.rate = cases[i].rate;
		conf.channels = cases[i].channels;
		quality(cases[i].vbr, cases[i].bitrate);
		for (int how = 0; how < 4; how++)
			made[how] = with_pauses(pause, how, &len[how]);
		for (int how = 1; how < 4; how++) {
			assert_int_equal(len[0], len[how]);
			assert_memory_equal(made[0], made[how], len[0]);
		}
		for (int how = 0; how < 4; how++)
			free(made[how]);
	}
}

/* What LAME is given, by whomever: silence is copied, not encoded. */
static uint64_t encoded;

int lame_encode_buffer(lame_global_flags *l, const short *left, const short *right, int n,
	unsigned char *to, int room)
{
	int (*next)(lame_global_flags *, const short *, const short *, int, unsigned char *, int);

	*(void **)&next = dlsym(RTLD_NEXT, "lame_encode_buffer");
	encoded += (uint64_t)n;
	return next(l, left, right, n, to, room);
}

static void long_silence(void **state)
{
	uint32_t n = 48000;
	const int16_t *pcm = sound(1, 48000, n);
	uint64_t pause = UINT64_C(1200) * 48000 + 5, samples;
	struct seen s;
	int16_t *got;
	void *w;

	(void)state;
	conf.channels = 1;
	w = open_writer();
	write_all(w, pcm, n);
	encoded = 0;
	assert_int_equal(mp3_writer.silence(w, pause), 0);
	assert_in_range(encoded, 1, ENCODED_MAX);
	write_all(w, pcm, n);
	assert_int_equal(close_writer(w, 0), 2 * n + pause);
	see(&s, sparse.fd, false, false);
	assert_int_equal(s.samples, 2 * n + pause);
	assert_true(s.len > 4800000 && s.len < 4900000);
	seen_free(&s);
	expect_programs_content();
	if (!decodes)
		return;
	got = decode(sparse.fd, &samples);
	assert_int_equal(samples, 2 * n + pause);
	expect_sound(pcm, got, n, 0.99);
	for (uint64_t i = n + 2000; i < n + pause - 2000; i++)
		assert_int_equal(got[i], 0);
	expect_sound(pcm, got + n + pause, n, 0.99);
	free(got);
}

/* It costs no more in pieces shorter than a frame, as they come for a file that has to end at a
 * size; nor does the file fall behind. */
static void long_silence_in_pieces(void **state)
{
	static const struct {
		int vbr, bitrate;
		uint32_t rate, piece;
	} cases[] = { { 2, -1, 48000, 960 }, { 2, -1, 48000, 1000 }, { -1, 128, 44100, 882 },
		{ -1, 128, 44100, 100000 } };

	(void)state;
	conf.channels = 1;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t pause = UINT64_C(1200) * cases[i].rate + 5, n;
		struct seen s;
		void *w;

		renew();
		conf.rate = cases[i].rate;
		quality(cases[i].vbr, cases[i].bitrate);
		w = open_writer();
		write_all(w, sound(1, conf.rate, 48000), 48000);
		encoded = 0;
		for (uint64_t left = pause; left > 0; left -= n) {
			n = left < cases[i].piece ? left : cases[i].piece;
			assert_int_equal(mp3_writer.silence(w, n), 0);
		}
		assert_in_range(encoded, 1, ENCODED_MAX);
		assert_int_equal(mp3_writer.refresh(w), 0);
		assert_int_equal(sparse_flush(&sparse), 0);
		see(&s, sparse.fd, false, false);
		assert_true(s.samples + conf.rate * 6 / 10 >= 48000 + pause);
		seen_free(&s);
		write_all(w, sound(1, conf.rate, 48000), 48000);
		assert_int_equal(close_writer(w, 0), 96000 + pause);
		see(&s, sparse.fd, false, false);
		assert_int_equal(s.samples, 96000 + pause);
		seen_free(&s);
	}
}

/* What would be there if the writer had been killed now: valid, with all but the last moment. */
static void expect_kept(uint64_t written, struct seen *s)
{
	see(s, sparse.fd, false, false);
	assert_true(s->samples <= written);
	assert_true(s->samples + conf.rate * 6 / 10 >= written);
	if (rnd(8) == 0)
		expect_samples(s->samples);
}

static void valid_at_every_moment(void **state)
{
	static const struct {
		uint32_t rate, channels;
		int bitrate;
	} cases[] = { { 48000, 2, -1 }, { 48000, 2, 320 }, { 44100, 1, 32 }, { 22050, 2, 64 },
		{ 8000, 1, 8 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const int16_t *pcm = sound(cases[i].channels, cases[i].rate, 5 * CHUNK);
		uint64_t written = 0;
		struct seen s;
		void *w;

		conf.rate = cases[i].rate;
		conf.channels = cases[i].channels;
		quality(-1, cases[i].bitrate);
		renew();
		w = open_writer();
		assert_int_equal(sparse_flush(&sparse), 0);
		expect_kept(0, &s);
		seen_free(&s);
		expect_programs_content();
		for (int k = 0; k < 40; k++) {
			struct stat before, after;
			uint32_t n = 1 + rnd(5 * CHUNK);

			assert_int_equal(fstat(sparse.fd, &before), 0);
			if (k % 7 == 3) {
				assert_int_equal(mp3_writer.silence(w, n), 0);
			} else if (k % 20 == 19) {
				n = conf.rate * 20;
				assert_int_equal(mp3_writer.silence(w, n), 0);
			} else {
				write_all(w, pcm, n);
			}
			written += n;
			/* Nothing gets there half. */
			assert_int_equal(fstat(sparse.fd, &after), 0);
			if (k % 20 != 19)
				assert_int_equal(before.st_size, after.st_size);
			assert_int_equal(mp3_writer.refresh(w), 0);
			expect_kept(written, &s);
			seen_free(&s);
			if (k == 0 || k == 39)
				expect_programs_content();
		}
		assert_int_equal(close_writer(w, 0), written);
	}
}

/* Killed between the frames and the Info frame that speaks of them: what was there is there. */
static void killed_while_writing(void **state)
{
	uint32_t n = 48000 * 4;
	const int16_t *pcm = sound(2, 48000, n);
	uint8_t head[1024], *whole;
	struct seen early, s;
	uint64_t samples, all;
	int16_t *got, *want;
	size_t len;
	void *w;

	(void)state;
	if (!decodes)
		skip();
	w = open_writer();
	write_all(w, pcm, n / 2);
	assert_int_equal(mp3_writer.refresh(w), 0);
	see(&early, sparse.fd, false, false);
	memcpy(head, early.data, early.audio_at);
	write_all(w, pcm + n, n / 2);
	close_writer(w, 0);
	want = decode(sparse.fd, &all);
	assert_int_equal(all, n);
	whole = contents(&len);
	assert_memory_equal(whole + early.audio_at, early.data + early.audio_at,
		early.len - early.audio_at);
	for (int i = 0; i < 60; i++) {
		size_t cut = early.len + rnd((uint32_t)(len - early.len));

		assert_int_equal(ftruncate(sparse.fd, (off_t)cut), 0);
		assert_int_equal(pwrite(sparse.fd, whole, cut, 0), cut);
		assert_int_equal(pwrite(sparse.fd, head, early.audio_at, 0), early.audio_at);
		see(&s, sparse.fd, true, true);
		assert_int_equal(s.samples, early.samples);
		seen_free(&s);
		got = decode(sparse.fd, &samples);
		assert_int_equal(samples, early.samples);
		assert_memory_equal(got, want, samples * 4);
		free(got);
	}
	seen_free(&early);
	free(whole);
	free(want);
}

static void a_full_disk(void **state)
{
	uint32_t n = 48000;
	uint64_t got, before = 0;
	struct seen s;

	(void)state;
	for (int i = 0; i < 100; i++) {
		const int16_t *pcm = sound(2, 48000, n);
		int r = 0;
		void *w;

		renew();
		quality(-1, i % 2 == 0 ? -1 : 64);
		/* At first byte by byte around the start, which is some 500 bytes. */
		sparse.room = i < 60 ? 300 + (uint64_t)i * 8 : 800 + rnd(60000);
		if (mp3_writer.check(&conf, (char[8]){ 0 }, 8) < 0 ||
			mp3_writer.open(&w, &output, &conf) < 0)
			continue;
		for (int k = 0; k < 8 && r == 0; k++) {
			if (k == 4)
				r = mp3_writer.silence(w, 48000 * 20);
			if (r == 0)
				r = mp3_writer.write(w, pcm, n);
			if (r == 0 && k % 2 == 0)
				r = mp3_writer.refresh(w);
		}
		assert_int_equal(r, TD_ERR_IO);
		assert_int_equal(mp3_writer.write(w, pcm, n), TD_ERR_IO);
		assert_int_equal(mp3_writer.silence(w, 48000 * 3600), TD_ERR_IO);
		assert_int_equal(mp3_writer.refresh(w), TD_ERR_IO);
		got = UINT64_MAX;
		assert_int_equal(mp3_writer.close(w, &got), TD_ERR_IO);
		if (sparse.stored < 500) {
			assert_int_equal(got, 0);
			continue;
		}
		see(&s, sparse.fd, true, false);
		assert_int_equal(s.samples, got);
		expect_samples(got);
		/* Nothing of what could be stored is given away. */
		if (got > 0)
			assert_true(s.len - s.end < 1000);
		before += got;
		seen_free(&s);
	}
	assert_true(before > 0);
}

/* Nothing is kept of what it is given but the numbers. */
static uint64_t counted;

static int count_append(void *user, const void *data, size_t len)
{
	(void)user;
	(void)data;
	counted += len;
	return 0;
}

static uint8_t patched[2048];

static int count_patch(void *user, uint64_t at, const void *data, size_t len)
{
	(void)user;
	assert_true(at + len <= counted && len <= sizeof(patched));
	memcpy(patched, data, len);
	return 0;
}

static uint64_t count_length(void *user)
{
	(void)user;
	return counted;
}

static void more_bytes_than_the_tag_can_say(void **state)
{
	struct td_output count = { .size = sizeof(count),
		.append = count_append,
		.patch = count_patch,
		.length = count_length };
	uint64_t n = UINT64_C(32000) * 3600 * 31, samples;
	const uint8_t *p = patched + 4 + 32;
	void *w;

	(void)state;
	conf.rate = 32000;
	quality(-1, 320);
	counted = 0;
	assert_int_equal(mp3_writer.open(&w, &count, &conf), 0);
	assert_int_equal(mp3_writer.silence(w, n), 0);
	assert_int_equal(mp3_writer.close(w, &samples), 0);
	assert_int_equal(samples, n);
	assert_true(counted > UINT64_C(1) << 32);
	assert_memory_equal(p, "Info", 4);
	assert_true((uint64_t)be32(p + 8) * 1152 > n);
	assert_int_equal(be32(p + 12), 0);
	for (int i = 0; i < 100; i++)
		assert_in_range(p[16 + i], i * 256 / 100 - (i > 0), i * 256 / 100 + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_setting, setup, teardown),
		cmocka_unit_test_setup_teardown(every_length, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_asked_for_is_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(tags, setup, teardown),
		cmocka_unit_test_setup_teardown(as_lame_itself_has_it, setup, teardown),
		cmocka_unit_test_setup_teardown(silence_is_what_lame_makes_of_it, setup, teardown),
		cmocka_unit_test_setup_teardown(long_silence, setup, teardown),
		cmocka_unit_test_setup_teardown(long_silence_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(valid_at_every_moment, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_while_writing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(more_bytes_than_the_tag_can_say, setup, teardown),
	};
	int majors = 0;

	sf_command(NULL, SFC_GET_FORMAT_MAJOR_COUNT, &majors, sizeof(majors));
	for (int i = 0; i < majors; i++) {
		SF_FORMAT_INFO info = { .format = i };

		if (sf_command(NULL, SFC_GET_FORMAT_MAJOR, &info, sizeof(info)) == 0)
			decodes |= (info.format & SF_FORMAT_TYPEMASK) == FORMAT_MPEG;
	}
	if (!decodes)
		print_message("# libsndfile does not read MP3: nothing is decoded\n");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
