/* SPDX-License-Identifier: ISC */
#include "sinks/opus_writer.h"

#include <inttypes.h>
#include <opus.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/opus_packet.h"
#include "sinks/ogg_out.h"
#include "sinks/opus_headers.h"

/* A stream that begins with silence has nothing to converge on (RFC 7845 section 4.6); but pre-skip
 * of next to nothing looks like a mistake to some, and others count it as sound: half a packet. */
enum { PRE_SKIP = 480 };
enum { GRAIN = 120 };            /* 2.5 ms: there is no shorter packet */
enum { CONCEAL_SAMPLES = 4800 }; /* as much as our own decoder makes up */
enum { FRAME_SAMPLES = 960 };    /* 20 ms: what is encoded, and the longest packet of silence */
enum { OWED_SAMPLES = TD_RATE }; /* when more silence is owed, it is written */
enum { SETTLE_FRAMES = 50 };     /* after these the encoder has repaid the bits it owes, too */
enum { ENCODED_MAX = 1500 };     /* a frame is 1275 bytes at most */
enum { KBIT_MIN = 6, KBIT_MAX = 510, KBIT_CHANNEL_MAX = 256 };

/* 68 years: what is longer is a mistake somewhere, and pages have numbers for twice that. */
#define SAMPLES_MAX ((uint64_t)TD_RATE << 31)

struct opus_writer {
	const struct td_writer_conf *conf;
	const struct td_output *out;
	struct ogg_out *ogg;
	uint32_t pre_skip;
	int error;
	/* TD_WANT_OPUS: samples that were given, pre-skip and all; those that are not in the
	 * packets yet are silence that is owed. TD_WANT_PCM: at conf->rate. */
	uint64_t given;
	bool shown;    /* the pages up to the end of the pre-skip are in the file */
	int sound_toc; /* TD_WANT_OPUS: of the packet right before what is owed; -1: no sound is */
	/* TD_WANT_PCM */
	OpusEncoder *encoder;
	int16_t *frame;           /* the one being filled */
	uint32_t frame_len, fill; /* samples per channel */
	uint32_t quiet;           /* whole frames of zeros that were encoded last */
	bool frame_quiet;         /* the one being filled holds silence alone */
};

/* ---- TD_WANT_OPUS: filling gaps ---- */

/*
 * What speaks right before and after a gap decides about its filler.
 *
 * Packets of silence are what senders end a talk spurt with, so every listener's decoder sees the
 * same. They are coded with CELT: a decoder that was in another mode fades from what it would have
 * concealed, within 5 ms; one in CELT mode lets its last window and filter ring out, as long. So
 * the longest come first, with room for that, and no click is heard. But they are a memory, too:
 * SILK starts anew after them, and CELT predicts its energies from silence, so that sound which
 * goes on as if nothing had been fades in over 100 ms.
 *
 * Sound does go on like that where packets were lost. There the decoder is asked to conceal
 * (RFC 7845 section 4.1), which keeps its memory, and fades by itself when it takes long.
 */

static const struct filler {
	uint32_t samples;
	uint8_t packet[3];
} silences[] = {
	/* Fullband CELT, one frame, in which the first bit is the flag for silence. */
	{ 960, { 0xf8, 0xff, 0xfe } },
	{ 480, { 0xf0, 0xff, 0xfe } },
	{ 240, { 0xe8, 0xff, 0xfe } },
	{ 120, { 0xe0, 0xff, 0xfe } },
};

/* Packets of silence for n samples, a multiple of GRAIN. */
static int put_silence(struct ogg_out *ogg, uint64_t n)
{
	int r;

	for (size_t i = 0; n > 0;) {
		const struct filler *f = &silences[i];

		if (f->samples > n) {
			i++;
			continue;
		}
		if ((r = ogg_out_packet(ogg, f->packet, sizeof(f->packet), f->samples)) < 0)
			return r;
		n -= f->samples;
	}
	return TD_OK;
}

/*
 * The TOC byte of a packet of one frame, of at most n samples, that goes on as well as can be after
 * a packet with this one: the same length as long as that fits, then the same mode, bandwidth and
 * channels, and at last CELT of at least that bandwidth. RFC 6716 table 2.
 */
