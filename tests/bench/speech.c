/* SPDX-License-Identifier: ISC */
#include <math.h>
#include <opus.h>
#include <stdbool.h>

#include "common/clock.h"
#include "tests/bench/bench.h"
#include "tests/bench/speech.h"
#include "tests/voiceserver/rng.h"

enum { FORMANTS = 3, ROOM = 512 };
#define PI 3.14159265358979323846

/* A resonator of two poles. */
struct formant {
	double a, b, c, y1, y2;
};

static void formant_tune(struct formant *f, double hz, double width)
{
	double r = exp(-PI * width / TD_RATE);

	f->c = -r * r;
	f->b = 2 * r * cos(2 * PI * hz / TD_RATE);
	f->a = 1 - f->b - f->c;
}

static double formant_run(struct formant *f, double x)
{
	double y = f->a * x + f->b * f->y1 + f->c * f->y2;

	f->y2 = f->y1;
	f->y1 = y;
	return y;
}

/* A speaker: what a syllable is at, and the room it sounds in. */
struct voice {
	struct rng rng;
	double pitch, phase, glide; /* Hz, turns, change a sample */
	double gain;
	unsigned at, hiss_end, end; /* samples of this syllable */
	struct formant mouth[FORMANTS], teeth;
	double room[ROOM];
	unsigned room_at;
};

static double between(struct rng *r, double low, double high)
{
	return low + (high - low) * ((double)(rng_u64(r) >> 11) * 0x1p-53);
}

static void syllable(struct voice *v, double base)
{
	static const double vowels[][FORMANTS] = { { 730, 1090, 2440 }, { 530, 1840, 2480 },
		{ 270, 2290, 3010 }, { 570, 840, 2410 }, { 300, 870, 2240 }, { 490, 1350, 1690 } };
	static const double width[FORMANTS] = { 60, 90, 150 };
	size_t vowel = rng_below(&v->rng, sizeof(vowels) / sizeof(vowels[0])), i;

	for (i = 0; i < FORMANTS; i++)
		formant_tune(&v->mouth[i], vowels[vowel][i] * between(&v->rng, 0.95, 1.05),
			width[i]);
	formant_tune(&v->teeth, between(&v->rng, 2500, 7000), 1500);
	v->at = 0;
	v->hiss_end = rng_chance(&v->rng, 0.5) ? (unsigned)between(&v->rng, 2000, 5000) : 0;
	v->end = v->hiss_end + (unsigned)between(&v->rng, 5000, 12000);
	v->pitch = base * between(&v->rng, 0.85, 1.25);
	v->glide = v->pitch * between(&v->rng, -0.4, 0.2) / TD_RATE;
	v->gain = rng_chance(&v->rng, 0.12) ? 0.02 : between(&v->rng, 0.5, 1);
}

/* The next sample of the voice alone. */
static double speak(struct voice *v, double base)
{
	double noise = between(&v->rng, -1, 1), pulse = 0, in, out;
	size_t i;

	if (v->at >= v->end)
		syllable(v, base);
	if (v->at++ < v->hiss_end)
		return v->gain * 0.5 * formant_run(&v->teeth, noise);
	/* The cords are open for 6 of 10 parts of a turn, and close fast. */
	v->pitch += v->glide;
	v->phase += v->pitch / TD_RATE;
	v->phase -= floor(v->phase);
	if (v->phase < 0.6)
		pulse = v->phase * v->phase * (0.6 - v->phase) * 20;
	in = pulse + 0.02 * noise;
	for (out = 0, i = 0; i < FORMANTS; i++)
		out += formant_run(&v->mouth[i], in) / (double)(i + 1);
	return v->gain * out * sin(PI * (v->at - v->hiss_end) / (v->end - v->hiss_end));
}

static int16_t sample(double x)
{
	return (int16_t)lrint(fmax(-1, fmin(1, x)) * 32767);
}

/* Two microphones: each hears the voice, another wall's answer and its own noise. */
static void listen(struct voice *v, double base, int16_t *out, int channels)
{
	double dry = speak(v, base);
	unsigned at = v->room_at++;

	v->room[at % ROOM] = dry;
	out[0] = sample(0.7 * dry + 0.2 * v->room[(at + ROOM - 151) % ROOM] +
		between(&v->rng, -1, 1) / 3000);
	if (channels == 2)
		out[1] = sample(0.6 * dry + 0.25 * v->room[(at + ROOM - 383) % ROOM] +
			between(&v->rng, -1, 1) / 3000);
}

void speech_encode(struct speech_packet *out, size_t count, int channels, uint64_t seed)
{
	OpusEncoder *e = opus_encoder_create(TD_RATE, channels, OPUS_APPLICATION_VOIP, NULL);
	struct voice v = { .rng = rng_stream(seed, (uint64_t)channels, 0, RNG_TALK) };
	double base = between(&v.rng, 90, 220);
	int16_t pcm[2 * SPEECH_SAMPLES];
	opus_int32 len;
	size_t i, k;

	BENCH_MUST(e != NULL && opus_encoder_ctl(e, OPUS_SET_BITRATE(SPEECH_BITRATE)) == OPUS_OK);
	BENCH_MUST(opus_encoder_ctl(e, OPUS_SET_FORCE_CHANNELS(channels)) == OPUS_OK);
	for (i = 0; i < count; i++) {
		for (k = 0; k < SPEECH_SAMPLES; k++)
			listen(&v, base, pcm + k * (size_t)channels, channels);
		len = opus_encode(e, pcm, SPEECH_SAMPLES, out[i].data, SPEECH_MAX_LEN);
		BENCH_MUST(len > 2 && opus_packet_get_nb_channels(out[i].data) == channels);
		out[i].len = (size_t)len;
	}
	opus_encoder_destroy(e);
}
