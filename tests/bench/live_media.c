/* SPDX-License-Identifier: ISC */
#include <opus.h>
#include <string.h>

#include "tests/bench/live.h"

enum { BITRATE = 64000, RATE = 48000, SYLLABLE = 9600 };

/* Noise from a generator of its own, so that it is the same everywhere. */
static double noise(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return (double)(int32_t)*state / 2147483648.0;
}

/* A resonance of two poles. */
struct formant {
	double a, b, y1, y2;
};

static double resonate(struct formant *f, double x)
{
	double y = x + f->a * f->y1 - f->b * f->y2;

	f->y2 = f->y1;
	f->y1 = y;
	return y;
}

/* Something like speech: pulses at a moving pitch and breath through three formants, in syllables,
 * a little different on either side. */
void live_media_make(struct live_media *m)
{
	OpusEncoder *e = opus_encoder_create(RATE, 2, OPUS_APPLICATION_VOIP, NULL);
	struct formant f[3] = { { 1.985, 0.988, 0, 0 }, { 1.93, 0.97, 0, 0 },
		{ 1.75, 0.95, 0, 0 } };
	int16_t pcm[2 * LIVE_FRAME];
	uint32_t state = 1;
	double phase = 0;
	size_t at = 0;

	LIVE_MUST(e != NULL && opus_encoder_ctl(e, OPUS_SET_BITRATE(BITRATE)) == OPUS_OK);
	for (size_t i = 0; i < LIVE_MEDIA; i++) {
		for (size_t k = 0; k < LIVE_FRAME; k++, at++) {
			size_t in = at % SYLLABLE, word = at / SYLLABLE;
			double loud = in < 7200 ? (double)(in < 3600 ? in : 7200 - in) / 3600 : 0;
			double x = noise(&state) * (word % 4 == 3 ? 0.2 : 0.02), side;

			phase += (110.0 + 15 * (double)(word % 5) - 20 * loud) / RATE;
			if (phase >= 1) {
				phase -= 1;
				x += 1;
			}
			x = resonate(&f[0], x) + 2 * resonate(&f[1], x) + 3 * resonate(&f[2], x);
			x *= loud * 700;
			side = noise(&state) * 40;
			x = x > 30000 ? 30000 : x < -30000 ? -30000 : x;
			pcm[2 * k] = (int16_t)(x + side);
			pcm[2 * k + 1] = (int16_t)(0.8 * x - side);
		}
		int n = opus_encode(e, pcm, LIVE_FRAME, m->bytes[i], LIVE_MEDIA_MAX);

		LIVE_MUST(n > 0);
		m->len[i] = (size_t)n;
	}
	opus_encoder_destroy(e);
}