static uint8_t conceal_toc(uint8_t toc, uint32_t n)
{
	static const uint8_t silk_as_celt[] = { 16, 20, 20 }; /* there is no mediumband CELT */
	uint8_t stereo = toc & 4, config = toc >> 3, celt;
	uint8_t shortest = config < 12 || config >= 16 ? config & 0x1c : config & 0x1e;

	celt = config < 12 ? silk_as_celt[config / 4] : config < 14 ? 24 : 28;
	for (;; config--) {
		toc = (uint8_t)(config << 3 | stereo);
		if ((uint32_t)opus_packet_get_samples_per_frame(&toc, TD_RATE) <= n)
			return toc;
		if (config == shortest)
			break;
	}
	return (uint8_t)((celt + (n >= 240 ? 1 : 0)) << 3 | stereo);
}

/* Asks for concealment of n samples, a multiple of GRAIN, after a packet with this TOC. */
static int put_concealment(struct ogg_out *ogg, uint8_t toc, uint32_t n)
{
	int r;

	while (n > 0) {
		uint8_t packet = conceal_toc(toc, n); /* one frame, and it is empty */
		uint32_t samples = (uint32_t)opus_packet_get_samples_per_frame(&packet, TD_RATE);

		if ((r = ogg_out_packet(ogg, &packet, 1, samples)) < 0)
			return r;
		n -= samples;
	}
	return TD_OK;
}

/* Fills n samples, of which the first `lost` stand for lost packets. */
static int fill_gap(struct opus_writer *w, uint64_t n, uint32_t lost)
{
	uint32_t concealed = lost < CONCEAL_SAMPLES ? lost : CONCEAL_SAMPLES;
	int r;

	if (n == 0)
		return TD_OK;
	if (concealed > n)
		concealed = (uint32_t)n;
	concealed -= concealed % GRAIN;
	if (w->sound_toc < 0)
		concealed = 0;
	/* Not for a sliver of silence is the decoder's memory given up. */
	if (concealed > 0 && n - concealed < FRAME_SAMPLES && n <= CONCEAL_SAMPLES)
		concealed = (uint32_t)n;
	if (concealed > 0 && (r = put_concealment(w->ogg, (uint8_t)w->sound_toc, concealed)) < 0)
		return r;
	if (n > concealed)
		w->sound_toc = -1;
	return put_silence(w->ogg, n - concealed);
}

/* Writes the silence that is owed, to the nearest grain; what is over or too much is kept in mind,
 * so that it never adds up. */
static int settle(struct opus_writer *w, uint32_t lost)
{
	int64_t owed = (int64_t)(w->given - ogg_out_samples(w->ogg)) + GRAIN / 2;

	return fill_gap(w, (uint64_t)(owed - owed % GRAIN), lost);
}

/*
 * So that the file grows with the time it holds, also where nobody speaks: of what is owed, all but
 * the end becomes packets. They are the longest there are, so that in the end they are the same
 * ones whatever pieces the silence came in. What was lost is told with the next packet, and comes
 * too late to be concealed then.
 */
static int settle_most(struct opus_writer *w)
{
	int64_t owed = (int64_t)(w->given - ogg_out_samples(w->ogg));

	if (owed <= OWED_SAMPLES)
		return TD_OK;
	owed -= CONCEAL_SAMPLES;
	return fill_gap(w, (uint64_t)(owed - owed % FRAME_SAMPLES), 0);
}

/* The first sound, or the silence in its place: from here on, players open the file. */
static int show(struct opus_writer *w)
{
	int r;

	if (w->shown || ogg_out_samples(w->ogg) < w->pre_skip)
		return TD_OK;
	w->shown = true;
	if ((r = ogg_out_flush(w->ogg)) < 0)
		return r;
	return w->out->patch(w->out->user, 0, "", 0); /* for what it does before */
}

static int pass_packet(void *state, const struct td_packet *packet)
{
	struct opus_writer *w = state;
	int samples = opus_packet_samples(packet->data, packet->len);

	if (w->error < 0)
		return w->error;
	if (w->encoder != NULL)
		return TD_SINK_ERR_USAGE;
	if (samples < 0 || (uint32_t)samples != packet->samples)
		return TD_SINK_ERR_UNSUPPORTED;
	if ((uint64_t)samples > SAMPLES_MAX - w->given)
		return TD_SINK_ERR_LIMIT;
	if ((w->error = settle(w, packet->lost)) < 0)
		return w->error;
	w->given += packet->samples;
	w->sound_toc = opus_packet_is_silence(packet->data, packet->len) ? -1 : packet->data[0];
	w->error = ogg_out_packet(w->ogg, packet->data, packet->len, packet->samples);
	if (w->error == TD_OK)
		w->error = show(w);
	return w->error;
}

