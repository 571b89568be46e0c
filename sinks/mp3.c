/* SPDX-License-Identifier: ISC */
#include "sinks/mp3.h"

#include <lame/lame.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "sinks/text.h"
#include "sinks/utc.h"

enum {
	/* Samples a decoder puts out before the first of them that was put in: those the encoder
	 * says it adds, and those that every decoder does. */
	MP3_DECODER_DELAY = 529,
	/* LAME's effort, -q; by itself it takes 3. In VBR, which knows no steps below 5 and none up
	 * to 7, that is a sixth more time for 2 % less bytes, in CBR a tenth more. */
	MP3_QUALITY = 5,
	MP3_VBR_DEFAULT = 2,
	MP3_FRAME_MAX = 1441, /* 320 kbit/s at 32 kHz, with a padding byte */
	MP3_SPF_MAX = 1152,
	/* Samples that go into LAME at once, and the room it wants for what comes out. */
	MP3_CHUNK = 4 * MP3_SPF_MAX,
	MP3_CHUNK_ROOM = MP3_CHUNK * 5 / 4 + 7200,
	MP3_STAGE = 24 * 1024,
	/* Frames of silence until nothing of the sound before is left in LAME. Its slowest memory
	 * is ATH adjustment: down to its floor of 0.000625 by a factor of 0.925 a frame, 95 frames.
	 */
	MP3_SETTLE = 128,
	MP3_FILLER = 2, /* frames without which ffmpeg does not take a file for MP3 */
	MP3_MARKS = 256,
	MP3_TEXT_MAX = 1024,                /* bytes of one text of the tag */
	MP3_TAG_EXT = 4 * 4 + 100 + 4 + 36, /* Xing tag with LAME's extension */
};

static const int16_t zeros[2 * MP3_SPF_MAX];

/* kbit/s by the header's index; layer III of MPEG-1, and of MPEG-2 and MPEG-2.5. */
static const uint16_t kbps_of[2][15] = {
	{ 0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320 },
	{ 0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160 },
};

/* The second header byte: sync, version, layer III, no checksum. The third: the rate's bits. */
static const struct mp3_rate {
	uint32_t rate;
	uint8_t head, bits;
	bool mpeg1;
	uint16_t kbps_max; /* as far as LAME goes with it */
} rates[] = {
	{ 8000, 0xe3, 0x08, false, 64 },
	{ 11025, 0xe3, 0x00, false, 64 },
	{ 12000, 0xe3, 0x04, false, 64 },
	{ 16000, 0xf3, 0x08, false, 160 },
	{ 22050, 0xf3, 0x00, false, 160 },
	{ 24000, 0xf3, 0x04, false, 160 },
	{ 32000, 0xfb, 0x08, true, 320 },
	{ 44100, 0xfb, 0x00, true, 320 },
	{ 48000, 0xfb, 0x04, true, 320 },
};

/* What the Info frame says about the frames behind it. */
struct tally {
	uint64_t frames, bytes;
	uint16_t crc;
	/* Where every step-th frame begins; when there are too many, every other one goes. */
	uint32_t step, marks;
	uint64_t mark[MP3_MARKS];
};

struct mp3 {
	const struct td_output *out;
	const struct mp3_rate *rate;
	lame_global_flags *lame;
	uint32_t channels, spf; /* spf: samples per frame */
	uint32_t bitrate, vbr;  /* bitrate 0: VBR */
	uint32_t delay;         /* of the encoder */
	uint64_t tag_at;
	uint32_t tag_len;
	uint8_t tag_bitrate; /* as in the frame header */
	int error;
	uint64_t samples;  /* written: given to LAME, or in copied frames */
	uint64_t silent;   /* so many of the last ones were silence */
	struct tally done; /* what the file holds, and says it holds */
	/* Before the first drain there are frames of nothing in the place of the first ones. Their
	 * bytes; 0: they are gone. */
	uint32_t filler;
	/* What LAME has put out since: whole frames, then the beginning of one. */
	uint32_t whole, used;
	uint8_t *stage;
	/* The last frames of silence, while it may become periodic; until the next sound. */
	uint8_t *ring;
	uint32_t period, ring_at, alike; /* alike: frames in a row that were as the ring has them */
	/* Silence that was given, and is not in `samples` yet: less than the ring holds. */
	uint64_t owed;
	uint16_t crc_table[8][256];
};

