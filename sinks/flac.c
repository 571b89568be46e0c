/* SPDX-License-Identifier: ISC */
#include "sinks/flac.h"

#include <FLAC/stream_encoder.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "sinks/text.h"
#include "sinks/utc.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	"the MD5 is that of little-endian samples");

/*
 * libFLAC makes the frames and nothing else. Around them:
 *
 *  - The metadata are written here, so that a refresh can bring STREAMINFO up to date.
 *  - Whole frames of silence are not encoded again and again: the first one that libFLAC made is
 *    repeated. So frames are numbered here.
 *  - So is the MD5 made here, which has to see that silence, too.
 *  - Frames are held back until some are passed on together, STREAMINFO right behind them. A file
 *    that nobody finishes then ends with a whole frame; readers complain about half a one.
 */
enum { FLAC_STREAMINFO_AT = 8, FLAC_STREAMINFO_LEN = 34, FLAC_MD5_LEN = 16 };
enum { FLAC_LIVE_MD5_S = 1200 }; /* a pause of a live call this long makes the file go without */
enum { FLAC_CHUNK = 1024, FLAC_TAG_MAX = 4096, FLAC_RUNS = 256, FLAC_SILENT_MAX = 32 };
enum { FLAC_HELD = 80 * 1024 }; /* the largest frame is 66 KiB */
#define FLAC_FRAME_NUMBER_MAX INT32_MAX
#define FLAC_TOTAL_MAX ((UINT64_C(1) << 36) - 1)

/* Frames of one size, one after the other. */
struct flac_run {
	uint64_t at;      /* in the output */
	uint64_t samples; /* before it */
	uint32_t frame_len, frame_samples;
};

struct flac {
	const struct td_output *out;
	uint32_t channels, rate;
	uint32_t block; /* samples of every frame but the last */
	int error;
	FLAC__StreamEncoder *encoder;
	EVP_MD_CTX *md5;
	bool live;
	bool no_md5;     /* it would have taken too long */
	uint64_t taken;  /* samples given to libFLAC, or to the output in its place */
	uint64_t stored; /* samples in the frames that were made; fewer */
	uint64_t frames;
	uint32_t frame_min, frame_max;   /* bytes */
	uint32_t silent_len;             /* 0: the last frame was longer */
	uint8_t silent[FLAC_SILENT_MAX]; /* the last frame */
	uint64_t sure;                   /* samples that are in the file for certain */
	uint32_t run_count;              /* also of those that are not kept any more */
	struct flac_run runs[FLAC_RUNS]; /* since then, a ring */
	int32_t wide[FLAC_CHUNK * 2];
	size_t held_len;
	uint8_t held[FLAC_HELD];
};

/* ---- STREAMINFO ---- */

static void put_be(uint8_t *p, size_t len, uint64_t value)
{
	while (len > 0) {
		p[--len] = (uint8_t)value;
		value >>= 8;
	}
}

/* RFC 9639, 8.2. md5 NULL: not known. */
static void put_streaminfo(uint8_t ret[static FLAC_STREAMINFO_LEN], const struct flac *f,
	uint64_t samples, const uint8_t *md5)
{
	memset(ret, 0, FLAC_STREAMINFO_LEN);
	put_be(ret, 2, f->block);
	put_be(ret + 2, 2, f->block);
	if (md5 != NULL) {
		put_be(ret + 4, 3, f->frame_min);
		put_be(ret + 7, 3, f->frame_max);
		memcpy(ret + 18, md5, FLAC_MD5_LEN);
	}
	if (samples > FLAC_TOTAL_MAX)
		samples = 0; /* not known */
	put_be(ret + 10, 8,
		(uint64_t)f->rate << 44 | (uint64_t)(f->channels - 1) << 41 | UINT64_C(15) << 36 |
			samples);
}

static int patch_streaminfo(struct flac *f, uint64_t samples, const uint8_t *md5)
{
	uint8_t info[FLAC_STREAMINFO_LEN];

	put_streaminfo(info, f, samples, md5);
	return f->out->patch(f->out->user, FLAC_STREAMINFO_AT, info, sizeof(info));
}