/* ---- TD_WANT_PCM ---- */

static int encode_frame(struct opus_writer *w)
{
	uint8_t packet[ENCODED_MAX];
	int n = opus_encode(w->encoder, w->frame, (int)w->frame_len, packet, sizeof(packet));

	w->fill = 0;
	if (!w->frame_quiet)
		w->quiet = 0;
	else if (w->quiet < SETTLE_FRAMES)
		w->quiet++;
	w->frame_quiet = true;
	if (n <= 0)
		return TD_SINK_ERR_NOMEM;
	return ogg_out_packet(w->ogg, packet, (size_t)n, FRAME_SAMPLES);
}

/* pcm NULL: zeros. */
static int encode(struct opus_writer *w, const int16_t *pcm, uint64_t samples)
{
	uint32_t channels = w->conf->channels;
	int r;

	while (samples > 0) {
		uint32_t room = w->frame_len - w->fill;
		uint32_t n = samples < room ? (uint32_t)samples : room;
		int16_t *to = w->frame + (size_t)w->fill * channels;

		/*
		 * Encoder and decoder agree that it is silent by now, and go on agreeing when one
		 * of them is left out for a while.
		 */
		if (pcm == NULL && w->fill == 0 && w->quiet >= SETTLE_FRAMES &&
			samples >= w->frame_len) {
			uint64_t frames = samples / w->frame_len;

			if ((r = put_silence(w->ogg, frames * FRAME_SAMPLES)) < 0)
				return r;
			samples -= frames * w->frame_len;
			continue;
		}
		if (pcm != NULL) {
			memcpy(to, pcm, (size_t)n * channels * sizeof(*pcm));
			pcm += (size_t)n * channels;
			w->frame_quiet = false;
		} else {
			memset(to, 0, (size_t)n * channels * sizeof(*to));
		}
		w->fill += n;
		samples -= n;
		if (w->fill == w->frame_len && (r = encode_frame(w)) < 0)
			return r;
	}
	return TD_OK;
}

static int pcm_add(struct opus_writer *w, const int16_t *pcm, uint64_t samples)
{
	if (w->error < 0)
		return w->error;
	if (samples > SAMPLES_MAX - w->given)
		return TD_SINK_ERR_LIMIT;
	w->given += samples;
	return w->error = encode(w, pcm, samples);
}

static int pcm_write(void *state, const int16_t *pcm, uint32_t samples)
{
	struct opus_writer *w = state;

	if (w->encoder == NULL)
		return TD_SINK_ERR_USAGE;
	return pcm_add(w, pcm, samples);
}

/* What was given, at 48 kHz and with the pre-skip. */
static uint64_t pcm_end(const struct opus_writer *w)
{
	return w->pre_skip + w->given * (TD_RATE / w->conf->rate);
}

static int encoder_new(struct opus_writer *w, const char *kbit)
{
	const struct td_writer_conf *conf = w->conf;
	opus_int32 lookahead = 0;
	int err;

	w->frame_len = conf->rate / (TD_RATE / FRAME_SAMPLES);
	w->frame_quiet = true;
	w->frame = calloc(w->frame_len, conf->channels * sizeof(*w->frame));
	w->encoder = opus_encoder_create((opus_int32)conf->rate, (int)conf->channels,
		OPUS_APPLICATION_AUDIO, &err);
	if (w->frame == NULL || w->encoder == NULL)
		return TD_SINK_ERR_NOMEM;
	/* Without one libopus takes what suits the rate: 51 kbit/s for one channel at 48 kHz, 99
	 * for two, 11 for one at 8 kHz. */
	if (kbit[0] != '\0' &&
		opus_encoder_ctl(w->encoder, OPUS_SET_BITRATE(1000 * atoi(kbit))) != OPUS_OK)
		return TD_SINK_ERR_USAGE;
	opus_encoder_ctl(w->encoder, OPUS_SET_COMPLEXITY(10));
	opus_encoder_ctl(w->encoder, OPUS_SET_LSB_DEPTH(16));
	opus_encoder_ctl(w->encoder, OPUS_GET_LOOKAHEAD(&lookahead));
	w->pre_skip = (uint32_t)lookahead * (TD_RATE / conf->rate);
	return TD_OK;
}

