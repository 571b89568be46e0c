/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <ogg/ogg.h>
#include <opus.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "tests/align/beeps.h"
#include "tests/voiceserver/rng.h"

/*
 * align_call FOLDER SECONDS [SEED]: writes a call for tests/voiceserver --offline: call.json and
 * the clips of its speakers. Whoever runs it twice gets the same call twice.
 */
enum { BITRATE = 24000, PACKET_MAX = 1275, HUM = 40 };
enum {
	SPURT_MIN_MS = 500,
	SPURT_MAX_MS = 60000,
	PAUSE_MIN_MS = 300,
	PAUSE_MAX_MS = 60000,
	SEED = 20
};
/* One pause in so many is longer, up to this share of the call: of two hours, a quarter of one. */
enum { LONG_PAUSES = 6, LONGEST = 8 };

/* ---- the clips ---- */

struct clip_writer {
	FILE *file;
	ogg_stream_state stream;
	int64_t packets;
};

static int pages_write(struct clip_writer *w, bool flush)
{
	ogg_page page;

	while (flush ? ogg_stream_flush(&w->stream, &page)
		     : ogg_stream_pageout(&w->stream, &page)) {
		if (fwrite(page.header, 1, (size_t)page.header_len, w->file) !=
				(size_t)page.header_len ||
			fwrite(page.body, 1, (size_t)page.body_len, w->file) !=
				(size_t)page.body_len)
			return TD_ERR_IO;
	}
	return TD_OK;
}

static int packet_write(struct clip_writer *w, uint8_t *data, size_t len, int64_t granule,
	bool last)
{
	ogg_packet p = { .packet = data,
		.bytes = (long)len,
		.b_o_s = w->packets == 0,
		.e_o_s = last,
		.granulepos = granule,
		.packetno = w->packets };

	if (ogg_stream_packetin(&w->stream, &p) != 0)
		return TD_ERR_NOMEM;
	/* The headers have pages of their own. */
	return pages_write(w, w->packets++ < 2 || last);
}

static int headers_write(struct clip_writer *w, int skip)
{
	uint8_t head[19] = "OpusHead\1\1", tags[] = "OpusTags\4\0\0\0test\0\0\0\0";
	int r;

	head[10] = (uint8_t)skip;
	head[11] = (uint8_t)(skip >> 8);
	head[12] = (uint8_t)(TD_RATE & 0xff);
	head[13] = (uint8_t)(TD_RATE >> 8);
	if ((r = packet_write(w, head, sizeof(head), 0, false)) != TD_OK)
		return r;
	return packet_write(w, tags, sizeof(tags) - 1, 0, false);
}

/* What the encoder is given: `ahead` samples earlier than a decoder will give it back. The hum
 * leaves no sample of the recording in doubt. */
static void sound(int16_t *pcm, unsigned speaker, int64_t from, int ahead, struct rng *rng)
{
	int i;

	for (i = 0; i < CLIP_FRAME; i++) {
		int64_t at = from + i + ahead - BEEP_AT;
		int64_t second = at >= 0 ? at / TD_RATE : -1;
		double v = (double)rng_below(rng, 2 * HUM + 1) - HUM;

		if (second >= 0 && second < BEEP_CODES && at % TD_RATE < BEEP_SAMPLES)
			v += 14000 * beep_value(speaker, (unsigned)second, (int)(at % TD_RATE));
		pcm[i] = (int16_t)v;
	}
}

static int clip_encode(struct clip_writer *w, OpusEncoder *encoder, unsigned speaker)
{
	struct rng rng = rng_stream(1, speaker, 0, RNG_TALK);
	uint8_t packet[PACKET_MAX];
	int16_t pcm[CLIP_FRAME];
	opus_int32 skip = 0;
	int64_t at;
	int n, r;

	opus_encoder_ctl(encoder, OPUS_SET_BITRATE(BITRATE));
	opus_encoder_ctl(encoder, OPUS_GET_LOOKAHEAD(&skip));
	if ((r = headers_write(w, skip)) != TD_OK)
		return r;
	for (at = 0; at < CLIP_SAMPLES; at += CLIP_FRAME) {
		sound(pcm, speaker, at, skip, &rng);
		if ((n = opus_encode(encoder, pcm, CLIP_FRAME, packet, sizeof(packet))) < 0)
			return TD_ERR_MALFORMED;
		r = packet_write(w, packet, (size_t)n, at + CLIP_FRAME,
			at + CLIP_FRAME == CLIP_SAMPLES);
		if (r != TD_OK)
			return r;
	}
	return TD_OK;
}

