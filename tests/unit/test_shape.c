/* SPDX-License-Identifier: ISC */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "sinks/shape.h"

static const uint32_t rates[] = { 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000,
	96000 };
enum { RATES = sizeof(rates) / sizeof(rates[0]), TAKEN_MAX = 2 * 1000000 };

/* What comes out: the first samples as they are, of the rest the loudest. */
struct taken {
	uint64_t samples, silent; /* silent: of these by silence() */
	uint64_t peak_at;
	uint32_t channels, calls;
	int peak, fail_at; /* fail_at: the call that fails; 0: none */
	const int16_t *pcm_of_call;
	int16_t pcm[TAKEN_MAX];
};
static struct taken taken, other;

static void taken_clear(struct taken *t, uint32_t channels)
{
	memset(t, 0, sizeof(*t));
	t->channels = channels;
}

static int take_audio(void *user, const int16_t *pcm, uint32_t samples)
{
	struct taken *t = user;

	if (++t->calls == (uint32_t)t->fail_at)
		return TD_ERR_IO;
	assert_true(samples > 0);
	t->pcm_of_call = pcm;
	for (uint32_t i = 0; i < samples; i++, t->samples++) {
		if (abs(pcm[i * t->channels]) > t->peak) {
			t->peak = abs(pcm[i * t->channels]);
			t->peak_at = t->samples;
		}
		if ((t->samples + 1) * t->channels <= TAKEN_MAX)
			memcpy(t->pcm + t->samples * t->channels, pcm + i * t->channels,
				2 * t->channels);
	}
	return TD_OK;
}

static int take_silence(void *user, uint64_t n)
{
	struct taken *t = user;

	if (++t->calls == (uint32_t)t->fail_at)
		return TD_ERR_IO;
	assert_true(n > 0);
	t->samples += n; /* the array is zeros */
	t->silent += n;
	return TD_OK;
}

static uint32_t noise = 1;

static uint32_t rnd(uint32_t below)
{
	noise = noise * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)noise * below >> 32);
}

/* round(n * to / from) */
static uint64_t length(uint64_t n, uint32_t from, uint32_t to)
{
	return (uint64_t)(((unsigned __int128)n * to * 2 + from) / (2ull * from));
}

static struct shape *shape(uint32_t from, uint32_t from_channels, uint32_t to, uint32_t to_channels)
{
	struct shape *s;

	assert_int_equal(shape_new(&s, from, from_channels, to, to_channels), 0);
	return s;
}

static void counts_are_exact(void **state)
{
	static const uint32_t odd[][2] = { { 8001, 47999 }, { 191999, 8000 }, { 192000, 191999 },
		{ 8000, 192000 }, { 192000, 8000 } };
	static int16_t pcm[2 * 3000];

	(void)state;
	for (uint32_t i = 0; i < RATES * RATES + 5; i++) {
		uint32_t from = i < RATES * RATES ? rates[i / RATES] : odd[i - RATES * RATES][0];
		uint32_t to = i < RATES * RATES ? rates[i % RATES] : odd[i - RATES * RATES][1];

		for (uint32_t round = 0; round < 12; round++) {
			uint32_t channels = 1 + rnd(2);
			struct shape *s = shape(from, channels, to, channels);
			/* from nothing on, and a few that are no multiples of anything */
			uint64_t in = 0, want = round < 5 ? round : rnd(round * 4000);

			taken_clear(&taken, channels);
			while (in < want) {
				uint32_t n = 1 + rnd(round < 8 ? 30 : 3000);

				n = n < want - in ? n : (uint32_t)(want - in);
				if (rnd(4) == 0)
					assert_int_equal(shape_silence(s, n, take_audio,
								 take_silence, &taken),
						0);
				else
					assert_int_equal(shape_audio(s, pcm, n, take_audio, &taken),
						0);
				in += n;
				assert_true(taken.samples <= length(in, from, to) + 1);
				assert_true(taken.samples + 0.3 * to + 1 >= length(in, from, to));
			}
			assert_int_equal(shape_end(s, take_audio, &taken), 0);
			assert_int_equal(taken.samples, length(in, from, to));
			shape_free(s);
		}
	}
}