/* Passes on the frames that were held back; then everything is in the file. */
static int flac_pass(struct flac *f)
{
	int r = f->out->append(f->out->user, f->held, f->held_len);

	if (r < 0 || (r = patch_streaminfo(f, f->stored, NULL)) < 0)
		return r;
	f->held_len = 0;
	f->sure = f->stored;
	f->run_count = 0;
	return TD_OK;
}

/* ---- frames ---- */

static uint8_t crc8(const uint8_t *data, size_t len)
{
	unsigned crc = 0;

	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc << 1 ^ (crc & 0x80 ? 0x07 : 0)) & 0xff;
	}
	return (uint8_t)crc;
}

/* CRC-16 of x^16 + x^15 + x^2 + 1, four bytes a step: [n][b] is that of b and n zero bytes. */
static uint16_t crc16_table[4][256];
static pthread_once_t crc16_once = PTHREAD_ONCE_INIT;

static void crc16_fill(void)
{
	for (unsigned b = 0; b < 256; b++) {
		unsigned crc = b << 8;

		for (int bit = 0; bit < 8; bit++)
			crc = (crc << 1 ^ (crc & 0x8000 ? 0x8005 : 0)) & 0xffff;
		crc16_table[0][b] = (uint16_t)crc;
	}
	for (unsigned n = 1; n < 4; n++) {
		for (unsigned b = 0; b < 256; b++) {
			uint16_t crc = crc16_table[n - 1][b];

			crc16_table[n][b] = (uint16_t)(crc << 8 ^ crc16_table[0][crc >> 8]);
		}
	}
}

static uint16_t crc16(const uint8_t *p, size_t len)
{
	uint16_t crc = 0;

	for (; len >= 4; p += 4, len -= 4)
		crc = crc16_table[3][p[0] ^ crc >> 8] ^ crc16_table[2][p[1] ^ (crc & 0xff)] ^
			crc16_table[1][p[2]] ^ crc16_table[0][p[3]];
	for (; len > 0; p++, len--)
		crc = (uint16_t)(crc << 8 ^ crc16_table[0][p[0] ^ crc >> 8]);
	return crc;
}

/* A number as UTF-8 would code it, up to 31 bits. Returns its bytes. */
static size_t put_number(uint8_t *p, uint64_t n)
{
	size_t len = 1;

	if (n < 0x80) {
		p[0] = (uint8_t)n;
		return 1;
	}
	while (n >> (5 * len + 6) != 0)
		len++;
	len++;
	for (size_t i = len - 1; i > 0; i--) {
		p[i] = (uint8_t)(0x80 | (n & 0x3f));
		n >>= 6;
	}
	p[0] = (uint8_t)(0xff00 >> len | n);
	return len;
}

/* Bytes of the number that begins with this one. */
static size_t number_len(uint8_t first)
{
	size_t len = 0;

	while (first & 0x80 >> len)
		len++;
	return len == 0 ? 1 : len;
}

/* Remembers where a frame is, in case that the output fails and holds less than it was given. */
static void flac_note(struct flac *f, uint32_t len, uint32_t samples)
{
	struct flac_run *last = f->run_count > 0 ? &f->runs[(f->run_count - 1) % FLAC_RUNS] : NULL;

	if (last == NULL || last->frame_len != len || last->frame_samples != samples) {
		last = &f->runs[f->run_count++ % FLAC_RUNS];
		*last = (struct flac_run){
			.at = f->out->length(f->out->user) + f->held_len - len,
			.samples = f->stored,
			.frame_len = len,
			.frame_samples = samples,
		};
	}
}

/* Samples in whole frames of what the output could store. */
static uint64_t flac_stored(const struct flac *f)
{
	uint64_t length = f->out->length(f->out->user);
	uint32_t kept = f->run_count < FLAC_RUNS ? f->run_count : FLAC_RUNS;

	for (uint32_t i = 1; i <= kept; i++) {
		const struct flac_run *run = &f->runs[(f->run_count - i) % FLAC_RUNS];

		if (run->at <= length)
			return run->samples +
				(length - run->at) / run->frame_len * run->frame_samples;
	}
	return f->sure;
}

