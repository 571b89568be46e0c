/* SPDX-License-Identifier: ISC */
#include "unpacker/hearing.h"

#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/opus_packet.h"

static void forget_kept(struct hearing *h)
{
	size_t i;

	for (i = 0; i < HEARING_KEPT; i++)
		free(h->kept[i].data);
	memset(h->kept, 0, sizeof(h->kept));
	h->count = h->head = 0;
}

/* What the packets kept leave in a decoder is all that is wanted of them. */
static void hear_again(struct hearing *h)
{
	int16_t pcm[OPUS_MAX_SAMPLES * 2];
	size_t i;

	for (i = 0; i < h->count; i++) {
		const struct hearing_packet *k = &h->kept[(h->head + i) % HEARING_KEPT];

		(void)decoder_decode(h->decoder, pcm, opus_packet_samples(k->data, k->len), k->data,
			k->len);
	}
}

int hearing_ready(struct hearing *h, struct decoder_pool *pool, int most, const uint8_t *packet,
	size_t len)
{
	int channels = opus_packet_channels(packet, len);
	struct decoder *d;
	int r;

	if (channels > most)
		channels = most;
	if (h->decoder != NULL && channels <= h->channels)
		return TD_OK;
	if ((r = decoder_get(&d, pool, channels)) != TD_OK)
		return r;
	decoder_put(pool, h->decoder);
	h->decoder = d;
	h->channels = channels;
	hear_again(h);
	forget_kept(h);
	return TD_OK;
}

int hearing_keep(struct hearing *h, int most, const uint8_t *packet, size_t len)
{
	struct hearing_packet *k;

	if (h->channels == most)
		return TD_OK;
	k = &h->kept[(h->head + h->count) % HEARING_KEPT];
	if (k->size < len) {
		free(k->data);
		k->size = 0;
		if ((k->data = malloc(len)) == NULL)
			return TD_ERR_NOMEM;
		k->size = len;
	}
	memcpy(k->data, packet, len);
	k->len = len;
	if (h->count < HEARING_KEPT)
		h->count++;
	else
		h->head = (h->head + 1) % HEARING_KEPT;
	return TD_OK;
}

void hearing_end(struct hearing *h, struct decoder_pool *pool)
{
	decoder_put(pool, h->decoder);
	h->decoder = NULL;
	forget_kept(h);
}
