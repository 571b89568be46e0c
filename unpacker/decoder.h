/* SPDX-License-Identifier: ISC */
#ifndef TD_UNPACKER_DECODER_H
#define TD_UNPACKER_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * libopus, 48 kHz: one decoder per SSRC. `pcm` is interleaved and has room for samples * channels;
 * `samples` is per channel. What a decoder gives depends on every call made before, so the caller
 * makes one per packet, in sequence, pauses or not. The samples are those of opus_decode().
 */
struct decoder;

/* Decoders that streams gave back, for the next ones, and what a new one is a copy of: libopus asks
 * the CPU what it can each time it makes one, which is slow where that ends in a hypervisor. */
enum { DECODER_POOL_MAX = 8 };
struct decoder_pool {
	struct decoder *idle[DECODER_POOL_MAX];
	size_t len;
	struct decoder *fresh[2]; /* of one channel, of two; NULL: not needed so far */
};

/* A decoder as if new, from the pool if it has one. TD_ERR_NOMEM. */
int decoder_get(struct decoder **ret, struct decoder_pool *pool, int channels);
void decoder_put(struct decoder_pool *pool, struct decoder *d); /* NULL is fine */
void decoder_pool_free(struct decoder_pool *pool);              /* leaves an empty pool */

/* One packet of exactly `samples` (opus_packet_samples()). TD_ERR_MALFORMED: Opus refused it. */
int decoder_decode(struct decoder *d, int16_t *pcm, int samples, const uint8_t *packet, size_t len);

/* The sound that was lost before `next`, from the copy in it. `samples`: those of one frame of
 * next. TD_ERR_MALFORMED. */
int decoder_recover(struct decoder *d, int16_t *pcm, int samples, const uint8_t *next, size_t len);

/* Sound to put in place of a lost packet; `samples` is a multiple of 120. TD_ERR_MALFORMED. */
int decoder_conceal(struct decoder *d, int16_t *pcm, int samples);

#endif