/* CELT alone: what it costs to decode is what the test costs. */
static int clip_write(const char *folder, unsigned speaker)
{
	OpusEncoder *encoder =
		opus_encoder_create(TD_RATE, 1, OPUS_APPLICATION_RESTRICTED_LOWDELAY, NULL);
	struct clip_writer w = { 0 };
	char path[4096];
	int r = TD_ERR_NOMEM;

	snprintf(path, sizeof(path), "%s/beeps-%u.opus", folder, speaker);
	if (encoder == NULL || ogg_stream_init(&w.stream, (int)speaker + 1) != 0)
		goto out;
	r = TD_ERR_IO;
	if ((w.file = fopen(path, "we")) != NULL)
		r = clip_encode(&w, encoder, speaker);
	if (w.file != NULL && fclose(w.file) != 0)
		r = TD_ERR_IO;
	ogg_stream_clear(&w.stream);
out:
	if (encoder != NULL)
		opus_encoder_destroy(encoder);
	return r;
}

/* ---- the script ---- */

struct speaker {
	double ppm; /* the sender's clock runs so much slow */
	const char *more;
	double loss; /* percent */
	/* Of the call's length, 0 to 1: */
	struct {
		double from, to;
	} quiet[2];        /* says nothing */
	double present[4]; /* begin and end of both stays; 0: all the time */
};

/* The reconnect falls on a part of the call in which the one with frozen timestamps is silent: what
 * they lose, nobody could place. */
#define OUTAGE_AT 0.7
#define OUTAGE_MS 4000
static const struct speaker speakers[BEEP_SPEAKERS] = {
	{ 0, "", 0, { { 0.1, 0.39 } }, { 0 } },
	{ 100, "", 0, { { 0, 0 } }, { 0 } },
	{ -100, ", \"near_wrap\": true", 0, { { 0, 0 } }, { 0 } },
	{ 60, ", \"freeze\": true", 0, { { 0.69, 0.71 } }, { 0 } },
	{ -40, "", 0.5, { { 0.45, 0.455 }, { 0.48, 0.605 } }, { 0, 0.45, 0.455, 1.001 } },
	{ 100, ", \"near_wrap\": true, \"padding\": 5", 0.5, { { 0.8, 0.803 } },
		{ 1.0 / 3, 0.8, 0.803, 1.001 } },
};

/* Short ones are more frequent than long ones, as in talk. */
static uint64_t length_ms(struct rng *rng, double min, double max)
{
	return (uint64_t)(min * pow(max / min, (double)rng_below(rng, 1 << 20) / (1 << 20)));
}

static uint64_t part(double of, uint64_t end_ms)
{
	return (uint64_t)(of * (double)end_ms);
}

/* Who is quiet for a part of the call says nothing that reaches into it. */
static void pause_widen(const struct speaker *s, unsigned *next, uint64_t end_ms, uint64_t *from_ms,
	uint64_t *to_ms)
{
	uint64_t quiet_ms = *next < 2 ? part(s->quiet[*next].from, end_ms) : 0;

	if (quiet_ms == 0 || *to_ms < quiet_ms)
		return;
	*from_ms = *from_ms < quiet_ms ? *from_ms : quiet_ms;
	*to_ms = part(s->quiet[(*next)++].to, end_ms);
}

