/* SPDX-License-Identifier: ISC */
#ifndef TD_SINKS_SHAPE_H
#define TD_SINKS_SHAPE_H

#include <stdint.h>

/*
 * Samples as they are become samples as a file wants them: another rate, another number of channels
 * (1 or 2). Whatever goes in, in whatever pieces, what comes out is
 *
 *   round(all samples in * to_rate / from_rate) samples per channel, and in place: the sound at
 *   second t is at second t, however many hours of silence went before.
 *
 * Rates by libsoxr, high quality, without dither: the same input in the same pieces gives the same
 * output. Two channels become one by their mean, one becomes two by a copy; too loud saturates.
 * Same rate and channels: pointers and silence are passed through, nothing is copied.
 *
 * With two rates up to 0.3 s of what went in are not out yet; shape_end() brings them. Nothing is
 * allocated per call. One thread at a time.
 *
 * The functions that take what comes out have the shape of a writer's write() and silence(); user
 * is their first argument, and the first negative result ends the call and is returned.
 */
struct shape;

typedef int shape_audio_fn(void *user, const int16_t *pcm, uint32_t samples);
typedef int shape_silence_fn(void *user, uint64_t n);

/* Rates 8000-192000, channels 1 or 2. TD_ERR_UNSUPPORTED, TD_ERR_NOMEM. */
int shape_new(struct shape **ret, uint32_t from_rate, uint32_t from_channels, uint32_t to_rate,
	uint32_t to_channels);
/* NULL is fine. */
void shape_free(struct shape *s);

/* Samples per channel, interleaved in from_channels. */
int shape_audio(struct shape *s, const int16_t *pcm, uint32_t samples, shape_audio_fn *audio,
	void *user);
/* n may be hours: they cost what a second does. Where sound rings on, its edge comes as audio. */
int shape_silence(struct shape *s, uint64_t n, shape_audio_fn *audio, shape_silence_fn *silence,
	void *user);
/* What is not out yet. Once, then only shape_free(). */
int shape_end(struct shape *s, shape_audio_fn *audio, void *user);

#endif