/* A sine of 1 kHz is one again, of the same phase: what differs is 80 dB below it. */
static void sine_stays_sine(void **state)
{
	static int16_t pcm[2 * 96000];

	(void)state;
	for (uint32_t i = 0; i < RATES * RATES; i++) {
		uint32_t from = rates[i / RATES], to = rates[i % RATES];
		struct shape *s = shape(from, 2, to, 2);
		double wrong = 0, sound = 0;

		for (uint32_t k = 0; k < from; k++) {
			pcm[2 * k] = (int16_t)lrint(16000 * sin(2 * M_PI * 1000 * k / from));
			pcm[2 * k + 1] = (int16_t)lrint(8000 * cos(2 * M_PI * 300 * k / from));
		}
		taken_clear(&taken, 2);
		assert_int_equal(shape_audio(s, pcm, from, take_audio, &taken), 0);
		assert_int_equal(shape_end(s, take_audio, &taken), 0);
		assert_int_equal(taken.samples, to);
		/* Where it begins and ends, the filter sees an edge. */
		for (uint32_t k = to / 10; k < to * 9 / 10; k++) {
			double left = 16000 * sin(2 * M_PI * 1000 * k / to) - taken.pcm[2 * k];
			double right = 8000 * cos(2 * M_PI * 300 * k / to) - taken.pcm[2 * k + 1];

			wrong += left * left + right * right;
			sound += 16000.0 * 16000 / 2 + 8000.0 * 8000 / 2;
		}
		if (10 * log10(wrong / sound) > -80)
			fail_msg("%u to %u: %.1f dB", from, to, 10 * log10(wrong / sound));
		shape_free(s);
	}
}

/* Many sines, sampled at both rates: most alike where they begin together, to a sample. */
static void aligned_by_correlation(void **state)
{
	static int16_t pcm[96000], there[96000];

	(void)state;
	for (uint32_t i = 0; i < RATES * RATES; i++) {
		uint32_t from = rates[i / RATES], to = rates[i % RATES];
		struct shape *s = shape(from, 1, to, 1);
		double best = -1;
		int best_lag = 99;

		memset(pcm, 0, sizeof(pcm));
		memset(there, 0, sizeof(there));
		for (int f = 0; f < 12; f++) {
			double hz = 150 + 223.7 * f, phase = rnd(1000) / 159.0;

			for (uint32_t k = 0; k < from; k++)
				pcm[k] += (int16_t)(2000 * sin(2 * M_PI * hz * k / from + phase));
			for (uint32_t k = 0; k < to; k++)
				there[k] += (int16_t)(2000 * sin(2 * M_PI * hz * k / to + phase));
		}
		taken_clear(&taken, 1);
		assert_int_equal(shape_audio(s, pcm, from, take_audio, &taken), 0);
		assert_int_equal(shape_end(s, take_audio, &taken), 0);
		for (int lag = -20; lag <= 20; lag++) {
			double like = 0;

			for (uint32_t k = to / 4; k < to / 2; k++)
				like += (double)there[k] * taken.pcm[(int)k + lag];
			if (like > best) {
				best = like;
				best_lag = lag;
			}
		}
		assert_int_equal(best_lag, 0);
		shape_free(s);
	}
}

/* Silence and the same silence as samples: the same, to the last bit but one. */
static void silence_is_zeros(void **state)
{
	static int16_t pcm[2 * 2000];
	static const int16_t zeros[2 * 400000];

	(void)state;
	for (uint32_t i = 0; i < RATES * RATES; i++) {
		uint32_t from = rates[i / RATES], to = rates[i % RATES];
		uint32_t from_channels = 1 + rnd(2), to_channels = 1 + rnd(2);
		struct shape *s = shape(from, from_channels, to, to_channels);
		struct shape *naive = shape(from, from_channels, to, to_channels);
		uint64_t in = 0;
		int worst = 0;

		taken_clear(&taken, to_channels);
		taken_clear(&other, to_channels);
		for (int step = 0; step < 30; step++) {
			uint32_t n = 1 + (rnd(3) == 0 ? rnd(from) : rnd(2000));

			if (rnd(2) == 0) {
				n = 1 + n % 2000;
				for (uint32_t k = 0; k < n * from_channels; k++)
					pcm[k] = (int16_t)(rnd(40000) - 20000);
				assert_int_equal(shape_audio(s, pcm, n, take_audio, &taken), 0);
				assert_int_equal(shape_audio(naive, pcm, n, take_audio, &other), 0);
			} else {
				/* in pieces, too */
				for (uint32_t k = 0, m; k < n; k += m) {
					m = rnd(2) == 0 ? n - k : 1 + rnd(n - k);
					assert_int_equal(shape_silence(s, m, take_audio,
								 take_silence, &taken),
						0);
				}
				assert_int_equal(shape_audio(naive, zeros, n, take_audio, &other),
					0);
			}
			in += n;
		}
		assert_int_equal(shape_end(s, take_audio, &taken), 0);
		assert_int_equal(shape_end(naive, take_audio, &other), 0);
		assert_int_equal(taken.samples, length(in, from, to));
		assert_int_equal(other.samples, length(in, from, to));
		assert_true(taken.samples * to_channels <= TAKEN_MAX);
		assert_true(taken.silent > 0);
		for (uint64_t k = 0; k < taken.samples * to_channels; k++) {
			int d = abs(taken.pcm[k] - other.pcm[k]);

			worst = d > worst ? d : worst;
		}
		assert_in_range(worst, 0, from == to ? 0 : 1);
		shape_free(s);
		shape_free(naive);
	}
}