/* ---- both ---- */

static const struct td_option opus_options[] = {
	{ .name = "bitrate",
		.fallback = "",
		.min = KBIT_MIN,
		.max = KBIT_MAX,
		.meaning =
			"kbit/s of all channels, when it is encoded; default: what suits the rate",
		.type = TD_OPTION_NUMBER },
	{ 0 },
};

static const char *option(const struct td_writer_conf *conf, const char *name)
{
	for (const char *const *o = conf->options; o != NULL && o[0] != NULL; o += 2) {
		if (strcmp(o[0], name) == 0)
			return o[1];
	}
	return "";
}

static bool rate_fits(uint32_t rate)
{
	return rate == 8000 || rate == 12000 || rate == 16000 || rate == 24000 || rate == 48000;
}

static int opus_check(const struct td_writer_conf *conf, char *err, size_t err_len)
{
	const char *kbit = option(conf, "bitrate");
	char *end;
	long n = strtol(kbit, &end, 10);

	if (conf->source != TD_WANT_OPUS && conf->source != TD_WANT_PCM)
		snprintf(err, err_len, "opus takes either decoded sound or Opus packets");
	else if (conf->channels != 1 && conf->channels != 2)
		snprintf(err, err_len, "opus takes 1 or 2 channels, not %" PRIu32, conf->channels);
	else if (conf->source == TD_WANT_OPUS && conf->rate != TD_RATE)
		snprintf(err, err_len, "opus takes packets at 48000 Hz, not %" PRIu32, conf->rate);
	else if (!rate_fits(conf->rate))
		snprintf(err, err_len,
			"opus takes 8000, 12000, 16000, 24000 or 48000 Hz, not %" PRIu32,
			conf->rate);
	else if (conf->preroll > (conf->source == TD_WANT_OPUS ? OPUS_WRITER_PREROLL_MAX : 0))
		snprintf(err, err_len, "opus cannot skip a pre-roll of %" PRIu32 " samples",
			conf->preroll);
	else if (kbit[0] != '\0' && conf->source == TD_WANT_OPUS)
		snprintf(err, err_len,
			"opus writes packets as they come: there is no bitrate to choose");
	else if (kbit[0] != '\0' && (*end != '\0' || n < KBIT_MIN || n > KBIT_MAX))
		snprintf(err, err_len, "opus takes a bitrate of %d to %d kbit/s", KBIT_MIN,
			KBIT_MAX);
	else if (kbit[0] != '\0' && n > (long)(KBIT_CHANNEL_MAX * conf->channels))
		snprintf(err, err_len, "opus takes a bitrate of at most %d kbit/s for one channel",
			KBIT_CHANNEL_MAX);
	else
		return TD_OK;
	return TD_SINK_ERR_USAGE;
}

/* Which recording this is: the same in a replay. FNV-1a. */
static uint32_t serial_of(const struct td_writer_conf *conf)
{
	const char *texts[] = { conf->title, conf->album };
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < 2; i++) {
		for (const char *p = texts[i]; p != NULL && *p != '\0'; p++)
			hash = (hash ^ (uint8_t)*p) * 0x100000001b3u;
		hash = (hash ^ 0xff) * 0x100000001b3u; /* ends a text */
	}
	for (int i = 0; i < 8; i++)
		hash = (hash ^ (uint8_t)(conf->position >> (8 * i))) * 0x100000001b3u;
	return (uint32_t)(hash ^ hash >> 32);
}

static void opus_free(struct opus_writer *w)
{
	if (w == NULL)
		return;
	ogg_out_free(w->ogg);
	if (w->encoder != NULL)
		opus_encoder_destroy(w->encoder);
	free(w->frame);
	free(w);
}