/* ---- CRC-16 as LAME has it: x^16 + x^15 + x^2 + 1, reflected, from 0 ---- */

/* crc_table[k][b]: the byte b with k zero bytes behind it, so that eight go at once. */
static void crc_init(struct mp3 *m)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint16_t crc = (uint16_t)b;

		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
		m->crc_table[0][b] = crc;
	}
	for (uint32_t k = 1; k < 8; k++)
		for (uint32_t b = 0; b < 256; b++) {
			uint16_t crc = m->crc_table[k - 1][b];

			m->crc_table[k][b] = (uint16_t)(crc >> 8 ^ m->crc_table[0][crc & 0xff]);
		}
}

static uint16_t crc_update(const struct mp3 *m, uint16_t crc, const uint8_t *p, size_t len)
{
	const uint16_t(*t)[256] = m->crc_table;

	for (; len >= 8; p += 8, len -= 8)
		crc = (uint16_t)(t[7][p[0] ^ (crc & 0xff)] ^ t[6][p[1] ^ (crc >> 8)] ^ t[5][p[2]] ^
			t[4][p[3]] ^ t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]]);
	for (; len > 0; p++, len--)
		crc = (uint16_t)(crc >> 8 ^ t[0][(crc ^ *p) & 0xff]);
	return crc;
}

/* ---- frames ---- */

static uint32_t frame_length(const struct mp3 *m, uint32_t index, uint32_t padding)
{
	return m->spf / 8 * 1000 * kbps_of[!m->rate->mpeg1][index] / m->rate->rate + padding;
}

/* Length of the frame whose four header bytes are at p; 0: this is no frame of ours. */
static uint32_t frame_at(const struct mp3 *m, const uint8_t *p)
{
	uint32_t index = p[2] >> 4;

	if (p[0] != 0xff || p[1] != m->rate->head || (p[2] & 0x0c) != m->rate->bits || index == 0 ||
		index == 15)
		return 0;
	return frame_length(m, index, p[2] >> 1 & 1);
}

/* Adds the frames at p that end within len; returns how much that was. */
static uint32_t tally_add(const struct mp3 *m, struct tally *t, const uint8_t *p, uint64_t len)
{
	uint32_t at = 0, n;

	while (len - at >= 4 && (n = frame_at(m, p + at)) > 0 && n <= len - at) {
		if (t->frames == (uint64_t)t->marks * t->step) {
			if (t->marks == MP3_MARKS) {
				for (uint32_t i = 0; i < MP3_MARKS / 2; i++)
					t->mark[i] = t->mark[2 * i];
				t->marks = MP3_MARKS / 2;
				t->step *= 2;
			}
			/* After halving this frame is the next one to be marked, too. */
			t->mark[t->marks++] = t->bytes + at;
		}
		t->frames++;
		at += n;
	}
	t->crc = crc_update(m, t->crc, p, at);
	t->bytes += at;
	return at;
}

/* Where frame n begins; between marks frames count as equally long. */
static uint64_t tally_where(const struct tally *t, uint64_t n)
{
	uint64_t i = n / t->step, in = n % t->step, from, to, span = t->step;

	if (n >= t->frames)
		return t->bytes;
	from = t->mark[i];
	to = t->bytes;
	if (i + 1 < t->marks)
		to = t->mark[i + 1];
	else
		span = t->frames - i * t->step;
	return from + (to - from) * in / span;
}

/* ---- the Info frame ---- */

static uint8_t *put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

/* What does not fit is said to be not known. */
static uint8_t *put32(uint8_t *p, uint64_t v)
{
	if (v > UINT32_MAX)
		v = 0;
	return put16(put16(p, (uint32_t)(v >> 16)), (uint32_t)v & 0xffff);
}

static uint32_t side_info(const struct mp3 *m)
{
	if (m->rate->mpeg1)
		return m->channels == 2 ? 32 : 17;
	return m->channels == 2 ? 17 : 9;
}

/* Samples a gapless player makes of so many frames. */
static uint64_t playable(const struct mp3 *m, uint64_t frames)
{
	uint64_t all = frames * m->spf, extra = m->delay + MP3_DECODER_DELAY;

	all = all > extra && m->filler == 0 ? all - extra : 0;
	return all < m->samples ? all : m->samples;
}