/* Hours cost nothing, and what follows is in its place. */
static void click_after_hours(void **state)
{
	static const int16_t quiet[2] = { 2000, 2000 };
	int16_t click[16];

	(void)state;
	for (int i = 0; i < 16; i++)
		click[i] = 30000;
	for (uint32_t i = 0; i < RATES * RATES; i++) {
		uint32_t from = rates[i / RATES], to = rates[i % RATES];
		uint64_t gap = 5ull * 3600 * from + rnd(from), at = 0;
		struct shape *s = shape(from, 1, to, 1);
		uint32_t lead = rnd(2) == 0 ? 2 : 0, width = from > to ? from / to : 1;

		taken_clear(&taken, 1);
		if (lead > 0)
			assert_int_equal(shape_audio(s, quiet, lead, take_audio, &taken), 0);
		at = lead;
		for (int k = 0; k < 3; k++, at += gap)
			assert_int_equal(shape_silence(s, gap, take_audio, take_silence, &taken),
				0);
		assert_true(taken.silent > length(3 * gap, from, to) - 3 * to);
		if (lead == 0 && from != to) /* nothing rings: everything but a part of a period */
			assert_true(taken.silent + 3 * to > length(3 * gap, from, to));
		assert_int_equal(shape_audio(s, click, width, take_audio, &taken), 0);
		at += width;
		assert_int_equal(shape_silence(s, gap, take_audio, take_silence, &taken), 0);
		assert_int_equal(shape_end(s, take_audio, &taken), 0);
		assert_int_equal(taken.samples, length(at + gap, from, to));
		assert_true(taken.peak > 2000);
		/* the middle of the click */
		assert_true(llabs((long long)(taken.peak_at -
				    length(2 * at - width - 1, 2 * from, to))) <= 1);
		shape_free(s);
	}
}

static void too_loud_saturates(void **state)
{
	static int16_t pcm[48000];
	uint32_t full = 0;

	(void)state;
	for (uint32_t to = 44100; to <= 96000; to += 51900) {
		struct shape *s = shape(48000, 1, to, 1);

		for (int i = 0; i < 48000; i++)
			pcm[i] = i / 240 % 2 == 0 ? 32767 : -32768;
		taken_clear(&taken, 1);
		assert_int_equal(shape_audio(s, pcm, 48000, take_audio, &taken), 0);
		assert_int_equal(shape_end(s, take_audio, &taken), 0);
		for (uint32_t i = 0; i < to; i++) {
			uint64_t in = (uint64_t)i * 48000 / to;

			/* not near an edge */
			if (in % 240 < 4 || in % 240 > 235)
				continue;
			assert_true(
				in / 240 % 2 == 0 ? taken.pcm[i] > 25000 : taken.pcm[i] < -25000);
			full += taken.pcm[i] == 32767 || taken.pcm[i] == -32768;
		}
		assert_true(full > 1000);
		shape_free(s);
	}
}

static void channels_alone(void **state)
{
	static const int16_t stereo[] = { 32767, 32767, -32768, -32768, 32767, -32768, 100, 50, -3,
		-3, 7, -7 };
	static const int16_t mono[] = { 32767, -32768, 0, 75, -3, 0 };
	static int16_t longer[5000];
	struct shape *s = shape(48000, 2, 48000, 1);

	(void)state;
	taken_clear(&taken, 1);
	assert_int_equal(shape_audio(s, stereo, 6, take_audio, &taken), 0);
	assert_int_equal(shape_silence(s, 1000, take_audio, take_silence, &taken), 0);
	assert_int_equal(shape_end(s, take_audio, &taken), 0);
	assert_int_equal(taken.samples, 1006);
	assert_int_equal(taken.silent, 1000);
	assert_memory_equal(taken.pcm, mono, sizeof(mono));
	shape_free(s);
	s = shape(48000, 1, 48000, 2);
	for (int i = 0; i < 5000; i++)
		longer[i] = (int16_t)rnd(65536);
	taken_clear(&taken, 2);
	assert_int_equal(shape_audio(s, longer, 5000, take_audio, &taken), 0);
	assert_int_equal(taken.samples, 5000);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(taken.pcm[i], longer[i / 2]);
	shape_free(s);
}

