/* SPDX-License-Identifier: ISC */
#include "sinks/shape.h"

#include <soxr.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

/*
 * The filter rings for fewer than 100 samples at the lower of the two rates, to either side. So
 * much after the last sound everything is zero: what comes out and what is still on its way.
 */
enum { SHAPE_TAIL = 256 };
enum { SHAPE_IN = 1024, SHAPE_OUT = 4096 };
enum { SHAPE_RATE_MIN = 8000, SHAPE_RATE_MAX = 192000 };

struct shape {
	uint32_t from_channels, to_channels;
	uint32_t from, to; /* the ratio of the rates, reduced: so many in for so many out */
	uint32_t tail;     /* SHAPE_TAIL as samples out */
	soxr_t soxr;       /* NULL: same rate. Has the fewer channels of both sides. */
	uint64_t in, out;  /* samples so far, skipped silence included */
	uint64_t quiet;    /* so many samples out, and all that follow without sound are zeros */
	int16_t mixed[SHAPE_IN * 2], resampled[SHAPE_OUT * 2], spread[SHAPE_OUT * 2];
};

/* round(in * to / from), also of hours. */
static uint64_t shape_length(const struct shape *s, uint64_t in)
{
	return in / s->from * s->to + (in % s->from * s->to * 2 + s->from) / (2 * s->from);
}

int shape_new(struct shape **ret, uint32_t from_rate, uint32_t from_channels, uint32_t to_rate,
	uint32_t to_channels)
{
	uint32_t a = from_rate, b = to_rate;
	struct shape *s;
	int r = TD_ERR_NOMEM;

	if (from_rate < SHAPE_RATE_MIN || from_rate > SHAPE_RATE_MAX || to_rate < SHAPE_RATE_MIN ||
		to_rate > SHAPE_RATE_MAX || from_channels < 1 || from_channels > 2 ||
		to_channels < 1 || to_channels > 2)
		return TD_ERR_UNSUPPORTED;
	if ((s = calloc(1, sizeof(*s))) == NULL)
		goto out;
	while (b != 0) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	s->from = from_rate / a;
	s->to = to_rate / a;
	s->tail = SHAPE_TAIL * (from_rate < to_rate ? to_rate / from_rate + 1 : 1);
	s->from_channels = from_channels;
	s->to_channels = to_channels;
	/* It rings before the sound, too: not at once, or that would be before the start. */
	s->quiet = s->tail;
	if (from_rate != to_rate) {
		soxr_io_spec_t io = soxr_io_spec(SOXR_INT16_I, SOXR_INT16_I);
		soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
		soxr_runtime_spec_t runtime = soxr_runtime_spec(1);

		io.flags = SOXR_NO_DITHER; /* silence stays silence */
		s->soxr = soxr_create(from_rate, to_rate,
			from_channels < to_channels ? from_channels : to_channels, NULL, &io,
			&quality, &runtime);
		if (s->soxr == NULL)
			goto out;
	}
	*ret = s;
	s = NULL;
	r = TD_OK;
out:
	shape_free(s);
	return r;
}

void shape_free(struct shape *s)
{
	if (s == NULL)
		return;
	soxr_delete(s->soxr);
	free(s);
}

/* Hands on samples of the right rate, at most SHAPE_OUT, in as many channels as soxr has. */
static int shape_out(struct shape *s, const int16_t *pcm, uint32_t samples, shape_audio_fn *audio,
	void *user)
{
	if (samples == 0)
		return TD_OK;
	s->out += samples;
	if (s->to_channels <= s->from_channels)
		return audio(user, pcm, samples);
	for (uint32_t i = 0; i < samples; i++)
		s->spread[2 * i] = s->spread[2 * i + 1] = pcm[i];
	return audio(user, s->spread, samples);
}

/* At most SHAPE_IN samples, in as many channels as soxr has; NULL: the end. */
static int shape_resample(struct shape *s, const int16_t *pcm, uint32_t samples,
	shape_audio_fn *audio, void *user)
{
	size_t taken, made;
	int r = TD_OK;

	do {
		if (soxr_process(s->soxr, pcm, samples, &taken, s->resampled, SHAPE_OUT, &made) !=
			NULL)
			return TD_ERR_NOMEM;
		if (pcm != NULL) {
			pcm += taken *
				(s->from_channels < s->to_channels ? s->from_channels
								   : s->to_channels);
			samples -= (uint32_t)taken;
			s->in += taken;
		} else if (made > shape_length(s, s->in) - s->out) {
			made = (size_t)(shape_length(s, s->in) - s->out);
		}
		r = shape_out(s, s->resampled, (uint32_t)made, audio, user);
	} while (r == TD_OK && (samples > 0 || made > 0));
	return r;
}

int shape_audio(struct shape *s, const int16_t *pcm, uint32_t samples, shape_audio_fn *audio,
	void *user)
{
	int r = TD_OK;

	if (s->soxr == NULL && s->from_channels == s->to_channels)
		return samples > 0 ? audio(user, pcm, samples) : TD_OK;
	while (samples > 0 && r == TD_OK) {
		uint32_t n = samples < SHAPE_IN ? samples : SHAPE_IN;
		const int16_t *in = pcm;

		if (s->from_channels > s->to_channels) {
			for (uint32_t i = 0; i < n; i++)
				s->mixed[i] = (int16_t)(((int32_t)pcm[2 * i] + pcm[2 * i + 1]) / 2);
			in = s->mixed;
		}
		r = s->soxr != NULL ? shape_resample(s, in, n, audio, user)
				    : shape_out(s, in, n, audio, user);
		pcm += (size_t)n * s->from_channels;
		samples -= n;
	}
	s->quiet = shape_length(s, s->in) + s->tail;
	return r;
}

/*
 * Once nothing but zeros is on its way through the filter, whole periods of the ratio can be left
 * out: it is in the same phase before and after them. They go straight to the output.
 */
int shape_silence(struct shape *s, uint64_t n, shape_audio_fn *audio, shape_silence_fn *silence,
	void *user)
{
	static const int16_t zeros[SHAPE_IN * 2];
	int r = TD_OK;

	if (s->soxr == NULL)
		return n > 0 ? silence(user, n) : TD_OK;
	while (n > 0 && r == TD_OK) {
		uint64_t periods = s->out >= s->quiet ? n / s->from : 0;
		uint32_t piece = n < SHAPE_IN ? (uint32_t)n : SHAPE_IN;

		if (periods > 0) {
			s->in += periods * s->from;
			s->out += periods * s->to;
			n -= periods * s->from;
			r = silence(user, periods * s->to);
		} else {
			n -= piece;
			r = shape_resample(s, zeros, piece, audio, user);
		}
	}
	return r;
}

int shape_end(struct shape *s, shape_audio_fn *audio, void *user)
{
	return s->soxr != NULL ? shape_resample(s, NULL, 0, audio, user) : TD_OK;
}