/* A frame that decodes to silence; returns its length. */
static uint32_t frame_empty(const struct mp3 *m, uint8_t index, uint8_t *ret)
{
	uint32_t len = frame_length(m, index, 0);

	memset(ret, 0, len);
	ret[0] = 0xff;
	ret[1] = m->rate->head;
	ret[2] = (uint8_t)(index << 4 | m->rate->bits);
	ret[3] = m->channels == 2 ? 0x44 : 0xc4; /* joint stereo or mono; original */
	return len;
}

/* LAME's tag, revision 0 (http://gabriel.mp3-tech.org/mp3infotag.html), ret of tag_len bytes. */
static void tag_make(const struct mp3 *m, const struct tally *t, uint8_t *ret)
{
	uint64_t total = m->tag_len + t->bytes;
	uint64_t all = t->frames * m->spf, played = playable(m, t->frames);
	uint32_t padding = (uint32_t)(all - m->delay - played);
	uint32_t stereo = m->channels == 2 ? 3 : 0; /* joint */
	uint32_t source = m->rate->rate <= 32000 ? 0 : m->rate->rate == 44100 ? 1 : 2;
	uint32_t lowpass = ((uint32_t)lame_get_lowpassfreq(m->lame) + 50) / 100;
	int safe_joint = m->channels == 2 ? lame_get_exp_nspsytune(m->lame) & 2 : 0;
	uint8_t *p = ret;

	frame_empty(m, m->tag_bitrate, ret);
	p += 4 + side_info(m);
	memcpy(p, m->bitrate > 0 ? "Info" : "Xing", 4);
	p = put32(p + 4, 0xf); /* all four: frames, bytes, TOC, quality */
	p = put32(p, t->frames);
	p = put32(p, total);
	for (uint32_t i = 0; i < 100; i++) {
		uint64_t at = m->tag_len + tally_where(t, t->frames * i / 100);

		*p++ = (uint8_t)(at * 256 / total < 255 ? at * 256 / total : 255);
	}
	p = put32(p, (uint32_t)(100 - 10 * lame_get_VBR_q(m->lame) - lame_get_quality(m->lame)));
	/* Some players know delay and padding of LAME's alone. */
	memset(p, ' ', 9);
	snprintf((char *)p, 10, "LAME%.5s", get_lame_short_version());
	p += 9;
	*p++ = m->bitrate > 0 ? 1 : 4; /* revision 0; CBR, or VBR mtrh */
	*p++ = (uint8_t)(lowpass < 255 ? lowpass : 255);
	memset(p, 0, 8); /* no peak, no gain: nobody measured */
	p += 8;
	*p++ = (uint8_t)(1 << 4 | safe_joint << 4 | (lame_get_ATHtype(m->lame) & 0xf));
	*p++ = (uint8_t)(m->bitrate == 0   ? kbps_of[!m->rate->mpeg1][1]
			: m->bitrate < 255 ? m->bitrate
					   : 255);
	*p++ = (uint8_t)(m->delay >> 4);
	p = put16(p, (m->delay << 12 & 0xf000) | (padding & 0xfff));
	/* Noise shaping 1, stereo mode, "unwise settings" as LAME has it for low rates, source. */
	*p++ = (uint8_t)(1 | stereo << 2 | (m->rate->rate <= 32000) << 5 | source << 6);
	*p++ = 0;
	p = put16(p, m->bitrate > 0 ? m->bitrate : 500 - 10 * m->vbr);
	p = put32(p, total);
	p = put16(p, t->crc);
	put16(p, crc_update(m, 0, ret, (size_t)(p - ret)));
}

/* ---- ID3v2.4 ---- */

/* Seven bits a byte, so that no player takes a length for a frame. */
static void put_syncsafe(uint8_t *p, size_t v)
{
	for (int i = 3; i >= 0; i--, v >>= 7)
		p[i] = v & 0x7f;
}

static size_t id3_text(uint8_t *p, const char *id, const char *text)
{
	size_t len;

	if (text == NULL || *text == '\0')
		return 0;
	len = text_clean((char *)p + 11, MP3_TEXT_MAX, text);
	memcpy(p, id, 4);
	put_syncsafe(p + 4, len + 1);
	p[8] = p[9] = 0;
	p[10] = 3; /* UTF-8, which has no byte that would need unsynchronisation */
	return 11 + len;
}