static void nothing_to_do_is_not_copied(void **state)
{
	static int16_t pcm[2 * 50000];

	(void)state;
	for (uint32_t channels = 1; channels <= 2; channels++) {
		struct shape *s = shape(44100, channels, 44100, channels);

		taken_clear(&taken, channels);
		assert_int_equal(shape_audio(s, pcm, 50000, take_audio, &taken), 0);
		assert_int_equal(taken.calls, 1);
		assert_ptr_equal(taken.pcm_of_call, pcm);
		assert_int_equal(shape_audio(s, pcm, 0, take_audio, &taken), 0);
		assert_int_equal(shape_silence(s, 0, take_audio, take_silence, &taken), 0);
		assert_int_equal(taken.calls, 1);
		assert_int_equal(shape_end(s, take_audio, &taken), 0);
		assert_int_equal(taken.calls, 1);
		shape_free(s);
	}
}

static void failure_of_the_output_is_returned(void **state)
{
	static int16_t pcm[20000];
	int failed = 0;

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		for (int fail_at = 1; fail_at < 60; fail_at++) {
			struct shape *s =
				shape(48000, 1, kind == 0 ? 44100 : 48000, 1 + (kind == 1));
			uint32_t calls;
			int r;

			taken_clear(&taken, 1 + (kind == 1));
			taken.fail_at = fail_at;
			if ((r = shape_audio(s, pcm, 20000, take_audio, &taken)) == TD_OK)
				r = shape_silence(s, 1000000, take_audio, take_silence, &taken);
			if (r == TD_OK)
				r = shape_end(s, take_audio, &taken);
			calls = taken.calls;
			assert_int_equal(r, calls == (uint32_t)fail_at ? TD_ERR_IO : TD_OK);
			failed += r < 0;
			shape_free(s);
		}
	}
	assert_true(failed > 20);
}

static void same_in_same_out(void **state)
{
	static int16_t pcm[2 * 30000];

	(void)state;
	for (int i = 0; i < 60000; i++)
		pcm[i] = (int16_t)rnd(65536);
	for (uint32_t to = 8000; to <= 96000; to += 11025) {
		for (int run = 0; run < 2; run++) {
			struct shape *s = shape(48000, 2, to, 2);
			struct taken *t = run == 0 ? &taken : &other;

			taken_clear(t, 2);
			/* in other pieces, too */
			for (uint32_t at = 0; at < 30000; at += run == 0 ? 1000 : 10)
				assert_int_equal(shape_audio(s, pcm + 2 * at, run == 0 ? 1000 : 10,
							 take_audio, t),
					0);
			assert_int_equal(shape_end(s, take_audio, t), 0);
			shape_free(s);
		}
		assert_int_equal(taken.samples, other.samples);
		assert_memory_equal(taken.pcm, other.pcm, taken.samples * 4);
	}
}

static void refuses_what_it_cannot(void **state)
{
	static const uint32_t bad[][4] = { { 7999, 1, 48000, 1 }, { 192001, 1, 48000, 1 },
		{ 48000, 1, 7999, 1 }, { 48000, 1, 192001, 1 }, { 48000, 0, 48000, 1 },
		{ 48000, 3, 48000, 1 }, { 48000, 1, 48000, 0 }, { 48000, 1, 48000, 3 },
		{ 0, 1, 0, 1 } };
	struct shape *s = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(shape_new(&s, bad[i][0], bad[i][1], bad[i][2], bad[i][3]),
			TD_ERR_UNSUPPORTED);
	assert_null(s);
	shape_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_are_exact),
		cmocka_unit_test(sine_stays_sine),
		cmocka_unit_test(aligned_by_correlation),
		cmocka_unit_test(silence_is_zeros),
		cmocka_unit_test(click_after_hours),
		cmocka_unit_test(too_loud_saturates),
		cmocka_unit_test(channels_alone),
		cmocka_unit_test(nothing_to_do_is_not_copied),
		cmocka_unit_test(failure_of_the_output_is_returned),
		cmocka_unit_test(same_in_same_out),
		cmocka_unit_test(refuses_what_it_cannot),
	};

	return cmocka_run_group_tests_name("shape", tests, NULL, NULL);
}