/* Copies a frame under another number than its own; returns its new length. */
static size_t flac_renumber(uint8_t *p, const uint8_t *frame, size_t len, const uint8_t *number,
	size_t number_bytes)
{
	size_t from = 4 + number_len(frame[4]), to = 4 + number_bytes, extra;
	uint16_t crc;

	memcpy(p, frame, 4);
	memcpy(p + 4, number, number_bytes);
	/* RFC 9639, 9.1: after the number what the codes for block size and rate leave open */
	extra = (frame[2] >> 4 == 6 ? 1u : 0) + (frame[2] >> 4 == 7 ? 2u : 0);
	extra += ((frame[2] & 15) == 12 ? 1u : 0) + ((frame[2] & 15) == 13 ? 2u : 0) +
		((frame[2] & 15) == 14 ? 2u : 0);
	memcpy(p + to, frame + from, extra);
	from += extra + 1;
	to += extra;
	p[to] = crc8(p, to);
	to++;
	memcpy(p + to, frame + from, len - from - 2);
	len = to + len - from - 2;
	crc = crc16(p, len);
	p[len++] = (uint8_t)(crc >> 8);
	p[len++] = (uint8_t)crc;
	return len;
}

/* Takes a frame as libFLAC made it, under the next number. */
static int flac_put(struct flac *f, const uint8_t *frame, size_t len, uint32_t samples)
{
	uint8_t number[8], *p;
	size_t number_bytes;

	if (f->error == TD_OK && (f->frames > FLAC_FRAME_NUMBER_MAX || len + 8 > sizeof(f->held)))
		f->error = TD_ERR_LIMIT;
	/* The number may be longer here than libFLAC's: up to 6 bytes. */
	if (f->error == TD_OK && len + 8 > sizeof(f->held) - f->held_len)
		f->error = flac_pass(f);
	if (f->error < 0)
		return f->error;
	p = f->held + f->held_len;
	number_bytes = put_number(number, f->frames);
	/* Until there was silence that libFLAC did not see, it counts as we do. */
	if (number_bytes == number_len(frame[4]) && memcmp(frame + 4, number, number_bytes) == 0)
		memcpy(p, frame, len);
	else
		len = flac_renumber(p, frame, len, number, number_bytes);
	f->held_len += len;
	flac_note(f, (uint32_t)len, samples);
	f->stored += samples;
	f->frames++;
	if (f->frame_min == 0 || len < f->frame_min)
		f->frame_min = (uint32_t)len;
	if (len > f->frame_max)
		f->frame_max = (uint32_t)len;
	return TD_OK;
}

static FLAC__StreamEncoderWriteStatus on_write(const FLAC__StreamEncoder *encoder,
	const FLAC__byte *data, size_t len, uint32_t samples, uint32_t number, void *user)
{
	struct flac *f = user;

	(void)encoder;
	(void)number;
	if (samples == 0) /* metadata */
		return FLAC__STREAM_ENCODER_WRITE_STATUS_OK;
	f->silent_len = len <= sizeof(f->silent) ? (uint32_t)len : 0;
	memcpy(f->silent, data, f->silent_len);
	return flac_put(f, data, len, samples) < 0 ? FLAC__STREAM_ENCODER_WRITE_STATUS_FATAL_ERROR
						   : FLAC__STREAM_ENCODER_WRITE_STATUS_OK;
}

/* ---- comments ---- */

/* Texts of Vorbis comments: their length, little-endian, and they. */
static size_t put_text(uint8_t *p, const char *name, const char *value)
{
	size_t name_len = strlen(name);
	size_t len = name_len + text_clean((char *)p + 4 + name_len, FLAC_TAG_MAX, value);

	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(len >> 8 * i);
	memcpy(p + 4, name, name_len);
	return 4 + len;
}

/* "fLaC", STREAMINFO, the comments. */
static int flac_header(struct flac *f, const struct td_writer_conf *conf)
{
	char date[UTC_TEXT] = "";
	const struct {
		const char *name, *value;
	} tags[] = {
		{ "TITLE=", conf->title },
		{ "ALBUM=", conf->album },
		{ "DATE=", date },
	};
	enum { COMMENTS_AT = FLAC_STREAMINFO_AT + FLAC_STREAMINFO_LEN };
	uint8_t *head, *count;
	size_t len = COMMENTS_AT + 4;
	int r;

	if ((head = malloc(len + 256 + 3 * (FLAC_TAG_MAX + 16))) == NULL)
		return TD_ERR_NOMEM;
	memcpy(head, "fLaC\0\0\0\x22", FLAC_STREAMINFO_AT);
	put_streaminfo(head + FLAC_STREAMINFO_AT, f, 0, NULL);
	if (conf->start_utc_ns != 0)
		utc_text(date, conf->start_utc_ns);
	len += put_text(head + len, "", FLAC__VENDOR_STRING);
	count = head + len;
	memset(count, 0, 4);
	len += 4;
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		if (tags[i].value == NULL || tags[i].value[0] == '\0')
			continue;
		len += put_text(head + len, tags[i].name, tags[i].value);
		count[0]++;
	}
	head[COMMENTS_AT] = 0x80 | 4; /* the last block, comments */
	put_be(head + COMMENTS_AT + 1, 3, len - COMMENTS_AT - 4);
	r = f->out->append(f->out->user, head, len);
	free(head);
	return r;
}

