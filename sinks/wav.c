/* SPDX-License-Identifier: ISC */
#include "sinks/wav.h"

#include <limits.h>
#include <sndfile.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

/* Everything in a RIFF file has to end below 4 GiB; a little room for a reader that adds to it. */
#define WAV_RIFF_MAX (UINT32_MAX - 65536u)

/*
 * libsndfile writes to virtual I/O: what it puts in front of the samples stays in `header` until
 * wav_refresh() writes it as a whole, behind the samples it speaks of; the samples go straight on.
 */
struct wav {
	const struct td_output *out;
	const struct td_writer_conf *conf;
	SNDFILE *snd;
	uint32_t frame_size; /* bytes of one sample of every channel */
	bool rf64, started;  /* started: the output has its header */
	bool dry;            /* samples are counted and not passed on */
	int error;
	uint64_t pos, len; /* as libsndfile sees them */
	uint8_t header[WAV_DATA_OFFSET];
};

static sf_count_t vio_length(void *user)
{
	struct wav *w = user;

	return (sf_count_t)w->len;
}

static sf_count_t vio_tell(void *user)
{
	struct wav *w = user;

	return (sf_count_t)w->pos;
}

static sf_count_t vio_seek(sf_count_t offset, int whence, void *user)
{
	struct wav *w = user;
	sf_count_t from = whence == SEEK_CUR ? (sf_count_t)w->pos
		: whence == SEEK_END         ? (sf_count_t)w->len
					     : 0;

	if (__builtin_add_overflow(from, offset, &from) || from < 0 || (uint64_t)from > w->len)
		return -1;
	w->pos = (uint64_t)from;
	return from;
}

static sf_count_t vio_read(void *data, sf_count_t len, void *user)
{
	(void)data;
	(void)len;
	(void)user;
	return 0;
}

static sf_count_t vio_write(const void *data, sf_count_t len, void *user)
{
	struct wav *w = user;
	uint64_t n = (uint64_t)len;

	if (w->pos < WAV_DATA_OFFSET) {
		if (n > WAV_DATA_OFFSET - w->pos)
			return 0;
		memcpy(w->header + w->pos, data, n);
	} else {
		if (w->pos != w->len)
			return 0;
		if (w->error == TD_OK && !w->dry)
			w->error = w->out->append(w->out->user, data, n);
		if (w->error < 0)
			return 0;
	}
	w->pos += n;
	if (w->len < w->pos)
		w->len = w->pos;
	return len;
}

/* A libsndfile handle of this format over the output, as long as the output is now. */
static int wav_begin(struct wav *w, int format)
{
	static SF_VIRTUAL_IO vio = { vio_length, vio_seek, vio_read, vio_write, vio_tell };
	SF_INFO info = {
		.samplerate = (int)w->conf->rate,
		.channels = (int)w->conf->channels,
		.format = format | SF_FORMAT_PCM_16,
	};
	/* A plain RIFF header is 44 bytes. JUNK makes it as long as that of RF64. */
	char junk[WAV_DATA_OFFSET - 44 - 8] = "";
	SF_CHUNK_INFO chunk = { .id = "JUNK", .id_size = 4, .datalen = sizeof(junk), .data = junk };

	w->pos = 0;
	if ((w->snd = sf_open_virtual(&vio, SFM_WRITE, &info, w)) == NULL)
		return TD_ERR_NOMEM;
	if (format == SF_FORMAT_WAV && sf_set_chunk(w->snd, &chunk) != SF_ERR_NO_ERROR)
		return TD_ERR_NOMEM;
	/* Without this the header of RF64 has another length; with it, it is RIFF while it can be.
	 */
	if (format == SF_FORMAT_RF64)
		sf_command(w->snd, SFC_RF64_AUTO_DOWNGRADE, NULL, SF_TRUE);
	sf_command(w->snd, SFC_UPDATE_HEADER_NOW, NULL, 0);
	/* libsndfile decides how long its headers are; ours hold together only at this length. */
	if (memcmp(w->header + WAV_DATA_OFFSET - 8, "data", 4) != 0)
		return TD_ERR_UNSUPPORTED;
	return TD_OK;
}

