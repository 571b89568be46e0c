/* SPDX-License-Identifier: ISC */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "sinks/convert/source_kinds.h"

/* The file as libsndfile sees it has the size it had when it was opened. */
static sf_count_t vio_length(void *user)
{
	const struct source *s = user;

	return (sf_count_t)s->in.size;
}

static sf_count_t vio_tell(void *user)
{
	const struct source *s = user;

	return (sf_count_t)s->pos;
}

static sf_count_t vio_seek(sf_count_t offset, int whence, void *user)
{
	struct source *s = user;
	sf_count_t from = whence == SEEK_CUR ? (sf_count_t)s->pos
		: whence == SEEK_END         ? (sf_count_t)s->in.size
					     : 0;

	if (__builtin_add_overflow(from, offset, &from) || from < 0)
		return -1;
	s->pos = (uint64_t)from;
	return from;
}

static sf_count_t vio_read(void *data, sf_count_t len, void *user)
{
	struct source *s = user;
	size_t got = 0;

	if (len <= 0 || input_read(&s->in, data, (size_t)len, s->pos, &got) < 0)
		return 0;
	s->pos += got;
	return (sf_count_t)got;
}

static sf_count_t vio_write(const void *data, sf_count_t len, void *user)
{
	(void)data;
	(void)len;
	(void)user;
	return 0;
}

static bool is_fine(int format)
{
	switch (format & SF_FORMAT_SUBMASK) {
	case SF_FORMAT_PCM_S8:
	case SF_FORMAT_PCM_U8:
	case SF_FORMAT_PCM_16:
		return false;
	}
	return true;
}

static const char *lossy(int format)
{
	switch (format & SF_FORMAT_SUBMASK) {
	case SF_FORMAT_OPUS:
		return "opus";
	case SF_FORMAT_MPEG_LAYER_III:
		return "mp3";
	}
	return NULL;
}

static void take_text(char ret[static SOURCE_TEXT], SNDFILE *snd, int which)
{
	const char *text = sf_get_string(snd, which);

	snprintf(ret, SOURCE_TEXT, "%s", text != NULL ? text : "");
}

int source_snd_open(struct source *s, struct fault *fault)
{
	static SF_VIRTUAL_IO vio = { vio_length, vio_seek, vio_read, vio_write, vio_tell };
	SF_INFO info = { 0 };

	hush_open(&s->hush);
	hush_begin(&s->hush);
	s->snd = sf_open_virtual(&vio, SFM_READ, &info, s);
	hush_end(&s->hush);
	if ((info.format & SF_FORMAT_TYPEMASK) != SF_FORMAT_MPEG)
		hush_close(&s->hush);
	if (s->snd == NULL)
		return fault_set(fault, TD_ERR_UNSUPPORTED, "not a sound file that can be read: %s",
			sf_strerror(NULL));
	if (info.channels < 1 || info.channels > RAW_CHANNELS_MAX)
		return fault_set(fault, TD_ERR_UNSUPPORTED, "%d channels; 1 or 2 can be converted",
			info.channels);
	if (info.samplerate < RAW_RATE_MIN || info.samplerate > RAW_RATE_MAX)
		return fault_set(fault, TD_ERR_UNSUPPORTED, "rate %d is not from %d to %d",
			info.samplerate, RAW_RATE_MIN, RAW_RATE_MAX);
	s->info.rate = (uint32_t)info.samplerate;
	s->info.channels = (uint32_t)info.channels;
	s->info.samples = info.frames < 0 || info.frames > INT64_MAX / 4 ? SOURCE_UNKNOWN
									 : (uint64_t)info.frames;
	s->info.lossy = lossy(info.format);
	s->ogg = (info.format & SF_FORMAT_TYPEMASK) == SF_FORMAT_OGG;
	take_text(s->info.title, s->snd, SF_STR_TITLE);
	take_text(s->info.album, s->snd, SF_STR_ALBUM);
	s->fine = is_fine(info.format);
	if (s->fine &&
		(s->floats = malloc(SOURCE_BLOCK * RAW_CHANNELS_MAX * sizeof(float))) == NULL)
		return fault_set(fault, TD_ERR_NOMEM, "%s", td_strerror(TD_ERR_NOMEM));
	return TD_OK;
}

int source_snd_read(struct source *s, int16_t *pcm, uint32_t max, uint64_t *ret_n,
	struct fault *fault)
{
	sf_count_t want = max < SOURCE_BLOCK ? max : SOURCE_BLOCK, n;

	hush_begin(&s->hush);
	n = s->fine ? sf_readf_float(s->snd, s->floats, want) : sf_readf_short(s->snd, pcm, want);
	hush_end(&s->hush);
	*ret_n = 0;
	if (s->in.shrank)
		return fault_set(fault, TD_ERR_TRUNCATED, "became shorter while it was read");
	if (n < 0 || n > want)
		n = 0;
	for (size_t i = 0; s->fine && i < (size_t)n * s->info.channels; i++)
		pcm[i] = raw_form_float(s->floats[i]);
	s->got += (uint64_t)n;
	if (n == 0 && s->info.samples != SOURCE_UNKNOWN && s->got < s->info.samples) {
		if (s->got == 0)
			return fault_set(fault, TD_ERR_MALFORMED, "nothing in it can be decoded");
		witness_warn(s->conf->witness,
			"damaged: only %" PRIu64 " of %" PRIu64 " samples can be decoded", s->got,
			s->info.samples);
		s->damaged = true;
	} else if (n == 0 && sf_error(s->snd) != SF_ERR_NO_ERROR) {
		witness_warn(s->conf->witness, "damaged: ends after %" PRIu64 " samples: %s",
			s->got, sf_strerror(s->snd));
		s->damaged = true;
	}
	if (n == 0 && s->hush.first[0] != '\0') {
		witness_warn(s->conf->witness, "damaged: its decoder says: %s", s->hush.first);
		s->damaged = true;
	}
	*ret_n = (uint64_t)n;
	return TD_OK;
}