/* ---- the writer ---- */

static const struct td_option flac_options[] = {
	{ .name = "level",
		.type = TD_OPTION_NUMBER,
		.fallback = "5",
		.min = 0,
		.max = 8,
		.meaning = "of compression: 0 is fast, 8 small" },
	{ .name = NULL },
};

static int flac_check(const struct td_writer_conf *conf, char *err, size_t err_len)
{
	if (conf->source == TD_WANT_PCM && conf->channels >= 1 && conf->channels <= 2 &&
		FLAC__format_sample_rate_is_valid(conf->rate) && conf->rate > 0)
		return TD_OK;
	snprintf(err, err_len, "flac takes decoded sound of 1 or 2 channels and at most %u Hz",
		(unsigned)FLAC__MAX_SAMPLE_RATE);
	return TD_ERR_USAGE;
}

static void flac_free(struct flac *f)
{
	if (f == NULL)
		return;
	/* It would write out what it still holds. */
	if (f->error == TD_OK)
		f->error = TD_ERR_STATE;
	if (f->encoder != NULL)
		FLAC__stream_encoder_delete(f->encoder);
	EVP_MD_CTX_free(f->md5);
	free(f);
}

/* What flac(1) itself calls, though no header names it: our MD5 is enough. Where a libFLAC has it
 * not, it makes one more, which costs nothing but time. */
extern FLAC__bool FLAC__stream_encoder_set_do_md5(FLAC__StreamEncoder *encoder, FLAC__bool value)
	__attribute__((weak));

static uint32_t option_level(const char *const *options)
{
	for (; options != NULL && options[0] != NULL; options += 2) {
		if (strcmp(options[0], "level") == 0)
			return (uint32_t)(options[1][0] - '0');
	}
	return 5;
}

static int flac_open(void **ret_state, const struct td_output *out,
	const struct td_writer_conf *conf)
{
	struct flac *f;
	FLAC__StreamEncoder *e;
	int r = TD_ERR_NOMEM;

	if ((f = calloc(1, sizeof(*f))) == NULL)
		goto out;
	pthread_once(&crc16_once, crc16_fill);
	f->out = out;
	f->live = conf->live != 0;
	f->channels = conf->channels;
	f->rate = conf->rate;
	/* What is in a block that is not full yet is not in the file: about 0.1 s at any rate. */
	f->block = 1024;
	while (f->block < 16384 && f->block * 16u < f->rate)
		f->block *= 2;
	if ((f->md5 = EVP_MD_CTX_new()) == NULL || EVP_DigestInit_ex(f->md5, EVP_md5(), NULL) != 1)
		goto out;
	if ((e = f->encoder = FLAC__stream_encoder_new()) == NULL)
		goto out;
	if (FLAC__stream_encoder_set_do_md5 != NULL)
		FLAC__stream_encoder_set_do_md5(e, false);
	r = TD_ERR_UNSUPPORTED;
	if (!FLAC__stream_encoder_set_channels(e, f->channels) ||
		!FLAC__stream_encoder_set_bits_per_sample(e, 16) ||
		!FLAC__stream_encoder_set_sample_rate(e, f->rate) ||
		!FLAC__stream_encoder_set_compression_level(e, option_level(conf->options)) ||
		!FLAC__stream_encoder_set_blocksize(e, f->block) ||
		!FLAC__stream_encoder_set_streamable_subset(e,
			FLAC__format_sample_rate_is_subset(f->rate)) ||
		FLAC__stream_encoder_init_stream(e, on_write, NULL, NULL, NULL, f) !=
			FLAC__STREAM_ENCODER_INIT_STATUS_OK)
		goto out;
	if ((r = flac_header(f, conf)) < 0)
		goto out;
	*ret_state = f;
	f = NULL;
out:
	flac_free(f);
	return r;
}