/* ret: room for a header and four texts. */
static size_t id3_make(const struct mp3 *m, const struct td_writer_conf *conf, uint8_t *ret)
{
	char when[UTC_TEXT] = "", what[64];
	size_t len = 10;

	if (conf->start_utc_ns != 0)
		utc_text(when, conf->start_utc_ns);
	when[strlen("2026-01-02T03:04:05")] = '\0'; /* in UTC by definition */
	if (m->bitrate > 0)
		snprintf(what, sizeof(what), "LAME %.20s, %u kbit/s", get_lame_short_version(),
			m->bitrate);
	else
		snprintf(what, sizeof(what), "LAME %.20s, VBR %u", get_lame_short_version(),
			m->vbr);
	len += id3_text(ret + len, "TIT2", conf->title);
	len += id3_text(ret + len, "TALB", conf->album);
	len += id3_text(ret + len, "TDRC", when);
	len += id3_text(ret + len, "TSSE", what);
	memcpy(ret, "ID3\4\0\0", 6);
	put_syncsafe(ret + 6, len - 10);
	return len;
}

/* ---- the writer ---- */

static int write_tag(struct mp3 *m, const struct tally *t)
{
	uint8_t tag[MP3_FRAME_MAX];

	tag_make(m, t, tag);
	return m->out->patch(m->out->user, m->tag_at, tag, m->tag_len);
}

/* Frames of nothing; returns their bytes. */
static uint32_t filler_make(const struct mp3 *m, uint8_t *ret)
{
	uint32_t len = 0;

	for (int i = 0; i < MP3_FILLER; i++)
		len += frame_empty(m, 1, ret + len);
	return len;
}

/* Whole frames go into the file, and it says so. The first go where the filler is. */
static int mp3_drain(struct mp3 *m)
{
	static const struct tally nothing = { .step = 1 };
	uint32_t filler = m->filler;
	struct tally old = filler > 0 ? nothing : m->done, next = old;
	uint64_t from = m->tag_at + m->tag_len + old.bytes, end;
	int r = TD_OK;

	if (m->error < 0)
		return m->error;
	tally_add(m, &next, m->stage, m->whole);
	if (m->whole == 0 || next.frames < MP3_FILLER)
		return TD_OK;
	if (filler > 0)
		r = m->out->patch(m->out->user, from, m->stage, filler);
	if (r == TD_OK) {
		m->filler = 0;
		if ((r = m->out->append(m->out->user, m->stage + filler, m->whole - filler)) == 0)
			r = write_tag(m, &next);
	}
	if (r == TD_OK) {
		m->done = next;
		m->used -= m->whole;
		memmove(m->stage, m->stage + m->whole, m->used);
		m->whole = 0;
		return TD_OK;
	}
	m->error = r < 0 ? r : TD_ERR_IO;
	/* What was there after the last drain is there still; of the rest, what could be stored. */
	end = m->out->length(m->out->user);
	next = old;
	if (m->filler == 0 && end > from)
		tally_add(m, &next, m->stage, end - from < m->whole ? end - from : m->whole);
	if (next.frames >= MP3_FILLER)
		m->done = next;
	else
		m->filler = filler;
	return m->error;
}

/* Is the frame at p the one that came a period ago? It takes that one's place. */
static void compare(struct mp3 *m, const uint8_t *p, uint32_t len)
{
	uint8_t *old = m->ring + (size_t)m->ring_at * MP3_FRAME_MAX;

	if (memcmp(old, p, len) == 0) {
		m->alike++;
	} else {
		m->alike = 0;
		memcpy(old, p, len);
	}
	m->ring_at = (m->ring_at + 1) % m->period;
}

/* LAME has put out n bytes more. */
static int take(struct mp3 *m, int n)
{
	uint32_t len;

	if (n < 0)
		return m->error = n == -2 ? TD_ERR_NOMEM : TD_ERR_UNSUPPORTED;
	m->used += (uint32_t)n;
	while (m->used - m->whole >= 4) {
		if ((len = frame_at(m, m->stage + m->whole)) == 0)
			return m->error = TD_ERR_UNSUPPORTED;
		if (len > m->used - m->whole)
			break;
		if (m->ring != NULL)
			compare(m, m->stage + m->whole, len);
		m->whole += len;
	}
	return TD_OK;
}

