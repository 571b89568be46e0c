/* SPDX-License-Identifier: ISC */
#include "sinks/wav.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "samples are written as they are");

/* Everything in a RIFF file has to end below 4 GiB; a little room for a reader that adds to it. */
#define WAV_RIFF_MAX (UINT32_MAX - 65536u)

struct wav {
	const struct td_output *out;
	const struct td_writer_conf *conf;
	uint32_t frame_size; /* bytes of one sample of every channel */
	bool started;        /* the output has its header */
	int error;
	uint64_t len; /* bytes of samples that were passed on */
};

/* ---- the header ---- */

static uint8_t *put_id(uint8_t *p, const char *id)
{
	memcpy(p, id, 4);
	return p + 4;
}

static uint8_t *put_le(uint8_t *p, size_t len, uint64_t v)
{
	for (size_t i = 0; i < len; i++, v >>= 8)
		p[i] = (uint8_t)v;
	return p + len;
}

/* The body of a format chunk as far as both kinds have it. */
static uint8_t *put_format(const struct wav *w, uint8_t *p, uint32_t tag)
{
	p = put_le(p, 2, tag);
	p = put_le(p, 2, w->conf->channels);
	p = put_le(p, 4, w->conf->rate);
	p = put_le(p, 4, (uint64_t)w->conf->rate * w->frame_size);
	p = put_le(p, 2, w->frame_size);
	return put_le(p, 2, 16);
}

/* JUNK makes it as long as that of RF64. */
static void put_riff(const struct wav *w, uint8_t *p, uint64_t len)
{
	enum { JUNK = WAV_DATA_OFFSET - 12 - 24 - 8 - 8 };

	p = put_id(p, "RIFF");
	p = put_le(p, 4, WAV_DATA_OFFSET - 8 + len);
	p = put_id(p, "WAVE");
	p = put_id(p, "fmt ");
	p = put_le(p, 4, 16);
	p = put_format(w, p, 1); /* PCM */
	p = put_id(p, "JUNK");
	p = put_le(p, 4, JUNK) + JUNK;
	p = put_id(p, "data");
	put_le(p, 4, len);
}

/* EBU Tech 3306, as libsndfile writes it, too. */
static void put_rf64(const struct wav *w, uint8_t *p, uint64_t len)
{
	static const uint8_t pcm[16] = { 1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b,
		0x71 };

	p = put_id(p, "RF64");
	p = put_le(p, 4, UINT32_MAX);
	p = put_id(p, "WAVE");
	p = put_id(p, "ds64");
	p = put_le(p, 4, 28);
	p = put_le(p, 8, WAV_DATA_OFFSET - 8 + len);
	p = put_le(p, 8, len);
	p = put_le(p, 8, len / w->frame_size);
	p = put_le(p, 4, 0); /* no other chunk is as long */
	p = put_id(p, "fmt ");
	p = put_le(p, 4, 40);
	p = put_format(w, p, 0xfffe); /* what it is stands at the end */
	p = put_le(p, 2, 22);
	p = put_le(p, 2, 16);
	p = put_le(p, 4, w->conf->channels == 2 ? 3 : 4); /* left and right; centre */
	memcpy(p, pcm, sizeof(pcm));
	p = put_id(p + sizeof(pcm), "PAD ");
	p = put_le(p, 4, 0);
	p = put_id(p, "data");
	put_le(p, 4, UINT32_MAX);
}

/* The header of so many bytes of samples goes before them. */
static int put_header(struct wav *w, uint64_t len)
{
	uint8_t header[WAV_DATA_OFFSET] = { 0 };

	if (WAV_DATA_OFFSET + len <= WAV_RIFF_MAX)
		put_riff(w, header, len);
	else
		put_rf64(w, header, len);
	if (w->started)
		return w->out->patch(w->out->user, 0, header, sizeof(header));
	return w->out->append(w->out->user, header, sizeof(header));
}

/* ---- the writer ---- */

static int wav_check(const struct td_writer_conf *conf, char *err, size_t err_len)
{
	/* The header has the bytes of a second in 32 bits. */
	if (conf->source == TD_WANT_PCM && conf->channels >= 1 && conf->channels <= 2 &&
		conf->rate >= 1 && conf->rate <= INT_MAX / 4)
		return TD_OK;
	snprintf(err, err_len, "wav takes decoded sound of 1 or 2 channels");
	return TD_ERR_USAGE;
}

static int wav_open(void **ret_state, const struct td_output *out,
	const struct td_writer_conf *conf)
{
	struct wav *w;
	int r;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		return TD_ERR_NOMEM;
	w->out = out;
	w->conf = conf;
	w->frame_size = 2 * conf->channels;
	if ((r = put_header(w, 0)) < 0) {
		free(w);
		return r;
	}
	w->started = true;
	*ret_state = w;
	return TD_OK;
}

/* The samples are passed on, or why not. */
static int wav_add(struct wav *w, const int16_t *pcm, uint64_t samples)
{
	if (w->error < 0)
		return w->error;
	if (samples > (INT64_MAX - WAV_DATA_OFFSET - w->len) / w->frame_size)
		return w->error = TD_ERR_LIMIT;
	if (pcm != NULL)
		w->error = w->out->append(w->out->user, pcm, (size_t)samples * w->frame_size);
	else
		w->error = w->out->zeros(w->out->user, samples * w->frame_size);
	if (w->error == TD_OK)
		w->len += samples * w->frame_size;
	return w->error;
}

static int wav_write(void *state, const int16_t *pcm, uint32_t samples)
{
	return wav_add(state, pcm, samples);
}

static int wav_silence(void *state, uint64_t samples)
{
	return wav_add(state, NULL, samples);
}

void wav_appended(void *state, uint64_t samples)
{
	struct wav *w = state;

	w->len += samples * w->frame_size;
}

static int wav_refresh(void *state)
{
	struct wav *w = state;

	if (w->error == TD_OK)
		w->error = put_header(w, w->len);
	return w->error;
}

static int wav_close(void *state, uint64_t *ret_samples)
{
	struct wav *w = state;
	int r = wav_refresh(w);
	uint64_t stored = w->out->length(w->out->user);

	stored = stored < WAV_DATA_OFFSET ? 0 : (stored - WAV_DATA_OFFSET) / w->frame_size;
	/* The output failed and may hold fewer samples than were written: the header of those. */
	if (r < 0)
		(void)put_header(w, stored * w->frame_size);
	free(w);
	*ret_samples = stored;
	return r;
}

const struct td_writer_ops wav_writer = {
	.abi = TD_SINK_ABI,
	.size = sizeof(struct td_writer_ops),
	.name = "wav",
	.meaning = "16 bit PCM; RF64 beyond 4 GiB",
	.takes = TD_WANT_PCM,
	.check = wav_check,
	.open = wav_open,
	.write = wav_write,
	.silence = wav_silence,
	.refresh = wav_refresh,
	.close = wav_close,
};