/* Gives libFLAC samples; NULL: zeros. */
static int flac_encode(struct flac *f, const int16_t *pcm, uint64_t samples)
{
	if (pcm == NULL)
		memset(f->wide, 0, sizeof(f->wide));
	while (samples > 0 && f->error == TD_OK) {
		uint32_t n = samples < FLAC_CHUNK ? (uint32_t)samples : FLAC_CHUNK;

		for (uint32_t i = 0; pcm != NULL && i < n * f->channels; i++)
			f->wide[i] = *pcm++;
		if (!FLAC__stream_encoder_process_interleaved(f->encoder, f->wide, n) &&
			f->error == TD_OK)
			f->error = TD_ERR_NOMEM;
		f->taken += n;
		samples -= n;
	}
	return f->error;
}

static int flac_write(void *state, const int16_t *pcm, uint32_t samples)
{
	struct flac *f = state;

	if (f->error == TD_OK && !f->no_md5)
		EVP_DigestUpdate(f->md5, pcm, (size_t)samples * f->channels * sizeof(*pcm));
	return flac_encode(f, pcm, samples);
}

static int flac_silence(void *state, uint64_t n)
{
	static const uint8_t zeros[8192];
	struct flac *f = state;
	uint64_t start = f->taken;

	if (f->error == TD_OK && n / f->block > FLAC_FRAME_NUMBER_MAX)
		f->error = TD_ERR_LIMIT;
	/* A second and more an hour, which a live call does not have: better no MD5 than lost
	 * sound.
	 */
	f->no_md5 = f->no_md5 || (f->live && n / f->rate >= FLAC_LIVE_MD5_S);
	for (uint64_t bytes = f->no_md5 ? 0 : n * f->channels * 2;
		bytes > 0 && f->error == TD_OK;) {
		size_t len = bytes < sizeof(zeros) ? (size_t)bytes : sizeof(zeros);

		EVP_DigestUpdate(f->md5, zeros, len);
		bytes -= len;
	}
	while (n > 0 && f->error == TD_OK) {
		uint64_t piece = n < FLAC_CHUNK ? n : FLAC_CHUNK;

		/* The last frame began in this silence, and what libFLAC has not made a frame of
		 * lies in it, too: frames like the last may follow. */
		if (n >= f->block && f->silent_len > 0 && f->stored >= start + f->block) {
			(void)flac_put(f, f->silent, f->silent_len, f->block);
			f->taken += f->block;
			n -= f->block;
			continue;
		}
		(void)flac_encode(f, NULL, piece);
		n -= piece;
	}
	return f->error;
}

static int flac_refresh(void *state)
{
	struct flac *f = state;

	if (f->error == TD_OK)
		f->error = flac_pass(f);
	return f->error;
}

static int flac_close(void *state, uint64_t *ret_samples)
{
	struct flac *f = state;
	uint8_t md5[EVP_MAX_MD_SIZE];
	int r;

	if (f->error == TD_OK && !FLAC__stream_encoder_finish(f->encoder) && f->error == TD_OK)
		f->error = TD_ERR_NOMEM;
	if (f->error == TD_OK && EVP_DigestFinal_ex(f->md5, md5, NULL) != 1)
		f->error = TD_ERR_NOMEM;
	if (f->error == TD_OK && (f->error = flac_pass(f)) == TD_OK)
		f->error = patch_streaminfo(f, f->stored, f->no_md5 ? NULL : md5);
	r = f->error;
	*ret_samples = flac_stored(f);
	if (r < 0)
		(void)patch_streaminfo(f, *ret_samples, NULL);
	flac_free(f);
	return r;
}

const struct td_writer_ops flac_writer = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_writer_ops),
	.name = "flac",
	.meaning = "FLAC, 16 bit",
	.options = flac_options,
	.takes = TD_WANT_PCM,
	.check = flac_check,
	.open = flac_open,
	.write = flac_write,
	.silence = flac_silence,
	.refresh = flac_refresh,
	.close = flac_close,
};