static int encode(struct mp3 *m, const int16_t *pcm, uint32_t samples)
{
	int r = TD_OK;

	while (samples > 0 && m->error == TD_OK) {
		uint32_t n = samples < MP3_CHUNK ? samples : MP3_CHUNK;
		uint8_t *to;

		if (MP3_STAGE - m->used < MP3_CHUNK_ROOM && (r = mp3_drain(m)) < 0)
			break;
		to = m->stage + m->used;
		/* LAME leaves alone what it is given. */
		if (m->channels == 2)
			r = lame_encode_buffer_interleaved(m->lame, (int16_t *)(uintptr_t)pcm,
				(int)n, to, (int)(MP3_STAGE - m->used));
		else
			r = lame_encode_buffer(m->lame, pcm, pcm, (int)n, to,
				(int)(MP3_STAGE - m->used));
		m->samples += n;
		take(m, r);
		pcm += (size_t)n * m->channels;
		samples -= n;
	}
	return m->error;
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
	return b == 0 ? a : gcd(b, a % b);
}

/*
 * After how many frames silence may repeat itself: with a constant bitrate some frames have a byte
 * more than others, as often as the rate demands it; and the bits that fill up a frame are ones and
 * zeros by turns, which may take two rounds.
 */
static uint32_t silence_period(const struct mp3 *m)
{
	uint32_t bytes = m->spf / 8 * 1000 * m->bitrate;

	return 2 * m->rate->rate / gcd(m->rate->rate, bytes % m->rate->rate);
}

/* Puts the frames of the ring `rounds` times before the beginning of a frame that LAME holds on
 * to: in silence, LAME itself would have put out the same and would stand where it stands. */
static int repeat(struct mp3 *m, uint64_t rounds)
{
	uint8_t rest[MP3_FRAME_MAX];
	uint32_t rest_len;

	rest_len = m->used - m->whole;
	memcpy(rest, m->stage + m->whole, rest_len);
	m->used = m->whole;
	for (; rounds > 0; rounds--) {
		m->samples += (uint64_t)m->period * m->spf;
		for (uint32_t i = 0; i < m->period; i++) {
			const uint8_t *frame =
				m->ring + (size_t)((m->ring_at + i) % m->period) * MP3_FRAME_MAX;
			uint32_t len = frame_at(m, frame);

			if (MP3_STAGE - m->used < 2 * MP3_FRAME_MAX && mp3_drain(m) < 0)
				return m->error;
			memcpy(m->stage + m->used, frame, len);
			m->used = m->whole += len;
		}
	}
	memcpy(m->stage + m->used, rest, rest_len);
	m->used += rest_len;
	return TD_OK;
}

/* n more samples of silence, which may be none. Where LAME repeats itself, less than a round of the
 * ring is owed until there is enough for one, unless !may_owe: so it costs no more in pieces. */
static int add_silence(struct mp3 *m, uint64_t n, bool may_owe)
{
	uint64_t round;

	m->period = silence_period(m);
	round = (uint64_t)m->period * m->spf;
	n += m->owed;
	m->owed = 0;
	while (n > 0 && m->error == TD_OK) {
		uint32_t now = n < m->spf ? (uint32_t)n : m->spf;

		if (m->ring != NULL && m->alike >= m->period) {
			if (n >= round) {
				repeat(m, n / round);
				n %= round;
				continue;
			}
			if (may_owe) {
				m->owed = n;
				break;
			}
		}
		/* It takes two rounds to fill the ring and compare. */
		if (m->ring == NULL && m->silent >= (uint64_t)MP3_SETTLE * m->spf) {
			m->ring_at = m->alike = 0;
			if ((m->ring = calloc(m->period, MP3_FRAME_MAX)) == NULL)
				m->error = TD_ERR_NOMEM;
		}
		encode(m, zeros, now);
		m->silent += now;
		n -= now;
	}
	return m->error;
}

static int mp3_silence(void *state, uint64_t n)
{
	return add_silence(state, n, true);
}