static int wav_refresh(void *state)
{
	struct wav *w = state;
	int r;

	if (w->error < 0)
		return w->error;
	sf_command(w->snd, SFC_UPDATE_HEADER_NOW, NULL, 0);
	if (w->started)
		r = w->out->patch(w->out->user, 0, w->header, WAV_DATA_OFFSET);
	else
		r = w->out->append(w->out->user, w->header, WAV_DATA_OFFSET);
	if (r < 0)
		w->error = r;
	w->started = true;
	return r;
}

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
	int r = TD_ERR_NOMEM;

	if ((w = calloc(1, sizeof(*w))) == NULL)
		goto out;
	w->out = out;
	w->conf = conf;
	w->frame_size = 2 * conf->channels;
	if ((r = wav_begin(w, SF_FORMAT_WAV)) < 0)
		goto out;
	if ((r = wav_refresh(w)) < 0)
		goto out;
	*ret_state = w;
	w = NULL;
out:
	if (w != NULL)
		sf_close(w->snd);
	free(w);
	return r;
}

/* Room for n more samples per channel: beyond 4 GiB the header becomes one of RF64. */
static int wav_grow(struct wav *w, uint64_t n)
{
	int r;

	if (w->error < 0)
		return w->error;
	if (n > (INT64_MAX - w->len) / w->frame_size)
		return w->error = TD_ERR_LIMIT;
	if (w->rf64 || w->len + n * w->frame_size <= WAV_RIFF_MAX)
		return TD_OK;
	sf_close(w->snd);
	w->rf64 = true;
	if ((r = wav_begin(w, SF_FORMAT_RF64)) < 0)
		return w->error = r;
	if (sf_seek(w->snd, (sf_count_t)((w->len - WAV_DATA_OFFSET) / w->frame_size), SEEK_SET) < 0)
		return w->error = TD_ERR_IO;
	return TD_OK;
}

static int wav_write(void *state, const int16_t *pcm, uint32_t samples)
{
	struct wav *w = state;
	int r;

	if ((r = wav_grow(w, samples)) < 0)
		return r;
	if (sf_writef_short(w->snd, pcm, samples) != samples && w->error == TD_OK)
		w->error = TD_ERR_IO;
	return w->error;
}

static int wav_silence(void *state, uint64_t samples)
{
	static const int16_t zero[2];
	struct wav *w = state;
	int r;

	if (samples == 0)
		return w->error;
	if ((r = wav_grow(w, samples)) < 0)
		return r;
	/* libsndfile counts what is written, not what is skipped: the last sample is. */
	if ((r = w->out->zeros(w->out->user, (samples - 1) * w->frame_size)) < 0)
		return w->error = r;
	w->len += (samples - 1) * w->frame_size;
	if (sf_seek(w->snd, (sf_count_t)samples - 1, SEEK_CUR) < 0)
		return w->error = TD_ERR_IO;
	return wav_write(w, zero, 1);
}

/* The output failed and holds fewer samples than were written: the header of exactly those. */
static int wav_restate(struct wav *w, uint64_t stored)
{
	static const int16_t zero[2];
	uint64_t skip = stored > 0 ? stored - 1 : 0;
	int r;

	sf_close(w->snd);
	w->snd = NULL;
	w->len = WAV_DATA_OFFSET + skip * w->frame_size;
	if ((r = wav_begin(w, w->rf64 ? SF_FORMAT_RF64 : SF_FORMAT_WAV)) < 0)
		return r;
	w->dry = true;
	w->error = TD_OK;
	if (sf_seek(w->snd, (sf_count_t)skip, SEEK_SET) < 0 ||
		(stored > 0 && sf_writef_short(w->snd, zero, 1) != 1))
		return TD_ERR_IO;
	return wav_refresh(w);
}

static int wav_close(void *state, uint64_t *ret_samples)
{
	struct wav *w = state;
	uint64_t stored;
	int r = w->error;

	if (r == TD_OK)
		r = wav_refresh(w);
	stored = w->out->length(w->out->user);
	stored = stored < WAV_DATA_OFFSET ? 0 : (stored - WAV_DATA_OFFSET) / w->frame_size;
	if (r < 0 && w->started)
		(void)wav_restate(w, stored);
	sf_close(w->snd);
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