static void pauses_write(FILE *f, const struct speaker *s, unsigned number, uint64_t end_ms,
	uint64_t seed)
{
	struct rng rng = rng_stream(seed, number, 1, RNG_TALK);
	uint64_t now_ms = part(s->present[0], end_ms) + 100 + 700 * number, to_ms;
	const char *comma = "";
	unsigned next = 0;

	fprintf(f, "\"start_ms\": %" PRIu64 ", \"pauses\": [", now_ms);
	while (now_ms < end_ms) {
		now_ms += length_ms(&rng, SPURT_MIN_MS, SPURT_MAX_MS);
		to_ms = now_ms + length_ms(&rng, PAUSE_MIN_MS, PAUSE_MAX_MS);
		if (rng_below(&rng, LONG_PAUSES) == 0)
			to_ms = now_ms +
				length_ms(&rng, PAUSE_MAX_MS,
					PAUSE_MAX_MS + (double)end_ms / LONGEST);
		pause_widen(s, &next, end_ms, &now_ms, &to_ms);
		fprintf(f, "%s{\"from_ms\": %" PRIu64 ", \"to_ms\": %" PRIu64 "}", comma, now_ms,
			to_ms);
		now_ms = to_ms;
		comma = ", ";
	}
	fprintf(f, "]");
}

static void speaker_write(FILE *f, const struct speaker *s, unsigned number, uint64_t end_ms,
	uint64_t seed)
{
	const double *p = s->present;

	fprintf(f, "  {\"clip\": \"beeps-%u.opus\", \"skew_ppm\": %g%s, ", number, s->ppm, s->more);
	if (p[3] > 0)
		fprintf(f,
			"\"present\": [{\"from_ms\": %" PRIu64 ", \"to_ms\": %" PRIu64 "}, "
			"{\"from_ms\": %" PRIu64 ", \"to_ms\": %" PRIu64 "}], ",
			part(p[0], end_ms), part(p[1], end_ms), part(p[2], end_ms),
			part(p[3], end_ms));
	fprintf(f,
		"\"faults\": {\"delay_ms\": 16, \"deviation_ms\": 8, \"spike\": 0.3, "
		"\"spike_ms\": 60, \"loss\": %g},\n   ",
		s->loss);
	pauses_write(f, s, number, end_ms, seed);
	fprintf(f, "}%s\n", number + 1 < BEEP_SPEAKERS ? "," : "");
}

static int script_write(const char *folder, uint64_t end_ms, uint64_t seed)
{
	char path[4096];
	unsigned i;
	FILE *f;
	bool bad;

	snprintf(path, sizeof(path), "%s/call.json", folder);
	if ((f = fopen(path, "we")) == NULL)
		return TD_ERR_IO;
	fprintf(f, "{\"seed\": %" PRIu64 ", \"seconds\": %g, \"guilds\": [{\"speakers\": [\n", seed,
		(double)end_ms / 1000);
	for (i = 0; i < BEEP_SPEAKERS; i++)
		speaker_write(f, &speakers[i], i, end_ms, seed);
	fprintf(f,
		" ], \"events\": [{\"at_ms\": %" PRIu64
		", \"do\": \"outage\", \"length_ms\": %d}]}]}\n",
		part(OUTAGE_AT, end_ms), OUTAGE_MS);
	bad = ferror(f);
	return fclose(f) != 0 || bad ? TD_ERR_IO : TD_OK;
}

int main(int argc, char **argv)
{
	uint64_t end_ms = argc == 3 || argc == 4 ? strtoull(argv[2], NULL, 10) * 1000 : 0;
	uint64_t seed = argc == 4 ? strtoull(argv[3], NULL, 10) : 20;
	int r = TD_OK;
	unsigned i;

	if (end_ms < 60000) {
		fprintf(stderr, "usage: align_call FOLDER SECONDS [SEED]   (60 or more)\n");
		return 2;
	}
	for (i = 0; i < BEEP_SPEAKERS && r == TD_OK; i++)
		r = clip_write(argv[1], i);
	if (r == TD_OK)
		r = script_write(argv[1], end_ms, seed);
	if (r != TD_OK)
		fprintf(stderr, "align_call: %s: %s\n", argv[1], td_strerror(r));
	return r == TD_OK ? 0 : 1;
}