static int mp3_write(void *state, const int16_t *pcm, uint32_t samples)
{
	struct mp3 *m = state;

	if (samples == 0)
		return m->error;
	add_silence(m, 0, false);
	free(m->ring);
	m->ring = NULL;
	m->silent = 0;
	return encode(m, pcm, samples);
}

static int mp3_refresh(void *state)
{
	struct mp3 *m = state;

	add_silence(m, 0, false);
	return mp3_drain(m);
}

static void mp3_free(struct mp3 *m)
{
	if (m->lame != NULL)
		lame_close(m->lame);
	free(m->stage);
	free(m->ring);
	free(m);
}

static int mp3_close(void *state, uint64_t *ret_samples)
{
	struct mp3 *m = state;
	uint8_t filler[MP3_FILLER * MP3_FRAME_MAX];
	int r;

	/* Nothing was written: LAME would make a single frame of it where frames are long. */
	if (m->samples == 0 && m->spf == MP3_SPF_MAX) {
		encode(m, zeros, m->spf);
		m->samples = 0;
	}
	add_silence(m, 0, false);
	if (mp3_drain(m) == 0) {
		take(m, lame_encode_flush(m->lame, m->stage + m->used, (int)(MP3_STAGE - m->used)));
		mp3_drain(m);
	}
	if ((r = m->error) < 0) {
		if (m->filler > 0)
			(void)m->out->patch(m->out->user, m->tag_at + m->tag_len, filler,
				filler_make(m, filler));
		(void)write_tag(m, &m->done);
	}
	*ret_samples = playable(m, m->done.frames);
	mp3_free(m);
	return r;
}

/* ---- options ---- */

static const struct td_option mp3_options[] = {
	{
		.name = "vbr",
		.fallback = "",
		.min = 0,
		.max = 9,
		.meaning = "variable bitrate, 0 (best) to 9 (smallest); 2 when neither is given",
		.type = TD_OPTION_NUMBER,
	},
	{
		.name = "bitrate",
		.fallback = "",
		.min = 8,
		.max = 320,
		.meaning = "constant bitrate in kbit/s, instead of vbr",
		.type = TD_OPTION_NUMBER,
	},
	{ .name = NULL },
};

/* NULL: not given. */
static const char *option(const struct td_writer_conf *conf, const char *name)
{
	for (const char *const *o = conf->options; o != NULL && *o != NULL; o += 2)
		if (strcmp(*o, name) == 0)
			return *o[1] != '\0' ? o[1] : NULL;
	return NULL;
}

static const struct mp3_rate *find_rate(uint32_t rate)
{
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++)
		if (rates[i].rate == rate)
			return &rates[i];
	return NULL;
}

static int mp3_check(const struct td_writer_conf *conf, char *err, size_t err_len)
{
	const char *vbr = option(conf, "vbr"), *bitrate = option(conf, "bitrate");
	const struct mp3_rate *rate = find_rate(conf->rate);
	const uint16_t *kbps;
	char allowed[128] = "";
	unsigned long want;
	size_t len = 0;

	if (conf->source != TD_WANT_PCM || conf->channels < 1 || conf->channels > 2) {
		snprintf(err, err_len, "mp3 is written from samples of 1 or 2 channels");
		return TD_ERR_USAGE;
	}
	if (rate == NULL) {
		snprintf(err, err_len,
			"mp3 has no %u Hz; it has 8000, 11025, 12000, 16000, 22050, 24000, 32000, "
			"44100 and 48000",
			conf->rate);
		return TD_ERR_USAGE;
	}
	if (vbr != NULL && bitrate != NULL) {
		snprintf(err, err_len, "mp3 takes vbr or bitrate, not both");
		return TD_ERR_USAGE;
	}
	if (bitrate == NULL)
		return TD_OK;
	want = strtoul(bitrate, NULL, 10);
	kbps = kbps_of[!rate->mpeg1];
	for (size_t i = 1; i < 15 && kbps[i] <= rate->kbps_max; i++) {
		if (kbps[i] == want)
			return TD_OK;
		len += (size_t)snprintf(allowed + len, sizeof(allowed) - len, " %u", kbps[i]);
	}
	snprintf(err, err_len, "mp3 at %u Hz has no bitrate %s; it has%s", conf->rate, bitrate,
		allowed);
	return TD_ERR_USAGE;
}

