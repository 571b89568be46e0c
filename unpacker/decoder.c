/* SPDX-License-Identifier: ISC */
#include "unpacker/decoder.h"

#include <opus.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/err.h"
#include "common/opus_packet.h"
#include "unpacker/to_s16.h"

struct decoder {
	size_t size; /* of all of it */
	int channels;
	bool fixed_point;  /* libopus computes in s16 itself, and clips nothing softly */
	float softclip[2]; /* opus_pcm_soft_clip()'s memory */
	_Alignas(16) unsigned char state[]; /* an OpusDecoder */
};

static OpusDecoder *opus_of(struct decoder *d)
{
	return (OpusDecoder *)(void *)d->state;
}

static struct decoder *decoder_new(int channels)
{
	size_t size = sizeof(struct decoder) + (size_t)opus_decoder_get_size(channels);
	struct decoder *d = malloc(size);

	if (d == NULL)
		return NULL;
	*d = (struct decoder){ .size = size, .channels = channels };
	/* As opus_get_version_string() says to find that out. */
	d->fixed_point = strstr(opus_get_version_string(), "-fixed") != NULL;
	if (opus_decoder_init(opus_of(d), TD_RATE, channels) != OPUS_OK) {
		free(d);
		return NULL;
	}
	return d;
}

/* NULL: there is none of so many channels. */
static struct decoder *take_idle(struct decoder_pool *pool, int channels)
{
	struct decoder *d;
	size_t i;

	for (i = pool->len; i > 0; i--) {
		d = pool->idle[i - 1];
		if (d->channels != channels)
			continue;
		pool->idle[i - 1] = pool->idle[--pool->len];
		return d;
	}
	return NULL;
}

int decoder_get(struct decoder **ret, struct decoder_pool *pool, int channels)
{
	struct decoder **fresh = &pool->fresh[channels - 1], *d;

	if (*fresh == NULL && (*fresh = decoder_new(channels)) == NULL)
		return TD_ERR_NOMEM;
	if ((d = take_idle(pool, channels)) == NULL && (d = malloc((*fresh)->size)) == NULL)
		return TD_ERR_NOMEM;
	/* libopus promises that its state may be copied so. */
	memcpy(d, *fresh, (*fresh)->size);
	*ret = d;
	return TD_OK;
}

void decoder_put(struct decoder_pool *pool, struct decoder *d)
{
	if (d != NULL && pool->len < DECODER_POOL_MAX)
		pool->idle[pool->len++] = d;
	else
		free(d);
}

void decoder_pool_free(struct decoder_pool *pool)
{
	while (pool->len > 0)
		free(pool->idle[--pool->len]);
	free(pool->fresh[0]);
	free(pool->fresh[1]);
	pool->fresh[0] = pool->fresh[1] = NULL;
}

/*
 * As opus_decode() does it, to the bit, but for its cost: that looks at every sample three times to
 * clip softly what hardly ever clips, and converts one after the other. Where all is within full
 * scale, and nothing of a clipped frame before goes on, soft clipping changes nothing.
 */
static int decode(struct decoder *d, int16_t *pcm, int samples, const uint8_t *packet, size_t len,
	int fec, bool soft_clip)
{
	_Alignas(16) float x[OPUS_MAX_SAMPLES * 2];
	size_t count = (size_t)samples * (size_t)d->channels;
	bool within;
	int n;

	if (d->fixed_point) {
		n = opus_decode(opus_of(d), packet, (opus_int32)len, pcm, samples, fec);
		return n == samples ? TD_OK : TD_ERR_MALFORMED;
	}
	if (samples > OPUS_MAX_SAMPLES)
		return TD_ERR_MALFORMED;
	n = opus_decode_float(opus_of(d), packet, (opus_int32)len, x, samples, fec);
	if (n != samples)
		return TD_ERR_MALFORMED;
	within = to_s16(pcm, x, count);
	if (!soft_clip || (within && d->softclip[0] == 0 && d->softclip[1] == 0))
		return TD_OK;
	opus_pcm_soft_clip(x, samples, d->channels, d->softclip);
	to_s16(pcm, x, count);
	return TD_OK;
}

int decoder_decode(struct decoder *d, int16_t *pcm, int samples, const uint8_t *packet, size_t len)
{
	return decode(d, pcm, samples, packet, len, 0, true);
}

int decoder_recover(struct decoder *d, int16_t *pcm, int samples, const uint8_t *next, size_t len)
{
	return decode(d, pcm, samples, next, len, 1, false);
}

int decoder_conceal(struct decoder *d, int16_t *pcm, int samples)
{
	return decode(d, pcm, samples, NULL, 0, 0, false);
}
