/* SPDX-License-Identifier: ISC */
#include "unpacker/decoder.h"

#include <opus.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/err.h"

struct decoder {
	int channels;
	_Alignas(16) unsigned char state[]; /* an OpusDecoder */
};

static OpusDecoder *opus_of(struct decoder *d)
{
	return (OpusDecoder *)(void *)d->state;
}

int decoder_get(struct decoder **ret, struct decoder_pool *pool, int channels)
{
	struct decoder *d;
	size_t i;

	for (i = pool->len; i > 0; i--) {
		d = pool->idle[i - 1];
		if (d->channels != channels)
			continue;
		pool->idle[i - 1] = pool->idle[--pool->len];
		opus_decoder_ctl(opus_of(d), OPUS_RESET_STATE);
		*ret = d;
		return TD_OK;
	}
	d = malloc(sizeof(*d) + (size_t)opus_decoder_get_size(channels));
	if (d == NULL)
		return TD_ERR_NOMEM;
	d->channels = channels;
	if (opus_decoder_init(opus_of(d), TD_RATE, channels) != OPUS_OK) {
		free(d);
		return TD_ERR_NOMEM;
	}
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
}

static int decode(struct decoder *d, int16_t *pcm, int samples, const uint8_t *packet, size_t len,
	int fec)
{
	int n = opus_decode(opus_of(d), packet, (opus_int32)len, pcm, samples, fec);

	return n == samples ? TD_OK : TD_ERR_MALFORMED;
}

int decoder_decode(struct decoder *d, int16_t *pcm, int samples, const uint8_t *packet, size_t len)
{
	return decode(d, pcm, samples, packet, len, 0);
}

int decoder_recover(struct decoder *d, int16_t *pcm, int samples, const uint8_t *next, size_t len)
{
	return decode(d, pcm, samples, next, len, 1);
}

int decoder_conceal(struct decoder *d, int16_t *pcm, int samples)
{
	return decode(d, pcm, samples, NULL, 0, 0);
}