static void be_silent(const char *format, va_list args)
{
	(void)format;
	(void)args;
}

static int start_lame(struct mp3 *m)
{
	lame_global_flags *l = m->lame = lame_init();

	if (l == NULL)
		return TD_ERR_NOMEM;
	lame_set_errorf(l, be_silent);
	lame_set_msgf(l, be_silent);
	lame_set_debugf(l, be_silent);
	lame_set_in_samplerate(l, (int)m->rate->rate);
	lame_set_out_samplerate(l, (int)m->rate->rate);
	lame_set_num_channels(l, (int)m->channels);
	lame_set_mode(l, m->channels == 2 ? JOINT_STEREO : MONO);
	lame_set_quality(l, MP3_QUALITY);
	if (m->bitrate > 0) {
		lame_set_VBR(l, vbr_off);
		lame_set_brate(l, (int)m->bitrate);
	} else {
		lame_set_VBR(l, vbr_mtrh);
		lame_set_VBR_q(l, (int)m->vbr);
	}
	/* Tags are ours: LAME knows neither the copied frames nor a file that is not at its end. */
	lame_set_bWriteVbrTag(l, 0);
	lame_set_write_id3tag_automatic(l, 0);
	if (lame_init_params(l) < 0)
		return TD_ERR_UNSUPPORTED;
	m->spf = (uint32_t)lame_get_framesize(l);
	m->delay = (uint32_t)lame_get_encoder_delay(l);
	if (m->spf != (m->rate->mpeg1 ? 1152 : 576) ||
		lame_get_out_samplerate(l) != (int)m->rate->rate ||
		(m->bitrate > 0 && lame_get_brate(l) != (int)m->bitrate))
		return TD_ERR_UNSUPPORTED;
	return TD_OK;
}

static int mp3_open(void **ret_state, const struct td_output *out,
	const struct td_writer_conf *conf)
{
	const char *vbr = option(conf, "vbr"), *bitrate = option(conf, "bitrate");
	uint8_t *head, *frames;
	struct mp3 *m;
	int r = TD_ERR_NOMEM;

	if ((m = calloc(1, sizeof(*m))) == NULL)
		return r;
	crc_init(m);
	m->out = out;
	m->channels = conf->channels;
	m->bitrate = bitrate != NULL ? (uint32_t)strtoul(bitrate, NULL, 10) : 0;
	m->vbr = vbr != NULL ? (uint32_t)strtoul(vbr, NULL, 10) : MP3_VBR_DEFAULT;
	m->done.step = 1;
	if ((m->stage = malloc(MP3_STAGE)) == NULL)
		goto out;
	head = m->stage; /* where the start of the file is put together */
	r = TD_ERR_UNSUPPORTED;
	if ((m->rate = find_rate(conf->rate)) == NULL || (r = start_lame(m)) < 0)
		goto out;
	/* The Info frame is one of the smallest that hold it; with a constant bitrate, of that one
	 * if it does. */
	for (uint8_t i = 14; i > 0; i--) {
		uint32_t len = frame_length(m, i, 0);

		if (len < 4 + side_info(m) + MP3_TAG_EXT)
			break;
		m->tag_bitrate = i;
		m->tag_len = len;
		if (kbps_of[!m->rate->mpeg1][i] == m->bitrate)
			break;
	}
	m->tag_at = id3_make(m, conf, head);
	frames = head + m->tag_at + m->tag_len;
	m->filler = filler_make(m, frames);
	tally_add(m, &m->done, frames, m->filler);
	tag_make(m, &m->done, head + m->tag_at);
	if ((r = out->append(out->user, head, (size_t)(frames - head) + m->filler)) < 0)
		goto out;
	*ret_state = m;
	m = NULL;
out:
	if (m != NULL)
		mp3_free(m);
	return r;
}

const struct td_writer_ops mp3_writer = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_writer_ops),
	.name = "mp3",
	.meaning = "MP3, gapless; an hour of silence takes 14.4 MB at 48 kHz, the least it can",
	.options = mp3_options,
	.takes = TD_WANT_PCM,
	.check = mp3_check,
	.open = mp3_open,
	.silence = mp3_silence,
	.refresh = mp3_refresh,
	.close = mp3_close,
	.write = mp3_write,
};