static int put_headers(struct opus_writer *w)
{
	/* RFC 7845 section 5.2: the vendor is who encoded it. We do not know whose packets we pass
	 * on. */
	const char *vendor = w->encoder != NULL ? opus_get_version_string() : "tapedeck";
	uint8_t head[OPUS_HEAD_LEN], *tags;
	int r;

	opus_head_make(head, w->conf->channels, w->pre_skip, w->conf->rate);
	if ((tags = malloc(OPUS_TAGS_MAX)) == NULL)
		return TD_SINK_ERR_NOMEM;
	if ((r = ogg_out_header(w->ogg, head, sizeof(head))) == TD_OK)
		r = ogg_out_header(w->ogg, tags, opus_tags_make(tags, vendor, w->conf));
	free(tags);
	return r;
}

static int opus_open(void **ret_state, const struct td_output *out,
	const struct td_writer_conf *conf)
{
	struct opus_writer *w;
	char err[128];
	int r;

	if ((r = opus_check(conf, err, sizeof(err))) < 0)
		return r;
	if ((w = calloc(1, sizeof(*w))) == NULL)
		return TD_SINK_ERR_NOMEM;
	w->conf = conf;
	w->out = out;
	w->sound_toc = -1;
	w->pre_skip = conf->preroll > 0 ? conf->preroll : PRE_SKIP;
	if (conf->source == TD_WANT_PCM && (r = encoder_new(w, option(conf, "bitrate"))) < 0)
		goto out;
	if ((r = ogg_out_new(&w->ogg, out, serial_of(conf))) < 0 || (r = put_headers(w)) < 0)
		goto out;
	if (conf->source == TD_WANT_OPUS && conf->preroll == 0) {
		w->given = PRE_SKIP;
		if ((r = put_silence(w->ogg, PRE_SKIP)) < 0 || (r = show(w)) < 0)
			goto out;
	}
	*ret_state = w;
	w = NULL;
out:
	opus_free(w);
	return r;
}

static int opus_silence(void *state, uint64_t n)
{
	struct opus_writer *w = state;

	if (w->encoder != NULL)
		return pcm_add(w, NULL, n);
	if (w->error < 0)
		return w->error;
	if (n > SAMPLES_MAX - w->given)
		return TD_SINK_ERR_LIMIT;
	w->given += n;
	if (!w->shown && w->given >= w->pre_skip && (w->error = settle(w, 0)) == TD_OK)
		w->error = show(w);
	if (w->error == TD_OK)
		w->error = settle_most(w);
	return w->error;
}

static int opus_refresh(void *state)
{
	struct opus_writer *w = state;

	if (w->error == TD_OK && w->encoder == NULL)
		w->error = settle(w, 0);
	if (w->error == TD_OK)
		w->error = ogg_out_flush(w->ogg);
	if (w->error == TD_OK)
		w->error = w->out->patch(w->out->user, 0, "", 0); /* for what it does before */
	return w->error;
}

/* Packets up to the end and a little beyond. Returns where the end is. */
static uint64_t fill_to_end(struct opus_writer *w)
{
	uint64_t end, there;

	if (w->encoder == NULL && w->given < w->pre_skip)
		w->given = w->pre_skip; /* a file that ends before it begins is not valid */
	end = w->encoder != NULL ? pcm_end(w) : w->given;
	if (w->error < 0)
		return end;
	if (w->encoder == NULL) {
		there = ogg_out_samples(w->ogg);
		if (end > there)
			w->error = fill_gap(w, (end - there + GRAIN - 1) / GRAIN * GRAIN, 0);
		return end;
	}
	while (w->error == TD_OK && ogg_out_samples(w->ogg) < end)
		w->error = encode(w, NULL, w->frame_len - w->fill);
	return end;
}

static int opus_close(void *state, uint64_t *ret_samples)
{
	struct opus_writer *w = state;
	uint64_t end = fill_to_end(w), stored;
	int r = ogg_out_finish(w->ogg, end, &stored);

	if (w->error < 0)
		r = w->error;
	stored = stored > w->pre_skip ? stored - w->pre_skip : 0;
	*ret_samples = stored / (TD_RATE / w->conf->rate);
	opus_free(w);
	return r;
}

const struct td_writer_ops opus_writer = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_writer_ops),
	.name = "opus",
	.meaning = "Ogg Opus; live recordings keep the packets as they were received",
	.options = opus_options,
	.takes = TD_WANT_PCM | TD_WANT_OPUS,
	.check = opus_check,
	.open = opus_open,
	.silence = opus_silence,
	.refresh = opus_refresh,
	.close = opus_close,
	.write = pcm_write,
	.packet = pass_packet,
};
